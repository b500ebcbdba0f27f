import { screen, waitFor, within } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import type { Book } from '../../lib/api/client';
import { renderAt } from '../../testing/shop';
import { MoreBooks } from './more-books';

const book = (id: string, author: string, genre: string | null = 'Fantasy'): Book => ({
  id,
  author,
  genre,
  title: `Title ${id}`,
  price: '5.00',
  cover_url: null,
  created_at: '',
  updated_at: '',
  currency: 'USD',
  description: null,
  isbn: null,
  published_year: null,
});
const page = (...items: Book[]) => Response.json({ items, page: 1, pages: 1, size: 12, total: items.length });

/** What the Ecom API answers to a search and to a list; returns what it was asked. */
function answers(found: Response, listed: Response): URL[] {
  const asked: URL[] = [];
  vi.stubGlobal('fetch', ({ url }: Request) => {
    asked.push(new URL(url));
    return Promise.resolve(url.includes('/ecom/books/search?') ? found : listed);
  });
  return asked;
}

const titles = (name: string) =>
  within(screen.getByRole('region', { name }))
    .getAllByRole('heading', { level: 3 })
    .map((one) => one.textContent);

test('a product page names other books of the author, and others of the genre', async () => {
  const own = book('own', 'Ada Le Guin');
  const asked = answers(
    page(own, book('a1', 'Ada Le Guin', 'Essays'), book('a2', 'Guin Ada')),
    page(own, book('a1', 'Ada Le Guin'), book('g1', 'Somebody'), book('g2', 'Anybody')),
  );
  await renderAt('/', () => <MoreBooks book={own} />);
  await screen.findByRole('region', { name: 'More by Ada Le Guin' });
  // Of what the search found only books of this very author; of the genre none that stands above already.
  expect(titles('More by Ada Le Guin')).toEqual(['Title a1']);
  expect(titles('More in Fantasy')).toEqual(['Title g1', 'Title g2']);
  expect(screen.getByRole('link', { name: 'Title g1' })).toHaveAttribute('href', '/books/g1');
  expect(asked.map((url) => url.searchParams.get('q') ?? url.searchParams.get('genre')).sort()).toEqual([
    'Ada Le Guin',
    'Fantasy',
  ]);
});

test('nothing stands where there is no more, and a book without a genre is not asked for its genre', async () => {
  const own = book('own', 'Ada', null);
  const asked = answers(page(own), page(own, book('g1', 'Somebody')));
  await renderAt('/', () => <MoreBooks book={own} />);
  await waitFor(() => {
    expect(document.querySelector('.more')).toBeNull();
  });
  expect(asked.map((url) => url.pathname)).toEqual(['/ecom/books/search']);
});

test('a page whose suggestions cannot be had is whole without them', async () => {
  const asked = answers(new Response('', { status: 429 }), new Response('', { status: 503 }));
  await renderAt('/', () => (
    <>
      <h1>Dune</h1>
      <MoreBooks book={book('own', 'Ada')} />
    </>
  ));
  await waitFor(() => {
    expect(document.querySelector('.more')).toBeNull();
  });
  expect(screen.getByRole('heading', { name: 'Dune' })).toBeInTheDocument();
  expect(screen.queryByRole('alert')).toBeNull();
  // Nor is a service that is at its limit asked again.
  expect(asked).toHaveLength(2);
});
