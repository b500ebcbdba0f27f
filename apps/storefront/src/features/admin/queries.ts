import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { admin, body, type AdminSchemas, type OrderStatus } from '../../lib/api/client';
import { queryClient } from '../../lib/query';

export type AdminBook = AdminSchemas['StockedBook'];
export type StockRow = AdminSchemas['StockRow'];
export type Movement = AdminSchemas['Movement'];
export type AdminOrder = AdminSchemas['OrderDetail'];

// Several people may work here: what is shown is fetched anew whenever a page is opened.
const fresh = { staleTime: 0, placeholderData: keepPreviousData };

export const summaryQuery = queryOptions({ queryKey: ['admin', 'summary'], queryFn: ({ signal }) => body(admin().GET('/admin/summary', { signal })), staleTime: 0 });

export const booksQuery = (query: { page?: number | undefined; q?: string | undefined; active?: 'true' | 'false' | undefined }) =>
  queryOptions({
    queryKey: ['admin', 'books', query],
    queryFn: ({ signal }) =>
      body(admin().GET('/admin/books', {
        params: { query: { page: query.page ?? 1, size: 20, ...(query.q && { q: query.q }), ...(query.active && { active: query.active === 'true' }) } },
        signal,
      })),
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
      body(admin().GET('/admin/stock', { params: { query: { page: query.page ?? 1, size: 20, ...(query.q && { q: query.q }), ...(query.low && { low: true }) } }, signal })),
    ...fresh,
  });

export const movementsQuery = (id: string, page: number) =>
  queryOptions({
    queryKey: ['admin', 'movements', id, page],
    queryFn: ({ signal }) => body(admin().GET('/admin/stock/{book_id}/movements', { params: { path: { book_id: id }, query: { page, size: 10 } }, signal })),
    ...fresh,
  });

export interface OrdersAsk {
  page?: number | undefined;
  status?: OrderStatus | undefined;
  from?: string | undefined;
  to?: string | undefined;
  user_id?: string | undefined;
}

/** A day of the form as its first or last moment, where the administrator is: the times in the list are of there, too. */
export const momentOf = (day: string, time: '00:00:00' | '23:59:59.999'): string => new Date(`${day}T${time}`).toISOString();

export const ordersQuery = ({ page = 1, status, from, to, user_id: user }: OrdersAsk) =>
  queryOptions({
    queryKey: ['admin', 'orders', { page, status, from, to, user }],
    queryFn: ({ signal }) =>
      body(admin().GET('/admin/orders', {
        params: {
          query: {
            page, size: 20,
            ...(status && { status }),
            ...(from && { from: momentOf(from, '00:00:00') }),
            ...(to && { to: momentOf(to, '23:59:59.999') }),
            ...(user && { user_id: user }),
          },
        },
        signal,
      })),
    ...fresh,
  });

export const orderQuery = (id: string) =>
  queryOptions({
    queryKey: ['admin', 'order', id],
    queryFn: ({ signal }) => body(admin().GET('/admin/orders/{order_id}', { params: { path: { order_id: id } }, signal })),
    staleTime: 0,
  });

/** After a change: every list of this area, and what the shop shows of books and stock. */
export async function changed(): Promise<void> {
  await Promise.all([['admin'], ['books'], ['book'], ['stock'], ['genres']].map((queryKey) => queryClient.invalidateQueries({ queryKey })));
}
