import { useQueries, useQuery } from '@tanstack/react-query';
import { body, ecom } from '../../lib/api/client';
import { isMissing } from '../../lib/api/errors';
import { ready, useSession } from '../../lib/auth/session';
import { bookQuery } from '../../lib/books';
import { cartQuery, readCart } from '../../lib/cart/cart';
import { changeCart } from '../../lib/cart/changes';
import { clearGuestCart, setGuestQuantity, useGuestCart } from '../../lib/cart/guest-cart';
import { total } from '../../lib/format';

/** A cart's line, a guest's or a customer's alike. */
export interface Line {
  /** Of the server's line; for guests the book's id. */
  id: string;
  bookId: string;
  title: string;
  author?: string | undefined;
  price: string;
  quantity: number;
  lineTotal: string;
  forSale: boolean;
}

interface CartView {
  lines: Line[] | undefined;
  total: string;
  error: unknown;
  retry: () => void;
}

export function useCartView(): CartView {
  const session = useSession();
  const guest = useGuestCart();
  const server = useQuery({ ...cartQuery, enabled: session.status === 'signed-in' });
  const books = useQueries({
    queries: session.status === 'guest' ? guest.items.map((item) => bookQuery(item.book_id)) : [],
  });
  const known = useQueries({
    queries: (server.data?.items ?? []).map((item) => ({
      ...bookQuery(item.book_id),
      enabled: session.status === 'signed-in',
    })),
  });
  if (session.status === 'signed-in') {
    const lines = server.data?.items.map((item, index) => ({
      id: item.id,
      bookId: item.book_id,
      title: item.title,
      author: known[index]?.data?.author,
      price: item.price,
      quantity: item.quantity,
      lineTotal: item.line_total,
      forSale: item.available_for_sale,
    }));
    return {
      lines,
      total: server.data?.total ?? '0.00',
      error: server.data ? null : server.error,
      retry: () => void server.refetch(),
    };
  }
  const failed = books.find((one) => one.error && !isMissing(one.error));
  const waiting = session.status === 'unknown' || books.some((one) => one.isPending);
  const lines = guest.items.map(({ book_id: bookId, quantity }, index): Line => {
    const book = books[index]?.data;
    const price = book?.price ?? '0.00';
    return {
      id: bookId,
      bookId,
      title: book?.title ?? 'A book that is no longer sold',
      author: book?.author,
      price,
      quantity,
      lineTotal: total([{ price, quantity }]),
      forSale: book !== undefined,
    };
  });
  return {
    lines: waiting || failed ? undefined : lines,
    total: total(lines),
    error: failed?.error ?? null,
    retry: () => {
      for (const one of books) if (one.error) void one.refetch();
    },
  };
}

/** Set a line's copies; 0 removes it. */
export async function setQuantity(line: Line, quantity: number): Promise<void> {
  if ((await ready()).status !== 'signed-in') {
    setGuestQuantity(line.bookId, quantity);
    return;
  }
  const path = { item_id: line.id };
  await changeCart(async () => {
    if (quantity > 0) return body(ecom().PUT('/ecom/cart/items/{item_id}', { params: { path }, body: { quantity } }));
    await ecom().DELETE('/ecom/cart/items/{item_id}', { params: { path } });
    return readCart();
  });
}

export async function clearCart(): Promise<void> {
  if ((await ready()).status !== 'signed-in') {
    clearGuestCart();
    return;
  }
  await changeCart(async () => {
    await ecom().DELETE('/ecom/cart');
    return readCart();
  });
}
