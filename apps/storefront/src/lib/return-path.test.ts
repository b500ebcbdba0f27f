import { expect, test } from 'vitest';
import { safeReturnPath } from './return-path';

const HERE = 'https://shop.test';

test.each(['/', '/cart', '/books/1?x=2#end', '/search?q=%2F%2Fevil.test'])('%s is kept', (path) => {
  expect(safeReturnPath(path, HERE)).toBe(path);
});

test.each([
  undefined,
  42,
  '',
  'cart',
  'https://evil.test/',
  '//evil.test',
  '/\\evil.test',
  '\\\\evil.test',
  '/\t/evil.test',
  '/a\n/b',
  'javascript:alert(1)',
  ' //evil.test',
  '/..//evil.test',
  '/.//evil.test',
  '/login?return=/',
  '/callback?code=1',
  '/silent-callback',
])('%j becomes the start page', (path) => {
  expect(safeReturnPath(path, HERE)).toBe('/');
});
