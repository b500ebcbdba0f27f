import { expect, test } from 'vitest';
import { money, plural, total } from './format';

test('sums are exact in cents', () => {
  expect(total([{ price: '0.10', quantity: 3 }, { price: '1.15', quantity: 99 }])).toBe('114.15');
  expect(total([])).toBe('0.00');
});

test('money and numbers of things', () => {
  expect(money('1234.5')).toBe('$1,234.50');
  expect([plural(1, 'book'), plural(0, 'book'), plural(2, 'copy', 'copies')]).toEqual(['1 book', '0 books', '2 copies']);
});
