// Opens a report (or a live page) in a browser and looks at every part of it.
//     node test.mjs PAGE|URL [FOLDER]     FOLDER: screenshots go there
import { chromium } from 'playwright-core';
import axe from 'axe-core';
import { existsSync } from 'node:fs';

const [, , page_, folder] = process.argv;
const url = page_.startsWith('http') ? page_ : `file://${page_}`;
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (!browserPath) { console.log('skipped: there is no Chromium here'); process.exit(77); }

const faults = [];
const check = (ok, what) => { console.log(`${ok ? 'ok    ' : 'not ok'} ${what}`); if (!ok) faults.push(what); };
const browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });

async function open(width, colorScheme) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  page.on('console', (m) => { if (m.type() === 'error') faults.push(`console: ${m.text()}`); });
  page.on('pageerror', (e) => faults.push(`error: ${e.message}`));
  page.on('request', (r) => { if (new URL(r.url()).origin !== new URL(url).origin && !r.url().startsWith('data:')) faults.push(`it asks for ${r.url()}`); });
  await page.goto(url);
  await page.waitForSelector('#search canvas');
  return page;
}

// Has something been painted there: more than one colour?
const painted = (page, selector) => page.$eval(selector, (canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height), seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 24) | (data[i + 1] << 16) | (data[i + 2] << 8) | data[i + 3]);
  return seen.size;
});

const page = await open(1280, 'light');
await page.waitForTimeout(500);
check(/us$/.test(await page.textContent('h1')), 'the headline names the best and its time');
check(await painted(page, '#search canvas') > 3, 'the search is drawn');
check(await painted(page, '#tree canvas') > 2, 'the tree is drawn');
check(await page.locator('#fastest tbody tr').count() > 1, 'the fastest are listed');
check(await page.locator('#lineage li').count() >= 1, 'the lineage is told');
check(await page.locator('#funnel tbody tr').count() === 7, 'the funnel has its rungs');
check(await page.locator('#genes .heat-cells span').count() > 2, 'genes have their values');
check(await painted(page, '#roofline canvas') > 3, 'the roofline is drawn');
check(await page.locator('#genes table.heat td.cell').count() > 0, 'two genes meet in a table');
check(await page.locator('#operators tbody tr').count() > 2, 'operators are listed');
check(await page.locator('#method pre').count() > 0, 'the method is told');

const first = () => page.locator('#fastest tbody tr td:first-child').first().textContent();
const before = await first();
await page.locator('#fastest th button', { hasText: 'time' }).first().click();
await page.locator('#fastest th button', { hasText: 'time' }).first().click();
check(await first() !== before, 'a click on a column sorts the table');
await page.locator('#fastest tbody tr button.link').nth(0).click();
const title = await page.textContent('#kernel h2');
check(title.includes(await first()), 'a click on a kernel opens it');
await page.locator('#lineage button').last().click();
check(await page.locator('#kernel .genes').first().isVisible(), 'a click in the lineage opens a kernel');
if (await page.locator('#kernel pre.diff').count() > 0) check(await page.locator('#kernel ins, #kernel del').count() > 0, "the difference of sources is shown");
await page.locator('#tree canvas').scrollIntoViewIfNeeded();
await page.waitForTimeout(300);
const node = await page.$eval('#tree canvas', (canvas) => { // the leftmost of the winner's path
  const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(accent.slice(i, i + 2), 16)), ratio = canvas.width / canvas.clientWidth;
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  for (let x = 0; x < canvas.width; x++)
    for (let y = 0; y < canvas.height; y++) {
      const i = 4 * (y * canvas.width + x);
      if (data[i] === r && data[i + 1] === g && data[i + 2] === b) return { x: x / ratio + 2, y: y / ratio };
    }
  return null;
});
const links = page.locator('#fastest tbody tr button.link'), line = await page.locator('#lineage button').allTextContents();
const aside = (await links.allTextContents()).findIndex((name) => !line.includes(name)); // somebody else, so that a click is seen
if (aside >= 0) {
  await links.nth(aside).click();
  await page.locator('#tree canvas').scrollIntoViewIfNeeded();
  await page.waitForTimeout(700); // it scrolls smoothly
  if (node) await page.locator('#tree canvas').click({ position: node });
  check(node && line.includes((await page.textContent('#kernel h2')).split(': ')[1]), "a click on a node of the winner's line opens it");
}
await page.locator('#tree canvas').scrollIntoViewIfNeeded();
await page.waitForTimeout(700);
const box = await page.locator('#tree canvas').boundingBox();
await page.locator('#tree canvas').focus();
await page.keyboard.press('+');
await page.keyboard.press('ArrowLeft');
await page.waitForTimeout(500);
check(box.width > 300 && await painted(page, '#tree canvas') > 1, 'the tree can be moved by keys');

for (const scheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    const one = await open(width, scheme);
    await one.waitForTimeout(400);
    const wide = await one.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(wide <= 0, `${width} px, ${scheme}: nothing sticks out`);
    await one.evaluate(axe.source);
    const { violations } = await one.evaluate(() => window.axe.run());
    const serious = violations.filter((v) => ['serious', 'critical'].includes(v.impact));
    check(serious.length === 0, `${width} px, ${scheme}: no serious fault for assistive technology${serious.map((v) => `; ${v.id}: ${v.nodes[0].html.slice(0, 100)}`)}`);
    if (folder) await one.screenshot({ path: `${folder}/report-${width}-${scheme}.png` });
    await one.close();
  }
}
await browser.close();
for (const fault of faults) console.log(`FAULT ${fault}`);
process.exit(faults.length > 0 ? 1 : 0);
