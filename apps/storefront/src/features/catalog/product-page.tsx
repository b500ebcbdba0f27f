import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState, type ReactElement } from 'react';
import { AddToCart } from '../../components/add-to-cart';
import { Cover } from '../../components/cover';
import { Quantity } from '../../components/quantity';
import { ErrorPanel, Loading, Panel, useTitle } from '../../components/states';
import { StockBadge } from '../../components/stock-badge';
import type { Book } from '../../lib/api/client';
import { isMissing } from '../../lib/api/errors';
import { bookQuery, soldOut, useStock } from '../../lib/books';
import { money } from '../../lib/format';
import { MoreBooks } from './more-books';

export function ProductPage(): ReactElement {
  const { id } = useParams({ from: '/books/$id' });
  const { data, error, refetch } = useQuery(bookQuery(id));
  useTitle(data?.title ?? (isMissing(error) ? 'Book not found' : 'Book'));
  if (isMissing(error)) {
    return (
      <Panel title="Book not found" level="h1" mark="404">
        <p>We do not sell this book, or no longer.</p>
        <p>
          <Link className="button" to="/">
            Browse the catalogue
          </Link>
        </p>
      </Panel>
    );
  }
  // As tall as the screen, whatever comes: so the footer, which stands below, does not move when it has come.
  if (data) {
    return (
      <div className="tall">
        <Product key={data.id} book={data} />
        <MoreBooks book={data} />
      </div>
    );
  }
  if (error) return <ErrorPanel error={error} level="h1" onRetry={() => void refetch()} />;
  return (
    <div className="tall">
      <Loading level="h1" label="Loading the book" />
    </div>
  );
}

function Product({ book }: { book: Book }): ReactElement {
  const [quantity, setQuantity] = useState(1);
  const [valid, setValid] = useState(true);
  const stock = useStock([book.id])(book.id);
  const none = soldOut(stock);
  return (
    <article className="product">
      <div className="product-cover">
        <Cover title={book.title} author={book.author} url={book.cover_url} eager />
      </div>
      <div className="product-text">
        {book.genre ? (
          <p className="kicker">
            <Link to="/" search={{ genre: book.genre }}>
              <bdi>{book.genre}</bdi>
            </Link>
          </p>
        ) : null}
        <h1>
          <bdi>{book.title}</bdi>
        </h1>
        <p className="byline">
          by <bdi>{book.author}</bdi>
        </p>
        <p className="product-price">
          <span className="price">{money(book.price)}</span> <StockBadge info={stock} exact />
        </p>
        {stock.state === 'unknown' ? (
          <p className="hint">Stock cannot be checked just now. You can still put the book into your cart.</p>
        ) : null}
        <div className="buy">
          <Quantity label="Copies" value={quantity} onChange={setQuantity} onValid={setValid} disabled={none} />
          <AddToCart
            bookId={book.id}
            title={book.title}
            quantity={quantity}
            soldOut={none}
            blocked={!valid}
            className="button button-large"
          />
        </div>
        {stock.available !== undefined && quantity > stock.available && !none ? (
          <p className="note" role="status">
            Only {stock.available} of them can be delivered now.
          </p>
        ) : null}
        {book.description ? (
          <p className="description">
            <bdi>{book.description}</bdi>
          </p>
        ) : null}
        <dl className="facts">
          <Fact name="Author" value={book.author} />
          <Fact name="Genre" value={book.genre} />
          <Fact name="Published" value={book.published_year === null ? null : String(book.published_year)} />
          <Fact name="ISBN" value={book.isbn} />
        </dl>
      </div>
    </article>
  );
}

function Fact({ name, value }: { name: string; value: string | null }): ReactElement {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <bdi>{value ?? 'not given'}</bdi>
      </dd>
    </div>
  );
}
