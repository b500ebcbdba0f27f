import { screen, within } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { session } from '../lib/auth/session';
import { addToGuestCart, clearGuestCart } from '../lib/cart/guest-cart';
import { renderAt } from '../testing/shop';
import { Layout } from './layout';

test.each([
  ['/', true, 1],
  ['/search', true, 1],
  ['/administration', true, 1],
  ['/admin', true, 0],
  ['/admin/books', true, 0],
  ['/admin', false, 1],
])('at %s, for an administrator %s, the shop has %i search field', async (path, admin, fields) => {
  session.set({ status: 'signed-in', sub: 's', name: 'Ada', admin });
  vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ items: [], count: 0, total: '0.00' })));
  await renderAt(path, Layout);
  expect(within(screen.getByRole('navigation', { name: 'Main' })).queryAllByRole('searchbox')).toHaveLength(fields);
});

test('an empty cart has no figure, and says so to whoever hears it', async () => {
  session.set({ status: 'guest' });
  clearGuestCart();
  await renderAt('/', Layout);
  expect(screen.getByRole('link', { name: 'Cart, 0 items' })).toHaveTextContent(/^$/);
  addToGuestCart('00000000-0000-4000-8000-000000000001', 2);
  expect(await screen.findByRole('link', { name: 'Cart, 2 items' })).toHaveTextContent('2');
});
