import { createStore, useStore } from '../store';

/** What a visitor collected before signing in (SPEC 6): no personal data, no tokens. */
export interface GuestCart {
  merge_id: string;
  items: { book_id: string; quantity: number }[];
}

export const GUEST_CART_KEY = 'bookstore_guest_cart';
/** The cart as it was posted for a merge that is not answered yet. */
export const MERGE_KEY = 'bookstore_guest_merge';
const MOST_COPIES = 99;
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

// Storage may be forbidden: the cart then lives as long as the page.
const memory = new Map<string, string>();

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return memory.get(key) ?? null;
  }
}

function write(key: string, cart: GuestCart | null): void {
  try {
    if (cart === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(cart));
  } catch {
    if (cart === null) memory.delete(key);
    else memory.set(key, JSON.stringify(cart));
  }
}

const store = createStore<GuestCart>(parseGuestCart(read(GUEST_CART_KEY)));
window.addEventListener('storage', (event) => {
  if (event.key === GUEST_CART_KEY || event.key === null) store.set(parseGuestCart(read(GUEST_CART_KEY)));
});

function save(cart: GuestCart): void {
  write(GUEST_CART_KEY, cart.items.length === 0 ? null : cart);
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
    items: cart.items.flatMap((item) =>
      item.book_id !== bookId ? [item] : quantity < 1 ? [] : [{ ...item, quantity: copies(quantity) }],
    ),
  });
}

export const clearGuestCart = (): void => {
  save(empty());
};

/**
 * What to post now, if anything: a merge that was posted before and is not answered yet, exactly as it was, for it may have been
 * made; else the cart as it stands.
 */
export function beginMerge(): GuestCart | null {
  const cart = parseGuestCart(read(GUEST_CART_KEY));
  const before = parseGuestCart(read(MERGE_KEY));
  if (cart.items.length === 0) {
    write(MERGE_KEY, null);
    return null;
  }
  if (before.items.length > 0) return before;
  write(MERGE_KEY, cart);
  return cart;
}

/** What was posted is in the customer's cart; what the guest added since then stays, under a new key. */
export function endMerge(posted: GuestCart): void {
  // Another tab may have ended it.
  if (parseGuestCart(read(MERGE_KEY)).merge_id !== posted.merge_id) return;
  write(MERGE_KEY, null);
  const moved = new Map(posted.items.map((item) => [item.book_id, item.quantity]));
  const items = parseGuestCart(read(GUEST_CART_KEY)).items.map((item) => ({
    ...item,
    quantity: item.quantity - (moved.get(item.book_id) ?? 0),
  }));
  save({ merge_id: crypto.randomUUID(), items: items.filter((item) => item.quantity > 0) });
}
