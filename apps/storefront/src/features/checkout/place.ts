import { body, ecom, type Cart, type Order } from '../../lib/api/client';
import { ApiError } from '../../lib/api/errors';
import { closeAttempt, keyFor } from './attempt';
import type { Shipping } from './schema';

/** Order what is in the cart (E-13), once for each wish however often it is asked for. */
export async function place(cart: Cart, address: Shipping): Promise<Order> {
  const order = { shipping: { ...address, line2: address.line2 || null }, expected_total: cart.total };
  // The lines' own ids: a cart that was ordered and filled again with the same books is another wish.
  const lines = cart.items.map((item) => [item.id, item.book_id, item.quantity]);
  const key = await keyFor({ order, lines });
  try {
    const placed = await body(
      ecom().POST('/ecom/checkout', { params: { header: { 'Idempotency-Key': key } }, body: order }),
    );
    closeAttempt();
    return placed;
  } catch (error) {
    // Only a clear refusal ends the attempt: what got no answer may have been ordered.
    if (error instanceof ApiError && error.status < 500 && error.status !== 429 && error.status !== 401) closeAttempt();
    throw error;
  }
}
