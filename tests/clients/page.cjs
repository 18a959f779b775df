// Looks at the admin page as a person would, in a headless Chromium. Usage: node page.cjs <chromium> <url> <directory for
// pictures>, with NODE_PATH naming where playwright-core is. Prints a line after each step and waits for one before the
// next, so that the test can change what there is to see.
const assert = require("node:assert/strict");
const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const [executablePath, url, pictures] = process.argv.slice(2);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const TIMEOUT = { timeout: 30_000 };

async function step(name) {
  console.log(name);
  await lines.next();
}

async function main() {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const errors = [];
  const page = await browser.newPage({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => assert.ok(request.url().startsWith(url), `outside resource ${request.url()}`));
  const shows = (selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor(TIMEOUT);

  await page.goto(url);
  await shows("#what", "Skuld");
  await shows("#actors", "shard");
  await shows("#figures", "commands per second");
  await shows("#nodes", "this node");
  // Tables may scroll inside their boxes; the page itself fits a phone.
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth + 1), "wider than a phone");
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.ok(ground.match(/\d+/g).slice(0, 3).every((part) => Number(part) < 60), `${ground} in the dark`);
  await step("open");

  await shows("#migrations svg.sequence text", "ESTABLISH");
  await shows("#migrations h2", "waiting-to-pause");
  assert.match(await page.locator("#slots").getAttribute("aria-label"), /201 are being moved/);
  await page.screenshot({ path: path.join(pictures, "phone-dark.png"), fullPage: true });
  await step("migration");

  await shows("#migrations h2", "success");
  for (const message of ["SNAPSHOT-EOF", "REQUEST-PAUSE", "PAUSED", "REQUEST-FAILOVER", "FAILOVER-GRANTED"]) {
    await shows("#migrations svg.sequence text", message);
  }
  assert.match(await page.locator("#slots").getAttribute("aria-label"), /^7991 of 16384 slots are served here, 0 /);
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  await page.screenshot({ path: path.join(pictures, "desk-light.png"), fullPage: true });
  await step("finished");

  await shows("#note", "No answer");
  await step("gone");
  await page.waitForFunction(() => document.getElementById("note").textContent === "", null, TIMEOUT);
  await shows("#what", "Skuld");
  await step("back");

  assert.deepEqual(errors, []);
  await browser.close();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
