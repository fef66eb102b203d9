// How soon a page is there: node paint.mjs PAGE|URL [MS]
// Prints the first paint, the headline, the search drawn and everything drawn; fails when the headline takes longer than MS.
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';

const [, , page_, limit] = process.argv;
const url = page_.startsWith('http') ? page_ : `file://${page_}`;
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (!browserPath) { console.log('skipped: there is no Chromium here'); process.exit(77); }
const browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });

// Marks are set by the page itself, in the frame after something has come.
await page.addInitScript(() => {
  window.marks = {};
  const wanted = { headline: 'h1', search: '#search canvas', all: '#method' };
  const look = () => {
    for (const [name, selector] of Object.entries(wanted))
      if (document.querySelector(selector)) { const found = name; delete wanted[name]; requestAnimationFrame(() => { window.marks[found] = performance.now(); }); }
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
});
await page.goto(url);
await page.waitForFunction(() => window.marks.all > 0);
const marks = await page.evaluate(() => ({ paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0, ...window.marks }));
await browser.close();
console.log(['paint', 'headline', 'search', 'all'].map((name) => `${name} ${Math.round(marks[name])} ms`).join(', '));
process.exit(limit && Math.max(marks.paint, marks.headline) > +limit ? 1 : 0);
