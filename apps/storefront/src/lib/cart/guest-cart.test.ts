import { beforeEach, expect, test } from 'vitest';
import {
  addToGuestCart,
  clearGuestCart,
  GUEST_CART_KEY,
  guestCart,
  guestCount,
  MOST_LINES,
  parseGuestCart,
  setGuestQuantity,
} from './guest-cart';

const id = (number: number): string => `00000000-0000-0000-0000-${String(number).padStart(12, '0')}`;
const stored = (): unknown => JSON.parse(localStorage.getItem(GUEST_CART_KEY) ?? 'null');

beforeEach(clearGuestCart);

test('copies of one book add up to 99 at most, and are stored with nothing else', () => {
  expect(addToGuestCart(id(1), 60)).toBe(true);
  expect(addToGuestCart(id(1), 60)).toBe(true);
  expect(stored()).toEqual({ merge_id: guestCart().merge_id, items: [{ book_id: id(1), quantity: 99 }] });
});

test('the merge key stays the same while the cart grows, and is new for the next cart', () => {
  addToGuestCart(id(1), 1);
  const key = guestCart().merge_id;
  addToGuestCart(id(2), 1);
  expect(guestCart().merge_id).toBe(key);
  clearGuestCart();
  expect(stored()).toBeNull();
  expect(guestCart().merge_id).not.toBe(key);
});

test('a 51st book has no room; a 50th has', () => {
  for (let number = 1; number <= MOST_LINES; number += 1) expect(addToGuestCart(id(number), 1)).toBe(true);
  expect(addToGuestCart(id(99), 1)).toBe(false);
  expect(addToGuestCart(id(1), 1)).toBe(true);
  expect(guestCount(guestCart())).toBe(51);
});

test('a quantity of 0 removes the line', () => {
  addToGuestCart(id(1), 2);
  setGuestQuantity(id(1), 1);
  expect(guestCart().items).toEqual([{ book_id: id(1), quantity: 1 }]);
  setGuestQuantity(id(1), 0);
  expect(guestCart().items).toEqual([]);
});

test.each([
  null,
  '',
  'no json',
  '[]',
  '7',
  '{"items":7}',
  '{"items":[null,{"book_id":"<script>","quantity":1},{"book_id":7}]}',
])('%j in the storage is an empty cart', (text) => {
  expect(parseGuestCart(text).items).toEqual([]);
});

test('what is stored by hand is brought into bounds', () => {
  const text = JSON.stringify({
    merge_id: 'x',
    items: [
      { book_id: id(1), quantity: 500 },
      { book_id: id(2), quantity: -1 },
      { book_id: id(3), quantity: 2.7, token: 'x' },
    ],
  });
  const cart = parseGuestCart(text);
  expect(cart.items).toEqual([
    { book_id: id(1), quantity: 99 },
    { book_id: id(3), quantity: 2 },
  ]);
  expect(cart.merge_id).toMatch(/^[0-9a-f-]{36}$/);
});
