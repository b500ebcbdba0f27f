import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { body, ecom, type Book, type BookPage } from '../../lib/api/client';
import type { Sort } from './sorts';

interface CatalogueAsk {
  page?: number | undefined;
  sort?: Sort | undefined;
  genre?: string | undefined;
}

export const PER_PAGE = 12;

export const booksQuery = ({ page = 1, sort, genre }: CatalogueAsk) =>
  queryOptions({
    queryKey: ['books', { page, sort, genre }],
    queryFn: ({ signal }): Promise<BookPage> =>
      body(
        ecom().GET('/ecom/books', {
          params: { query: { page, size: PER_PAGE, ...(sort && { sort }), ...(genre && { genre }) } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const searchQuery = (q: string, page = 1) =>
  queryOptions({
    queryKey: ['books', 'search', q, page],
    queryFn: ({ signal }): Promise<BookPage> =>
      body(ecom().GET('/ecom/books/search', { params: { query: { q, page, size: PER_PAGE } }, signal })),
    placeholderData: keepPreviousData,
    enabled: q !== '',
  });

export const genresQuery = queryOptions({
  queryKey: ['genres'],
  queryFn: ({ signal }) => body(ecom().GET('/ecom/genres', { signal })),
  staleTime: 300_000,
});

/** How many books a product page names besides its own. */
export const MORE = 6;
// Suggestions may be a few minutes old, and nobody waits for them: what is not there is not shown.
const suggestions = { staleTime: 300_000, retry: false };

/** Other books of an author. The API has no list by author: the search finds names among other words, of which only this one counts. */
export const byAuthorQuery = ({ id, author }: Book) =>
  queryOptions({
    queryKey: ['books', 'author', author],
    queryFn: ({ signal }): Promise<BookPage> =>
      body(
        ecom().GET('/ecom/books/search', { params: { query: { q: author.slice(0, 100), size: PER_PAGE } }, signal }),
      ),
    select: ({ items }): Book[] => items.filter((one) => one.author === author && one.id !== id).slice(0, MORE),
    ...suggestions,
  });

/** Other books of a genre, the newest first. */
export const inGenreQuery = ({ id, author, genre }: Book) =>
  queryOptions({
    queryKey: ['books', 'more', genre],
    queryFn: ({ signal }): Promise<BookPage> =>
      body(
        ecom().GET('/ecom/books', {
          params: { query: { size: PER_PAGE, sort: '-published_year', genre: genre ?? '' } },
          signal,
        }),
      ),
    // The author's stand above.
    select: ({ items }): Book[] => items.filter((one) => one.author !== author && one.id !== id).slice(0, MORE),
    enabled: Boolean(genre),
    ...suggestions,
  });
