import { expect, test, vi } from 'vitest';
import type { Cart } from '../../lib/api/client';

vi.mock('../../lib/auth/session', () => ({
  accessToken: () => 'token',
  tokenEnds: () => false,
  ready: () => Promise.resolve(),
  renew: () => Promise.resolve(true),
}));
const { place } = await import('./place');

const ADDRESS = {
  name: 'Ada Reader',
  line1: '1 Shelf Road',
  line2: '',
  city: 'Springfield',
  postal_code: '1',
  country: 'Utopia',
};
const cartOf = (line: string): Cart => ({
  items: [
    { id: line, book_id: 'book', title: 'T', price: '5.00', quantity: 1, line_total: '5.00', available_for_sale: true },
  ],
  count: 1,
  total: '5.00',
});

/** Answers checkouts with these, and a CSRF token whenever one is asked for; returns the keys of the checkouts. */
function answers(...queue: (Error | number)[]): (string | null)[] {
  const keys: (string | null)[] = [];
  vi.stubGlobal('fetch', (request: Request) => {
    if (request.url.endsWith('/csrf-token')) return Promise.resolve(Response.json({ token: 'csrf' }));
    keys.push(request.headers.get('Idempotency-Key'));
    const next = queue.shift();
    return next instanceof Error
      ? Promise.reject(next)
      : Promise.resolve(Response.json(next === 201 ? { id: 'order' } : { code: 'x' }, { status: next ?? 500 }));
  });
  return keys;
}

const lost = new TypeError('Failed to fetch');

test('after a lost answer the same cart is the same order', async () => {
  const keys = answers(lost, lost, 201);
  await expect(place(cartOf('line-1'), ADDRESS)).rejects.toMatchObject({ name: 'NetworkError' });
  await place(cartOf('line-1'), ADDRESS);
  expect(new Set(keys).size).toBe(1);
});

test('the same book in a cart that was filled anew is another order', async () => {
  const keys = answers(lost, lost, 201);
  await expect(place(cartOf('line-1'), ADDRESS)).rejects.toMatchObject({ name: 'NetworkError' });
  await place(cartOf('line-2'), ADDRESS);
  expect(keys[2]).not.toBe(keys[0]);
});

test.each([
  [409, false],
  [503, true],
  [429, true],
])('after a %i the key is kept: %s', async (status, kept) => {
  const keys = answers(status, 201);
  await expect(place(cartOf('line-1'), ADDRESS)).rejects.toMatchObject({ status });
  await place(cartOf('line-1'), ADDRESS);
  expect(keys[0] === keys[1]).toBe(kept);
});
