import { expect, test } from 'vitest';
import { bookSchema, EMPTY, isIsbn13, toBody } from './book-schema';

const GOOD = { ...EMPTY, title: 'A', author: 'B', price: '12.5' };
const faults = (change: object) =>
  bookSchema.safeParse({ ...GOOD, ...change }).error?.issues.map((issue) => issue.path[0]) ?? [];

test('ISBN-13: digits, prefix and check digit', () => {
  expect(['9780141439518', '978-0-14-143951-8', '978 0 14 143951 8'].map(isIsbn13)).toEqual([true, true, true]);
  expect(['9780141439517', '1234567890128', '978014143951', '', 'x'].map(isIsbn13)).toEqual([
    false,
    false,
    false,
    false,
    false,
  ]);
});

test('only title, author and price are needed', () => {
  expect(faults({})).toEqual([]);
  expect(faults({ title: ' ', author: '', price: '' })).toEqual(expect.arrayContaining(['title', 'author', 'price']));
});

test.each([
  [{ price: '0' }, 'price'],
  [{ price: '1.234' }, 'price'],
  [{ price: '-1' }, 'price'],
  [{ published_year: '999' }, 'published_year'],
  [{ isbn: '123' }, 'isbn'],
  [{ initial_quantity: '-1' }, 'initial_quantity'],
  [{ initial_quantity: '' }, 'initial_quantity'],
])('%j is refused', (change, field) => {
  expect(faults(change)).toContain(field);
});

test('what is left empty is null to the API', () => {
  expect(toBody({ ...GOOD, isbn: '978-0-14-143951-8', published_year: '1813' })).toEqual({
    title: 'A',
    author: 'B',
    price: '12.5',
    isbn: '9780141439518',
    genre: null,
    description: null,
    cover_url: null,
    published_year: 1813,
  });
});
