import { screen, within } from '@testing-library/react';
import { expect, test } from 'vitest';
import { session } from '../lib/auth/session';
import { addToGuestCart, clearGuestCart } from '../lib/cart/guest-cart';
import { renderAt } from '../testing/shop';
import { Layout } from './layout';

test.each([['/', 1], ['/search', 1], ['/administration', 1], ['/admin', 0], ['/admin/books', 0]])('at %s the shop has %i search field', async (path, fields) => {
  session.set({ status: 'guest' });
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
