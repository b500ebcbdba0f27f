import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Panel, useTitle } from '../../components/states';
import { plural } from '../../lib/format';
import { awaited } from '../../lib/query';
import { BookGrid, GridSkeleton } from './book-grid';
import { searchQuery } from './queries';

export function SearchPage(): ReactElement {
  const { q = '', page = 1 } = useSearch({ from: '/search' });
  const asked = q.trim().slice(0, 100);
  useTitle(asked === '' ? 'Search' : `Search: ${asked}`);
  const list = useQuery(searchQuery(asked, page));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  if (asked === '') {
    return (
      <Panel title="What are you looking for?" level="h1" mark="?">
        <p>Type a title, an author, an ISBN or a genre into the search field above.</p>
      </Panel>
    );
  }
  return (
    <>
      <section className="hero" data-small="true">
        <h1>
          Results for “<bdi>{asked}</bdi>”
        </h1>
        <p role="status" data-testid="result-count">
          {data && !isPlaceholderData ? plural(data.total, 'result') : ' '}
        </p>
      </section>
      {waiting ? <GridSkeleton /> : null}
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {data && data.items.length > 0 ? <BookGrid books={data.items} busy={isPlaceholderData} /> : null}
      {data?.items.length === 0 && !waiting ? (
        <Panel title="Nothing found" mark="∅">
          <p>Try fewer or other words: part of a title, the author’s last name, or the ISBN without hyphens.</p>
          <p>
            <Link className="button" to="/">
              Browse the catalogue
            </Link>
          </p>
        </Panel>
      ) : null}
      {data ? <Pagination page={page} pages={data.pages} /> : null}
    </>
  );
}
