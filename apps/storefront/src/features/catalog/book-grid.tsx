import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { AddToCart } from '../../components/add-to-cart';
import { Cover } from '../../components/cover';
import { StockException } from '../../components/stock-badge';
import type { Book } from '../../lib/api/client';
import { soldOut, useStock } from '../../lib/books';
import { money } from '../../lib/format';
import { PER_PAGE } from './queries';

/** So few books leave most of a wide screen empty, were they as small as those of a full page. */
const FEW = 4;

export function BookGrid({ books, busy = false }: { books: Book[]; busy?: boolean }): ReactElement {
  const stock = useStock(books.map((book) => book.id));
  return (
    <ul className="grid" aria-busy={busy} data-few={books.length <= FEW}>
      {books.map((book, index) => {
        const info = stock(book.id);
        return (
          <li key={book.id}>
            <article className="card" data-testid="book-card" data-stock={info.state}>
              <Link to="/books/$id" params={{ id: book.id }} className="card-cover" tabIndex={-1} aria-hidden="true">
                <Cover title={book.title} author={book.author} url={book.cover_url} eager={index < 4} />
              </Link>
              <h2 className="card-title">
                <Link to="/books/$id" params={{ id: book.id }}>
                  <bdi>{book.title}</bdi>
                </Link>
              </h2>
              <p className="card-author">
                <bdi>{book.author}</bdi>
              </p>
              <p className="card-line">
                <span className="price">{money(book.price)}</span> <StockException info={info} />
              </p>
              <AddToCart bookId={book.id} title={book.title} soldOut={soldOut(info)} className="button button-card" />
            </article>
          </li>
        );
      })}
    </ul>
  );
}

/** The shape of what comes, so that nothing jumps when it is there. */
export function GridSkeleton(): ReactElement {
  return (
    <div role="status">
      <span className="visually-hidden">Loading books…</span>
      <ul className="grid" aria-hidden="true">
        {[...Array(PER_PAGE).keys()].map((index) => (
          <li key={index}>
            <div className="card skeleton">
              <div className="card-cover">
                <div className="cover" />
              </div>
              <p />
              <p />
              <p />
            </div>
          </li>
        ))}
      </ul>
    </div>
  );
}
