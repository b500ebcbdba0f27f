import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useId, type ReactElement, type ReactNode } from 'react';
import { Cover } from '../../components/cover';
import type { Book } from '../../lib/api/client';
import { money } from '../../lib/format';
import { byAuthorQuery, inGenreQuery, MORE } from './queries';

/** What else there is by the author of a book, and in its genre. Nothing stands where nothing is found, or nobody answers. */
export function MoreBooks({ book }: { book: Book }): ReactElement {
  const author = useQuery(byAuthorQuery(book));
  const genre = useQuery(inGenreQuery(book));
  if (author.isLoading || genre.isLoading) return <Room />;
  return (
    <>
      <Shelf
        heading={
          <>
            More by <bdi>{book.author}</bdi>
          </>
        }
        books={author.data}
      />
      <Shelf
        heading={
          <>
            More in <bdi>{book.genre}</bdi>
          </>
        }
        books={genre.data}
      />
    </>
  );
}

function Shelf({ heading, books = [] }: { heading: ReactNode; books?: Book[] | undefined }): ReactElement | null {
  const id = useId();
  if (books.length === 0) return null;
  return (
    <section className="more" aria-labelledby={id}>
      <h2 id={id}>{heading}</h2>
      <ul className="more-books">
        {books.map((book) => (
          <li key={book.id}>
            <Link to="/books/$id" params={{ id: book.id }} className="card-cover" tabIndex={-1} aria-hidden="true">
              <Cover title={book.title} author={book.author} url={book.cover_url} />
            </Link>
            <h3 className="card-title">
              <Link to="/books/$id" params={{ id: book.id }}>
                <bdi>{book.title}</bdi>
              </Link>
            </h3>
            <p className="card-author">
              <bdi>{book.author}</bdi>
            </p>
            <p className="price">{money(book.price)}</p>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Room for what is most likely to come, so that the page does not grow under the eyes. */
const Room = (): ReactElement => (
  <div className="more" aria-hidden="true">
    <ul className="more-books skeleton">
      {[...Array(MORE).keys()].map((place) => (
        <li key={place}>
          <div className="card-cover">
            <div className="cover" />
          </div>
          <p />
          <p />
        </li>
      ))}
    </ul>
  </div>
);
