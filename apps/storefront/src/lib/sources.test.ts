import { expect, test } from 'vitest';

const sources = Object.entries(
  import.meta.glob<string>('/src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true }),
).filter(([name]) => !name.includes('.test.'));
const having = (pattern: RegExp) => sources.filter(([, text]) => pattern.test(text)).map(([name]) => name);

test('money, dates and what is not known are written by one file', () => {
  expect(having(/\bNumberFormat\b|\bDateTimeFormat\b|\.toFixed\(|\.toLocale\w*String\(|'–'/)).toEqual([
    '/src/lib/format.ts',
  ]);
});

test('a page has a file of its own, which is named after pages', () => {
  const pages = sources
    .map(([name, text]) => [name, [...text.matchAll(/^export function (\w+Page)\b/gm)].length] as const)
    .filter(([, count]) => count > 0);
  expect(pages.length).toBeGreaterThan(15);
  expect(pages.filter(([name, count]) => count > 1 || !name.endsWith('-page.tsx'))).toEqual([]);
});
