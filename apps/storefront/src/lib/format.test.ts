import { expect, test } from 'vitest';
import { amount, COUNTED, counted, known, money, plural, total } from './format';

test('sums are exact in cents', () => {
  expect(
    total([
      { price: '0.10', quantity: 3 },
      { price: '1.15', quantity: 99 },
    ]),
  ).toBe('114.15');
  expect(total([])).toBe('0.00');
});

test('money and numbers of things', () => {
  expect(money('1234.5')).toBe('$1,234.50');
  expect([plural(1, 'book'), plural(0, 'book'), plural(2, 'copy', 'copies')]).toEqual([
    '1 book',
    '0 books',
    '2 copies',
  ]);
});

test('amounts as the APIs write them, and what is not known', () => {
  expect([amount('9.9'), amount(12)]).toEqual(['9.90', '12.00']);
  expect([known(0), known(''), known(null), known(undefined)]).toEqual(['0', '', '–', '–']);
});

test('totals that the API did not count to their end', () => {
  expect(counted(9_999, COUNTED.orders, 'order')).toBe('9999 orders');
  expect(counted(10_000, COUNTED.orders, 'order')).toBe('10000 or more orders');
  expect(counted(1, COUNTED.orders, 'order')).toBe('1 order');
});
