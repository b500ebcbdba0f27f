import { body, ecom, type MergedCart } from '../api/client';
import { describe, hasCode } from '../api/errors';
import { plural } from '../format';
import { notify } from '../notices';
import { queryClient } from '../query';
import { createStore } from '../store';
import { clearGuestCart, guestCart, renewMergeId, type GuestCart } from './guest-cart';

/** What the last merge left out, for the cart page to say. */
export const skipped = createStore<{ title: string; reason: string }[]>([]);

const post = (cart: GuestCart): Promise<MergedCart> =>
  body(
    ecom().POST('/ecom/cart/merge', {
      params: { header: { 'Idempotency-Key': cart.merge_id } },
      body: { items: cart.items },
    }),
  );

/** Move the guest's cart into the customer's (E-12). It is forgotten only after the answer, so a failure is made good next time. */
export async function mergeGuestCart(): Promise<void> {
  const cart = guestCart();
  if (cart.items.length === 0) return;
  try {
    let merged: MergedCart;
    try {
      merged = await post(cart);
    } catch (error) {
      if (!hasCode(error, 'idempotency_key_reused')) throw error;
      // Items were changed after a merge whose answer got lost.
      renewMergeId();
      merged = await post(guestCart());
    }
    clearGuestCart();
    // One that is under way may have been answered before the merge.
    await queryClient.cancelQueries({ queryKey: ['cart'] });
    queryClient.setQueryData(['cart'], merged.cart);
    skipped.set(await Promise.all(merged.skipped.map(named)));
    if (merged.skipped.length > 0) notify(`${plural(merged.skipped.length, 'book')} could not be moved into your cart.`, 'bad');
  } catch (error) {
    notify(`Your items are kept on this device. ${describe(error).title}.`, 'bad');
  }
}

async function named({ book_id: id, reason }: MergedCart['skipped'][number]) {
  const known = queryClient.getQueryData<{ title: string }>(['book', id]);
  const found = known ?? (await body(ecom().GET('/ecom/books/{book_id}', { params: { path: { book_id: id } } })).catch(() => undefined));
  return { title: found?.title ?? `A book that is no longer sold (${id.slice(-4)})`, reason: reason === 'cart_full' ? 'the cart is full' : 'not on sale' };
}
