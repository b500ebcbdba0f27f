import { expect, test } from 'vitest';
import { catalogueSearch, parseSearch, querySearch, stringifySearch } from './search';

test('a query stays the text that was typed', () => {
  for (const q of ['42', 'true', '{"a":1}', '<script>alert(1)</script>', 'a&b=c +%']) {
    expect(querySearch(parseSearch(stringifySearch({ q }))).q).toBe(q);
  }
});

test('what is empty leaves no trace in the address', () => {
  expect(stringifySearch({ page: undefined, q: '' })).toBe('');
});

test.each(['0', '1', '-3', '1.5', 'x', '1e99'])('page %s is the first', (page) => {
  expect(catalogueSearch({ page }).page).toBeUndefined();
});

test('only known ways to sort are passed on', () => {
  expect(catalogueSearch({ sort: '-price', genre: 'Classics', page: '3' })).toEqual({
    sort: '-price',
    genre: 'Classics',
    page: 3,
  });
  expect(catalogueSearch({ sort: 'password' }).sort).toBeUndefined();
});
