import { queryOptions, useQuery } from '@tanstack/react-query';
import { body, ecom, type Cart } from '../api/client';
import { ApiError } from '../api/errors';
import { ready, useSession } from '../auth/session';
import { changeCart } from './changes';
import { addToGuestCart, guestCount, useGuestCart } from './guest-cart';

export const readCart = (signal?: AbortSignal): Promise<Cart> =>
  body(ecom().GET('/ecom/cart', signal ? { signal } : {}));

export const cartQuery = queryOptions({
  queryKey: ['cart'],
  queryFn: ({ signal }): Promise<Cart> => readCart(signal),
  // Another tab may have changed it a moment ago.
  refetchOnWindowFocus: 'always',
});

/** Copies in the cart; undefined while not known. */
export function useCartCount(): number | undefined {
  const session = useSession();
  const guest = useGuestCart();
  const { data } = useQuery({ ...cartQuery, enabled: session.status === 'signed-in' });
  if (session.status === 'signed-in') return data?.count;
  return session.status === 'guest' ? guestCount(guest) : undefined;
}

const fullCart = (): ApiError =>
  new ApiError({ status: 409, code: 'cart_full', title: 'Conflict', detail: '', errors: [] });

/** Add copies to whichever cart is the visitor's; fails with an ApiError or a NetworkError. */
export async function addToCart(bookId: string, quantity: number): Promise<void> {
  const session = await ready();
  if (session.status !== 'signed-in') {
    if (!addToGuestCart(bookId, quantity)) throw fullCart();
    return;
  }
  await changeCart(() => body(ecom().POST('/ecom/cart/items', { body: { book_id: bookId, quantity } })));
}
