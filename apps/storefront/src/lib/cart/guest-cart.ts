import { createStore, useStore } from '../store';

/** What a visitor collected before signing in (SPEC 6): no personal data, no tokens. */
export interface GuestCart {
  merge_id: string;
  items: { book_id: string; quantity: number }[];
}

export const GUEST_CART_KEY = 'bookstore_guest_cart';
export const MOST_COPIES = 99;
export const MOST_LINES = 50;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

const empty = (): GuestCart => ({ merge_id: crypto.randomUUID(), items: [] });
const copies = (wanted: number): number => Math.min(MOST_COPIES, Math.max(1, Math.trunc(wanted)));

/** Whatever stands in the storage, by our own hand or another's, becomes a cart. */
export function parseGuestCart(text: string | null): GuestCart {
  let found: Partial<GuestCart> | null = null;
  try {
    found = JSON.parse(text ?? 'null') as Partial<GuestCart> | null;
  } catch {
    // Not JSON: an empty cart.
  }
  if (typeof found !== 'object' || found === null || !Array.isArray(found.items)) return empty();
  const lines = new Map<string, number>();
  for (const item of found.items as unknown[]) {
    const { book_id: id, quantity } = (item ?? {}) as { book_id?: unknown; quantity?: unknown };
    if (typeof id !== 'string' || !UUID.test(id) || typeof quantity !== 'number' || !(quantity >= 1)) continue;
    if (lines.size >= MOST_LINES && !lines.has(id)) continue;
    lines.set(id, copies((lines.get(id) ?? 0) + quantity));
  }
  const merge = typeof found.merge_id === 'string' && UUID.test(found.merge_id) ? found.merge_id : crypto.randomUUID();
  return { merge_id: merge, items: [...lines].map(([book_id, quantity]) => ({ book_id, quantity })) };
}

function read(): string | null {
  try {
    return localStorage.getItem(GUEST_CART_KEY);
  } catch {
    // Storage may be forbidden: the cart then lives as long as the page.
    return null;
  }
}

const store = createStore<GuestCart>(parseGuestCart(read()));
window.addEventListener('storage', (event) => {
  if (event.key === GUEST_CART_KEY || event.key === null) store.set(parseGuestCart(read()));
});

function save(cart: GuestCart): void {
  try {
    if (cart.items.length === 0) localStorage.removeItem(GUEST_CART_KEY);
    else localStorage.setItem(GUEST_CART_KEY, JSON.stringify(cart));
  } catch {
    // As in read().
  }
  store.set(cart);
}

export const guestCart = (): GuestCart => store.get();
export const useGuestCart = (): GuestCart => useStore(store);
export const guestCount = (cart: GuestCart): number => cart.items.reduce((sum, item) => sum + item.quantity, 0);

/** Add copies; false if the cart has no room for another book. */
export function addToGuestCart(bookId: string, quantity: number): boolean {
  const cart = store.get();
  const line = cart.items.find((item) => item.book_id === bookId);
  if (line === undefined && cart.items.length >= MOST_LINES) return false;
  const items = line
    ? cart.items.map((item) => (item === line ? { ...item, quantity: copies(item.quantity + quantity) } : item))
    : [...cart.items, { book_id: bookId, quantity: copies(quantity) }];
  save({ ...cart, items });
  return true;
}

/** Set a line's copies; 0 removes it. */
export function setGuestQuantity(bookId: string, quantity: number): void {
  const cart = store.get();
  save({
    ...cart,
    items: cart.items.flatMap((item) => (item.book_id !== bookId ? [item] : quantity < 1 ? [] : [{ ...item, quantity: copies(quantity) }])),
  });
}

export const clearGuestCart = (): void => { save(empty()); };
/** A new key for the merge: the old one stands for other items. */
export const renewMergeId = (): void => { save({ ...store.get(), merge_id: crypto.randomUUID() }); };
