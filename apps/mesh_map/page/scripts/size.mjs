// All JavaScript of the page against its budget, as it is: compressed (as it is served) it is about a third of that.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const MOST_BYTES = 150 * 1000;
const assets = path.resolve(import.meta.dirname, '../dist/assets');
let plain = 0;
let packed = 0;
for (const name of readdirSync(assets).filter((one) => one.endsWith('.js'))) {
  const content = readFileSync(path.join(assets, name));
  plain += content.length;
  packed += gzipSync(content, { level: 9 }).length;
}
console.log(
  `script: ${String(plain)} bytes, ${String(packed)} bytes gzip; at most ${String(MOST_BYTES)} before compression`,
);
if (plain > MOST_BYTES) {
  console.error('too large: look at what was added to src or to the dependencies');
  process.exitCode = 1;
}
