import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { DataTable, type Column } from '../../components/data-table';
import { Confirm } from '../../components/dialog';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { admin } from '../../lib/api/client';
import { bare, known, money, plural } from '../../lib/format';
import { notify } from '../../lib/notices';
import { awaited } from '../../lib/query';
import { Frame, SearchForm, Warnings } from './frame';
import { booksQuery, changed, type AdminBook } from './queries';
import { StockWord } from './stock-words';

async function withdraw(book: AdminBook): Promise<void> {
  await admin().DELETE('/admin/books/{book_id}', { params: { path: { book_id: book.id } } });
  notify(`“${bare(book.title)}” is no longer sold.`);
  await changed();
}

const COLUMNS: Column<AdminBook>[] = [
  {
    head: 'Title',
    cell: (book) => (
      <Link to="/admin/books/$id" params={{ id: book.id }}>
        <bdi>{book.title}</bdi>
      </Link>
    ),
  },
  { head: 'Author', wide: true, cell: (book) => <bdi>{book.author}</bdi> },
  { head: 'ISBN', wide: true, cell: (book) => known(book.isbn) },
  { head: 'Price', number: true, cell: (book) => money(book.price) },
  { head: 'Stock', cell: (book) => <StockWord status={book.stock_status} /> },
  { head: 'Available', number: true, cell: (book) => known(book.available) },
  { head: 'State', cell: (book) => (book.active ? 'On sale' : 'Inactive') },
  { head: 'Actions', cell: (book) => (book.active ? <Withdraw book={book} /> : null) },
];

function Withdraw({ book }: { book: AdminBook }): ReactElement {
  const name = bare(book.title);
  return (
    <Confirm
      title={`Stop selling “${name}”?`}
      action="Delete"
      label={`Delete ${name}`}
      className="button button-warn button-small"
      onConfirm={() => withdraw(book)}
    >
      <p>Shoppers will no longer find it. It stays in past orders, and you can put it on sale again.</p>
    </Confirm>
  );
}

export function BooksPage(): ReactElement {
  const asked = useSearch({ from: '/admin/books' });
  const navigate = useNavigate({ from: '/admin/books' });
  const list = useQuery(booksQuery(asked));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  return (
    <Frame
      title="Books"
      end={
        <Link className="button" to="/admin/books/new">
          Add a book
        </Link>
      }
    >
      <SearchForm
        key={asked.q ?? ''}
        label="Search books"
        value={asked.q}
        onSearch={(q) => void navigate({ search: { q, active: asked.active } })}
      >
        <label>
          Show
          <select
            value={asked.active ?? ''}
            onChange={(event) =>
              void navigate({
                search: { q: asked.q, active: (event.target.value || undefined) as 'true' | 'false' | undefined },
              })
            }
          >
            <option value="">All books</option>
            <option value="true">On sale</option>
            <option value="false">Inactive</option>
          </select>
        </label>
        <p className="tools-count" role="status">
          {data && !isPlaceholderData ? plural(data.total, 'book') : ''}
        </p>
      </SearchForm>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {waiting ? <Loading /> : null}
      <Warnings notes={data?.warnings} />
      {data?.items.length === 0 && !waiting ? (
        <Panel title="No books match">
          <p>Try other words, or show all books.</p>
        </Panel>
      ) : null}
      {data && data.items.length > 0 ? (
        <DataTable label="Books" columns={COLUMNS} rows={data.items} keyOf={(book) => book.id} testId="admin-book" />
      ) : null}
      {data ? <Pagination page={asked.page ?? 1} pages={data.pages} /> : null}
    </Frame>
  );
}
