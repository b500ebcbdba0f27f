import { keepPreviousData, queryOptions, useQuery } from '@tanstack/react-query';
import { body, ecom, inventory, type Book, type Stock } from './api/client';

export const bookQuery = (id: string) =>
  queryOptions({
    queryKey: ['book', id],
    queryFn: ({ signal }): Promise<Book> =>
      body(ecom().GET('/ecom/books/{book_id}', { params: { path: { book_id: id } }, signal })),
    staleTime: 60_000,
  });

/** One call for all books of a page (I-03). It fails fast: the shop works without it. */
export const stockQuery = (ids: string[]) =>
  queryOptions({
    queryKey: ['stock', ...[...ids].sort()],
    queryFn: async ({ signal }): Promise<Map<string, Stock>> => {
      const rows = await body(
        inventory().GET('/inven/stock/bulk', { params: { query: { book_ids: ids.join(',') } }, signal }),
      );
      return new Map(rows.map((row) => [row.book_id, row]));
    },
    staleTime: 10_000,
    retry: false,
  });

export type StockState = 'loading' | 'unknown' | 'none' | Stock['stock_status'];
export interface StockInfo {
  state: StockState;
  available?: number;
}

/** Stock of many books as the badges show it; a book without a row has no copies yet. */
export function useStock(ids: string[]): (id: string) => StockInfo {
  // What the page before showed is still true of the books that are on both; of the others nothing is known yet.
  const { data, isError, isPlaceholderData } = useQuery({
    ...stockQuery(ids),
    enabled: ids.length > 0,
    placeholderData: keepPreviousData,
  });
  return (id) => {
    const row = data?.get(id);
    if (row !== undefined && !isError) return { state: row.stock_status, available: row.available };
    if (isError) return { state: 'unknown' };
    return { state: data !== undefined && !isPlaceholderData && ids.includes(id) ? 'none' : 'loading' };
  };
}

export const soldOut = (info: StockInfo): boolean => info.state === 'out_of_stock' || info.state === 'none';
