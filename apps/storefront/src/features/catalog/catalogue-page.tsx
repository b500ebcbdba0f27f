import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Panel, useTitle } from '../../components/states';
import { bare, plural } from '../../lib/format';
import { awaited } from '../../lib/query';
import { BookGrid, GridSkeleton } from './book-grid';
import { booksQuery, genresQuery } from './queries';
import { SORTS, type Sort } from './sorts';

export function CataloguePage(): ReactElement {
  const { page = 1, sort, genre } = useSearch({ from: '/' });
  useTitle(genre ?? '');
  const list = useQuery(booksQuery({ page, sort, genre }));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  const plain = page === 1 && genre === undefined;
  return (
    <>
      <section className="hero" data-small={!plain}>
        <h1>{genre ?? 'Books with room to think'}</h1>
        {plain ? <p>Novels, ideas and old friends, chosen to be read with a pencil in hand.</p> : null}
      </section>
      <Tools genre={genre} sort={sort} count={isPlaceholderData ? undefined : data?.total} />
      {waiting ? <GridSkeleton /> : null}
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {data && data.items.length > 0 ? <BookGrid books={data.items} busy={isPlaceholderData} /> : null}
      {data?.items.length === 0 && !waiting ? (
        <Panel title="No books here">
          <p>{data.total > 0 ? 'This page is beyond the last one.' : 'No book matches this choice.'}</p>
          <p>
            <Link className="button" to="/" search={{}}>
              Show all books
            </Link>
          </p>
        </Panel>
      ) : null}
      {data ? <Pagination page={page} pages={data.pages} /> : null}
    </>
  );
}

function Tools({
  genre,
  sort,
  count,
}: {
  genre: string | undefined;
  sort: Sort | undefined;
  count: number | undefined;
}): ReactElement {
  const navigate = useNavigate({ from: '/' });
  const { data: genres } = useQuery(genresQuery);
  const listed = genres ?? [];
  return (
    <form
      className="tools"
      aria-label="Choose books"
      onSubmit={(event) => {
        event.preventDefault();
      }}
    >
      <label>
        Genre
        <select
          value={genre ?? ''}
          onChange={(event) => void navigate({ search: { sort, genre: event.target.value || undefined } })}
        >
          <option value="">All genres</option>
          {genre !== undefined && !listed.some((one) => one.genre === genre) ? (
            <option value={genre}>{bare(genre)}</option>
          ) : null}
          {listed.map((one) => (
            <option key={one.genre} value={one.genre}>{`${bare(one.genre)} (${String(one.count)})`}</option>
          ))}
        </select>
      </label>
      <label>
        Sort by
        <select
          value={sort ?? 'title'}
          onChange={(event) =>
            void navigate({
              search: { genre, sort: event.target.value === 'title' ? undefined : (event.target.value as Sort) },
            })
          }
        >
          {SORTS.map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <p className="tools-count" role="status">
        {count === undefined ? '' : plural(count, 'book')}
      </p>
    </form>
  );
}
