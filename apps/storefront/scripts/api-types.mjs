// Makes src/lib/api/generated/*.ts from the services' OpenAPI documents; with --check it only tells whether they are current.
// PYTHON names an interpreter that can import the services (default: the checkout's own).
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString } from 'openapi-typescript';

const here = path.dirname(fileURLToPath(import.meta.url));
const apps = path.resolve(here, '../..');
const own = path.resolve(apps, '../.venv/bin/python');
const python = process.env.PYTHON ?? (existsSync(own) ? own : 'python3');
const services = ['ecom', 'inventory', 'admin'];
const sources = ['common', ...services].map((name) => path.join(apps, name, 'src')).join(path.delimiter);

/** What the types need: neither prose nor the answers that are problems, which lib/api/errors.ts describes once. */
function slim(node) {
  if (Array.isArray(node)) return node.map(slim);
  if (node === null || typeof node !== 'object') return node;
  const kept = {};
  for (const [key, value] of Object.entries(node)) {
    const prose = ['description', 'summary', 'title', 'example', 'examples', 'headers'].includes(key);
    if (prose && (typeof value === 'string' || key.startsWith('example') || key === 'headers')) continue;
    if (key === 'responses') {
      kept[key] = Object.fromEntries(
        Object.entries(value)
          .filter(([status]) => status.startsWith('2'))
          .map(([status, answer]) => [status, { description: '', ...slim(answer) }]),
      );
    } else kept[key] = slim(value);
  }
  return kept;
}

const stale = [];
for (const service of services) {
  const text = execFileSync(python, ['-m', `${service}.openapi`], {
    env: { ...process.env, PYTHONPATH: sources },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const document = slim(JSON.parse(text));
  document.info = { title: service, version: '1' };
  delete document.paths[Object.keys(document.paths).find((one) => one.endsWith('/health'))];
  delete document.components.schemas.Health;
  delete document.components.schemas.Problem;
  delete document.components.schemas.FieldError;
  // Lines that say that something is absent only make the files long.
  const body = astToString(await openapiTS(document, { emptyObjectsUnknown: true }))
    .replace(/^ {4,}/gm, (indent) => ' '.repeat(indent.length / 2))
    // Small objects on one line.
    .replace(/: \{\n((?: *[^{}\n]+;\n){1,4}) *\};/g, (_, inner) => `: { ${inner.trim().replace(/\n */g, ' ')} };`)
    .replace(/: \{\n *(content: [^\n]*;)\n *\};/g, ': { $1 };')
    .replace(/^ *(?:\w+|\[name: string\])\??: (?:never|unknown);\n/gm, '')
    .replace(/^ *(?:parameters|headers): \{\n *\};\n/gm, '')
    .replace(/^ *\/\*\* (?:Format: .*|@constant) \*\/\n/gm, '')
    .replace(/^export type (?:webhooks|\$defs) = .*\n/gm, '');
  const wanted = `// Made by \`npm run types\` from the OpenAPI document of ${service}; never edited.\n${body}`;
  const target = path.resolve(here, `../src/lib/api/generated/${service}.ts`);
  const found = existsSync(target) ? readFileSync(target, 'utf8') : '';
  if (found === wanted) continue;
  if (process.argv.includes('--check')) stale.push(path.relative(process.cwd(), target));
  else writeFileSync(target, wanted);
}
if (stale.length > 0) {
  console.error(`not current with the services: ${stale.join(', ')}; run \`npm run types\` and mend what it breaks`);
  process.exitCode = 1;
}
