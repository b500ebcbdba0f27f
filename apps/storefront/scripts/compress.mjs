// Beside each text file of dist/ its gzip and brotli forms, which nginx sends as they are.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = path.resolve(import.meta.dirname, '../dist');
const LEAST = 256;
for (const name of readdirSync(dist, { recursive: true })) {
  const file = path.join(dist, name);
  if (!statSync(file).isFile() || !/\.(?:js|css|html|svg|json)$/.test(file)) continue;
  const content = readFileSync(file);
  if (content.length < LEAST) continue;
  writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
  writeFileSync(
    `${file}.br`,
    brotliCompressSync(content, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
    }),
  );
}
