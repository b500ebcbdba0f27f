import { body, ecom, type MergedCart } from '../api/client';
import { describe, hasCode } from '../api/errors';
import { plural } from '../format';
import { notify } from '../notices';
import { queryClient } from '../query';
import { createStore } from '../store';
import { readCart } from './cart';
import { changeCart } from './changes';
import { beginMerge, endMerge, type GuestCart } from './guest-cart';

type Left = MergedCart['skipped'];

/** What the last merge left out, for the pages to say. */
export const skipped = createStore<{ title: string; reason: string }[]>([]);

async function post(cart: GuestCart): Promise<Left> {
  const merged = await body(
    ecom().POST('/ecom/cart/merge', {
      params: { header: { 'Idempotency-Key': cart.merge_id } },
      body: { items: cart.items },
    }),
  );
  endMerge(cart);
  return merged.skipped;
}

/** Move the guest's cart into the customer's (E-12). It is forgotten only after the answer, so a failure is made good next time. */
export async function mergeGuestCart(): Promise<void> {
  const left: Left = [];
  let posted: GuestCart | null = null;
  try {
    // Once more for what was added while the answer to an earlier merge was missing.
    while ((posted = beginMerge()) !== null) {
      const cart = posted;
      await changeCart(async () => {
        left.push(...(await post(cart)));
        // The answer to a repeated merge shows the cart of then.
        return readCart();
      });
    }
  } catch (error) {
    if (posted !== null && hasCode(error, 'idempotency_key_reused')) {
      // Something was merged under this key; posting under another could only double it.
      endMerge(posted);
      notify('Books from this device were moved into your cart before. Please check its quantities.', 'bad');
    } else if (beginMerge() !== null) notify(`Your items are kept on this device. ${describe(error).title}.`, 'bad');
  }
  if (left.length === 0) return;
  skipped.set(await Promise.all(left.map(named)));
  notify(`${plural(left.length, 'book')} could not be moved into your cart.`, 'bad');
}

async function named({ book_id: id, reason }: Left[number]) {
  const known = queryClient.getQueryData<{ title: string }>(['book', id]);
  const found =
    known ??
    (await body(ecom().GET('/ecom/books/{book_id}', { params: { path: { book_id: id } } })).catch(() => undefined));
  return {
    title: found?.title ?? `A book that is no longer sold (${id.slice(-4)})`,
    reason: reason === 'cart_full' ? 'the cart is full' : 'not on sale',
  };
}
