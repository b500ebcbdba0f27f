import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { admin, body, type AdminSchemas } from '../../lib/api/client';
import { isMissing } from '../../lib/api/errors';
import { useDraft } from '../../lib/drafts';
import { bare, known } from '../../lib/format';
import { notify } from '../../lib/notices';
import { queryClient } from '../../lib/query';
import { BookFields } from './book-form';
import { toBody, toForm, type BookForm } from './book-schema';
import { Frame, Warnings } from './frame';
import { bookQuery, changed } from './queries';
import { StockWord } from './stock-words';

export function EditBookPage(): ReactElement {
  const { id } = useParams({ from: '/admin/books/$id' });
  const { data, error, refetch } = useQuery(bookQuery(id));
  if (isMissing(error)) {
    return (
      <Frame title="Book not found">
        <Panel title="There is no such book">
          <p>
            <Link className="button" to="/admin/books">
              All books
            </Link>
          </p>
        </Panel>
      </Frame>
    );
  }
  return (
    <Frame title={data?.title ?? 'Book'}>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {!data && !error ? <Loading /> : null}
      {data ? <EditBook key={`${data.id}/${String(data.version)}`} book={data} /> : null}
    </Frame>
  );
}

function EditBook({ book }: { book: AdminSchemas['BookWithWarnings'] }): ReactElement {
  const draft = `book/${book.id}`;
  // What comes back from the sign-in is of the version that it was typed over: somebody may have saved another one since.
  const { version, ...start } = useDraft(draft, { ...toForm(book), version: book.version });
  const save = async (form: BookForm, over: number) => {
    const saved = await body(
      admin().PUT('/admin/books/{book_id}', {
        params: { path: { book_id: book.id }, header: { 'If-Match': `"${String(over)}"` } },
        body: { ...toBody(form), active: form.active },
      }),
    );
    notify(`“${bare(saved.title)}” is saved.`);
    await changed();
  };
  return (
    <>
      <Warnings notes={book.warnings} />
      <BookFields
        draft={draft}
        start={start}
        version={version}
        save={save}
        latest={() => body(admin().GET('/admin/books/{book_id}', { params: { path: { book_id: book.id } } }))}
        onReload={() => void queryClient.resetQueries({ queryKey: ['admin', 'book', book.id] })}
        side={
          <p className="hint">
            <StockWord status={book.stock_status} /> {known(book.available)} available · version {book.version}
          </p>
        }
      />
    </>
  );
}
