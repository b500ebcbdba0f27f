import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { admin, body, type AdminSchemas, type OrderStatus } from '../../lib/api/client';
import { queryClient } from '../../lib/query';

export type AdminBook = AdminSchemas['StockedBook'];
export type StockRow = AdminSchemas['StockRow'];
export type Movement = AdminSchemas['Movement'];
export type AdminOrder = AdminSchemas['OrderDetail'];

// Several people may work here: what is shown is fetched anew whenever a page is opened.
const fresh = { staleTime: 0, placeholderData: keepPreviousData };

export const summaryQuery = queryOptions({
  queryKey: ['admin', 'summary'],
  queryFn: ({ signal }) => body(admin().GET('/admin/summary', { signal })),
  staleTime: 0,
});

export const booksQuery = (query: {
  page?: number | undefined;
  q?: string | undefined;
  active?: 'true' | 'false' | undefined;
}) =>
  queryOptions({
    queryKey: ['admin', 'books', query],
    queryFn: ({ signal }) =>
      body(
        admin().GET('/admin/books', {
          params: {
            query: {
              page: query.page ?? 1,
              size: 20,
              ...(query.q && { q: query.q }),
              ...(query.active && { active: query.active === 'true' }),
            },
          },
          signal,
        }),
      ),
    ...fresh,
  });

export const bookQuery = (id: string) =>
  queryOptions({
    queryKey: ['admin', 'book', id],
    queryFn: ({ signal }) => body(admin().GET('/admin/books/{book_id}', { params: { path: { book_id: id } }, signal })),
    staleTime: 0,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });

export const stockQuery = (query: { page?: number | undefined; q?: string | undefined; low?: boolean }) =>
  queryOptions({
    queryKey: ['admin', 'stock', query],
    queryFn: ({ signal }) =>
      body(
        admin().GET('/admin/stock', {
          params: {
            query: { page: query.page ?? 1, size: 20, ...(query.q && { q: query.q }), ...(query.low && { low: true }) },
          },
          signal,
        }),
      ),
    ...fresh,
  });

export const movementsQuery = (id: string, page: number) =>
  queryOptions({
    queryKey: ['admin', 'movements', id, page],
    queryFn: ({ signal }) =>
      body(
        admin().GET('/admin/stock/{book_id}/movements', {
          params: { path: { book_id: id }, query: { page, size: 10 } },
          signal,
        }),
      ),
    ...fresh,
  });

export interface OrdersAsk {
  page?: number | undefined;
  status?: OrderStatus | undefined;
  from?: string | undefined;
  to?: string | undefined;
  user_id?: string | undefined;
}

/**
 * The first moment of the day that is so many `days` after this one, where the administrator is: the times in the list are of there,
 * too. By the calendar, since a day has 23 or 25 hours when the clocks change. A filter ends where the next day begins, so that no
 * moment is between two days.
 */
export function startOf(day: string, days: 0 | 1 = 0): string {
  const [year = 0, month = 1, date = 1] = day.split('-').map(Number);
  const start = new Date(0);
  start.setFullYear(year, month - 1, date + days);
  start.setHours(0, 0, 0, 0);
  return start.toISOString();
}

export const ordersQuery = ({ page = 1, status, from, to, user_id: user }: OrdersAsk) =>
  queryOptions({
    queryKey: ['admin', 'orders', { page, status, from, to, user }],
    queryFn: ({ signal }) =>
      body(
        admin().GET('/admin/orders', {
          params: {
            query: {
              page,
              size: 20,
              ...(status && { status }),
              ...(from && { from: startOf(from) }),
              ...(to && { to: startOf(to, 1) }),
              ...(user && { user_id: user }),
            },
          },
          signal,
        }),
      ),
    ...fresh,
  });

export const orderQuery = (id: string) =>
  queryOptions({
    queryKey: ['admin', 'order', id],
    queryFn: ({ signal }) =>
      body(admin().GET('/admin/orders/{order_id}', { params: { path: { order_id: id } }, signal })),
    staleTime: 0,
  });

/** After a change: every list of this area, and what the shop shows of books and stock. */
export async function changed(): Promise<void> {
  await Promise.all(
    [['admin'], ['books'], ['book'], ['stock'], ['genres']].map((queryKey) =>
      queryClient.invalidateQueries({ queryKey }),
    ),
  );
}
