import type { Cart } from '../api/client';
import { queryClient } from '../query';
import { createStore, useStore } from '../store';

const waiting = createStore(0);
let last: Promise<unknown> = Promise.resolve();

/** Whether changes of the customer's cart are under way: until they are through, no page may offer to order what it shows. */
export const useCartChanging = (): boolean => useStore(waiting) > 0;

/**
 * Change the customer's cart, after all changes that were asked for before, so that the cart shown is that of the last answer.
 * Fails as the request does; a failure does not keep later changes from being made.
 */
export async function changeCart(request: () => Promise<Cart>): Promise<void> {
  waiting.set(waiting.get() + 1);
  const turn = last.then(async () => {
    const cart = await request();
    // One that is being read may have been answered before the change.
    await queryClient.cancelQueries({ queryKey: ['cart'] });
    queryClient.setQueryData(['cart'], cart);
  });
  last = turn.catch(() => undefined);
  try {
    await turn;
  } catch (error) {
    // What got no answer may have been done.
    void queryClient.invalidateQueries({ queryKey: ['cart'] });
    throw error;
  } finally {
    waiting.set(waiting.get() - 1);
  }
}
