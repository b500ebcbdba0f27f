import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Confirm } from '../../components/dialog';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { admin } from '../../lib/api/client';
import { bare, money, plural } from '../../lib/format';
import { notify } from '../../lib/notices';
import { awaited } from '../../lib/query';
import { Frame, SearchForm, Table, Warnings } from './frame';
import { booksQuery, changed, type AdminBook } from './queries';
import { StockWord } from './stock-words';

async function withdraw(book: AdminBook): Promise<void> {
  await admin().DELETE('/admin/books/{book_id}', { params: { path: { book_id: book.id } } });
  notify(`“${bare(book.title)}” is no longer sold.`);
  await changed();
}

export function BooksPage(): ReactElement {
  const asked = useSearch({ from: '/admin/books' });
  const navigate = useNavigate({ from: '/admin/books' });
  const list = useQuery(booksQuery(asked));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  return (
    <Frame title="Books" end={<Link className="button" to="/admin/books/new">Add a book</Link>}>
      <SearchForm key={asked.q ?? ''} label="Search books" value={asked.q} onSearch={(q) => void navigate({ search: { q, active: asked.active } })}>
        <label>
          Show
          <select value={asked.active ?? ''} onChange={(event) => void navigate({ search: { q: asked.q, active: (event.target.value || undefined) as 'true' | 'false' | undefined } })}>
            <option value="">All books</option>
            <option value="true">On sale</option>
            <option value="false">Inactive</option>
          </select>
        </label>
        <p className="tools-count" role="status">{data && !isPlaceholderData ? plural(data.total, 'book') : ''}</p>
      </SearchForm>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {waiting ? <Loading /> : null}
      <Warnings notes={data?.warnings} />
      {data?.items.length === 0 && !waiting ? <Panel title="No books match"><p>Try other words, or show all books.</p></Panel> : null}
      {data && data.items.length > 0 ? (
        <Table label="Books" heads={['Title', 'Author', 'ISBN', ['Price', 'number'], 'Stock', ['Available', 'number'], 'State', 'Actions']}>
          {data.items.map((book) => (
            <tr key={book.id} data-testid="admin-book">
              <th scope="row"><Link to="/admin/books/$id" params={{ id: book.id }}><bdi>{book.title}</bdi></Link></th>
              <td><bdi>{book.author}</bdi></td>
              <td>{book.isbn ?? '–'}</td>
              <td className="number">{money(book.price)}</td>
              <td><StockWord status={book.stock_status} /></td>
              <td className="number">{book.available ?? '–'}</td>
              <td>{book.active ? 'On sale' : 'Inactive'}</td>
              <td>
                {book.active ? (
                  <Confirm title={`Stop selling “${bare(book.title)}”?`} action="Delete" label={`Delete ${bare(book.title)}`} className="link-button" onConfirm={() => withdraw(book)}>
                    <p>Shoppers will no longer find it. It stays in past orders, and you can put it on sale again.</p>
                  </Confirm>
                ) : null}
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
      {data ? <Pagination page={asked.page ?? 1} pages={data.pages} /> : null}
    </Frame>
  );
}
