import { beforeEach, expect, test, vi } from 'vitest';
import { queryClient } from '../query';
import { addToGuestCart, clearGuestCart, guestCart, MERGE_KEY } from './guest-cart';

vi.mock('../auth/session', () => ({
  accessToken: () => 'token',
  tokenEnds: () => false,
  ready: () => Promise.resolve(),
  renew: () => Promise.resolve(true),
  useSession: () => ({ status: 'guest' }),
}));
const { mergeGuestCart, skipped } = await import('./merge');

const BOOK = '00000000-0000-0000-0000-000000000001';
const OTHER = '00000000-0000-0000-0000-000000000002';
const lost = new TypeError('Failed to fetch');
type Merge = { key: string | null; items: { book_id: string; quantity: number }[] };

/** A shop whose customer has `count` copies; `queue` says which merges are lost. Returns the merges that were posted. */
function shop(count: number, ...queue: ('lost' | 'done' | object)[]): Merge[] {
  const posted: Merge[] = [];
  vi.stubGlobal('fetch', async (request: Request) => {
    if (request.url.endsWith('/csrf-token')) return Response.json({ token: 'csrf' });
    if (request.method === 'GET') return Response.json({ items: [], count, total: '0.00' });
    posted.push({ key: request.headers.get('Idempotency-Key'), ...((await request.json()) as Pick<Merge, 'items'>) });
    const next = queue.shift();
    if (next === 'lost') throw lost;
    // The cart of when it was merged first, as the service answers a repeated key.
    return next === 'done'
      ? Response.json({ cart: { items: [], count: 1, total: '0.00' }, skipped: [] })
      : Response.json(next, { status: 409 });
  });
  return posted;
}

beforeEach(() => {
  localStorage.clear();
  clearGuestCart();
  queryClient.clear();
  skipped.set([]);
});

test('the cart that is shown is the one of now, not the one in the answer', async () => {
  addToGuestCart(BOOK, 2);
  const posted = shop(7, 'done');
  await mergeGuestCart();
  expect(posted.map((one) => one.items)).toEqual([[{ book_id: BOOK, quantity: 2 }]]);
  expect(queryClient.getQueryData(['cart'])).toMatchObject({ count: 7 });
  expect(localStorage).toHaveLength(0);
});

test('what changed after a lost answer is not doubled: the same is posted again, and only the rest under a new key', async () => {
  addToGuestCart(BOOK, 2);
  const key = guestCart().merge_id;
  const posted = shop(5, 'lost', 'lost', 'done', 'done');
  await mergeGuestCart();
  expect(guestCart().items).toEqual([{ book_id: BOOK, quantity: 2 }]);
  addToGuestCart(BOOK, 1);
  addToGuestCart(OTHER, 4);
  await mergeGuestCart();
  const first = { key, items: [{ book_id: BOOK, quantity: 2 }] };
  expect(posted.slice(0, 3)).toEqual([first, first, first]);
  expect(posted[3]!.items).toEqual([
    { book_id: BOOK, quantity: 1 },
    { book_id: OTHER, quantity: 4 },
  ]);
  expect(posted[3]!.key).not.toBe(key);
  expect(posted).toHaveLength(4);
  expect(localStorage).toHaveLength(0);
});

test('a guest who emptied the cart after a lost answer wants nothing merged', async () => {
  addToGuestCart(BOOK, 2);
  const posted = shop(0, 'lost', 'lost');
  await mergeGuestCart();
  clearGuestCart();
  await mergeGuestCart();
  expect(posted).toHaveLength(2);
  expect(localStorage.getItem(MERGE_KEY)).toBeNull();
});

test('a key that stands for other items is not replaced by one that would merge them twice', async () => {
  addToGuestCart(BOOK, 2);
  const posted = shop(2, { code: 'idempotency_key_reused', errors: [] });
  await mergeGuestCart();
  await mergeGuestCart();
  expect(posted).toHaveLength(1);
  expect(guestCart().items).toEqual([]);
});
