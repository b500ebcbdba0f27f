import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { body, ecom, type BookPage } from '../../lib/api/client';

export type Sort = 'title' | '-title' | 'price' | '-price' | 'published_year' | '-published_year' | '-created_at';
export interface CatalogueAsk {
  page?: number | undefined;
  sort?: Sort | undefined;
  genre?: string | undefined;
}

export const PER_PAGE = 12;

export const booksQuery = ({ page = 1, sort, genre }: CatalogueAsk) =>
  queryOptions({
    queryKey: ['books', { page, sort, genre }],
    queryFn: ({ signal }): Promise<BookPage> =>
      body(ecom().GET('/ecom/books', { params: { query: { page, size: PER_PAGE, ...(sort && { sort }), ...(genre && { genre }) } }, signal })),
    placeholderData: keepPreviousData,
  });

export const searchQuery = (q: string, page = 1) =>
  queryOptions({
    queryKey: ['books', 'search', q, page],
    queryFn: ({ signal }): Promise<BookPage> => body(ecom().GET('/ecom/books/search', { params: { query: { q, page, size: PER_PAGE } }, signal })),
    placeholderData: keepPreviousData,
    enabled: q !== '',
  });

export const genresQuery = queryOptions({
  queryKey: ['genres'],
  queryFn: ({ signal }) => body(ecom().GET('/ecom/genres', { signal })),
  staleTime: 300_000,
});
