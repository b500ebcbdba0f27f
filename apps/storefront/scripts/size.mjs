// The first page's JavaScript, compressed, against the budget: what index.html names, what that imports, and the sign-in library.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

const MOST_BYTES = 120 * 1000;
const assets = path.resolve(import.meta.dirname, '../dist/assets');
const html = readFileSync(path.join(assets, '../index.html'), 'utf8');
const first = new Set([...html.matchAll(/assets\/([\w.-]+\.js)/g)].map((match) => match[1]));
for (const name of first) {
  for (const match of readFileSync(path.join(assets, name), 'utf8').matchAll(
    /(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g,
  ))
    first.add(match[1]);
}
// Loaded after the first paint on every page, so it counts.
for (const name of readdirSync(assets)) if (/^oidc.*\.js$/.test(name)) first.add(name);

const rows = readdirSync(assets)
  .filter((name) => name.endsWith('.js'))
  .map((name) => {
    const packed = ['gz', 'br'].map((end) => {
      const file = path.join(assets, `${name}.${end}`);
      return statSync(file, { throwIfNoEntry: false })?.size ?? statSync(path.join(assets, name)).size;
    });
    return { name, first: first.has(name), gzip: packed[0], brotli: packed[1] };
  });
console.table(rows);
// Browsers ask for brotli on every https connection, and nginx has it ready; gzip is for whoever does not.
const sum = (key) => rows.filter((row) => row.first).reduce((total, row) => total + row[key], 0);
console.log(
  `first page: ${String(sum('gzip'))} bytes gzip, ${String(sum('brotli'))} bytes brotli; at most ${String(MOST_BYTES)}`,
);
if (sum('brotli') > MOST_BYTES) {
  console.error('too large: load later what the first page does not need');
  process.exitCode = 1;
}
