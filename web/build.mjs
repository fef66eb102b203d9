// Builds dist/page.html: one file, script and style inside. --check compares with what is committed.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';

const here = new URL('.', import.meta.url).pathname;
const LIMIT = 120_000;

// Indentation inside templates would be carried along; htm drops it anyway.
const unindented = {
  name: 'unindented',
  setup: ({ onLoad }) => onLoad({ filter: /web\/src\/.*\.js$/ }, async ({ path }) => ({ contents: (await readFile(path, 'utf8')).replace(/\n[ \t]+/g, '\n') })),
};

async function script() {
  const result = await build({
    entryPoints: [`${here}src/main.js`], bundle: true, minify: true, write: false, format: 'iife',
    target: 'es2022', legalComments: 'none', charset: 'utf8', plugins: [unindented],
  });
  return result.outputFiles[0].text.trim().replaceAll('</script', '<\\/script');
}

async function style() {
  const own = await readFile(`${here}src/style.css`, 'utf8');
  const plot = (await readFile(`${here}node_modules/uplot/dist/uPlot.min.css`, 'utf8'))
    .replace(/\.u-(?:legend|inline|series|title)[^{}]*\{[^}]*\}/g, ''); // legends are the page's own
  const result = await build({ stdin: { contents: plot + own, loader: 'css' }, minify: true, write: false });
  return result.outputFiles[0].text.trim();
}

async function notices() {
  const packages = ['uplot', 'd3-hierarchy', 'preact', 'htm', 'diff'];
  let text = 'The page of evo contains parts of these packages.\n';
  for (const name of packages) {
    const about = JSON.parse(await readFile(`${here}node_modules/${name}/package.json`, 'utf8'));
    const licence = await readFile(`${here}node_modules/${name}/LICENSE`, 'utf8').catch(() => '');
    text += `\n==== ${name} ${about.version} (${about.license}) ====\n${licence.trim()}\n`;
  }
  return text.replaceAll('\r', '');
}

const code = await script(), css = await style();
const page = (await readFile(`${here}src/page.html`, 'utf8'))
  .replace('<!--style-->', () => css).replace('<!--script-->', () => code);
const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const files = {
  'dist/page.html': page,
  'dist/policy.txt': `default-src 'none'; script-src ${hash(code)}; style-src ${hash(css)}; `
    + `connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'dist/THIRD_PARTY.txt': await notices(),
};
const bytes = Buffer.byteLength(page);
if (bytes > LIMIT) throw new Error(`the page has ${bytes} bytes, more than ${LIMIT}`);
for (const [name, text] of Object.entries(files)) {
  if (!process.argv.includes('--check')) { await writeFile(here + name, text); continue; }
  const kept = await readFile(here + name, 'utf8').catch(() => '');
  if (kept !== text) { console.error(`${name} is not what the sources give: run npm run build`); process.exitCode = 1; }
}
console.log(`page.html: ${bytes} bytes`);
