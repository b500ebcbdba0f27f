import { zodResolver } from '@hookform/resolvers/zod';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState, type ReactElement, type ReactNode } from 'react';
import { useForm, useWatch } from 'react-hook-form';
import { Dialog } from '../../components/dialog';
import { Cover } from '../../components/cover';
import { Field, TextArea } from '../../components/field';
import { ErrorNote, ErrorPanel, Loading, Panel } from '../../components/states';
import { admin, body, type AdminSchemas } from '../../lib/api/client';
import { hasCode, isMissing } from '../../lib/api/errors';
import { tieToFields } from '../../lib/form-errors';
import { notify } from '../../lib/notices';
import { queryClient } from '../../lib/query';
import { bookSchema, EMPTY, FIELDS, toBody, toForm, type BookForm } from './book-schema';
import { Frame, Warnings } from './frame';
import { bookQuery, changed } from './queries';
import { StockWord } from './stock-words';

interface FormProps {
  start: BookForm;
  isNew: boolean;
  save: (form: BookForm) => Promise<void>;
  side?: ReactNode;
}

function BookFields({ start, isNew, save, side }: FormProps): ReactElement {
  const [failure, setFailure] = useState<unknown>(null);
  const form = useForm<BookForm>({ resolver: zodResolver(bookSchema), defaultValues: start, mode: 'onTouched' });
  const { errors, isSubmitting } = form.formState;
  const submit = form.handleSubmit(async (values) => {
    setFailure(null);
    try {
      await save(values);
    } catch (error) {
      if (hasCode(error, 'isbn_exists')) form.setError('isbn', { type: 'server', message: 'Another book has this ISBN.' }, { shouldFocus: true });
      else setFailure(tieToFields(error, FIELDS, form.setError));
    }
  });
  const bind = (name: (typeof FIELDS)[number]) => ({ ...form.register(name), error: errors[name]?.message });
  const [title, author] = useWatch({ control: form.control, name: ['title', 'author'] });
  return (
    <div className="split">
      <form className="form" noValidate aria-label="Book" onSubmit={(event) => void submit(event)}>
        <Field label="Title" maxLength={255} {...bind('title')} />
        <Field label="Author" maxLength={255} {...bind('author')} />
        <div className="fields">
          <Field label="Price in US dollars" inputMode="decimal" {...bind('price')} />
          <Field label="Year of publication" optional inputMode="numeric" {...bind('published_year')} />
        </div>
        <div className="fields">
          <Field label="ISBN-13" optional inputMode="numeric" {...bind('isbn')} />
          <Field label="Genre" optional maxLength={100} {...bind('genre')} />
        </div>
        <TextArea label="Description" optional maxLength={10_000} {...bind('description')} />
        <Field label="Cover picture" optional hint="Address of a picture. Without one a cover is drawn." {...bind('cover_url')} />
        {isNew ? <Field label="Copies on the shelf" inputMode="numeric" {...bind('initial_quantity')} /> : (
          <label className="check"><input type="checkbox" {...form.register('active')} /> On sale</label>
        )}
        <ErrorNote error={failure} />
        <div className="row">
          <button type="submit" className="button" disabled={isSubmitting}>{isSubmitting ? 'Saving…' : isNew ? 'Add the book' : 'Save changes'}</button>
          <Link className="button button-quiet" to="/admin/books">Back to the list</Link>
        </div>
      </form>
      <aside className="summary preview">
        <h2>Preview</h2>
        <Cover title={title || 'Untitled'} author={author} />
        {side}
      </aside>
    </div>
  );
}

export function NewBookPage(): ReactElement {
  const navigate = useNavigate();
  const save = async (form: BookForm) => {
    const made = await body(admin().POST('/admin/books', { body: { ...toBody(form), initial_quantity: Number(form.initial_quantity) } }));
    if (made.stock_status === 'pending') notify(`“${made.title}” is added, but its stock could not be set yet. Set it under Stock.`, 'bad');
    else notify(`“${made.title}” is added.`);
    await changed();
    await navigate({ to: '/admin/books/$id', params: { id: made.id } });
  };
  return <Frame title="Add a book"><BookFields start={EMPTY} isNew save={save} /></Frame>;
}

export function EditBookPage(): ReactElement {
  const { id } = useParams({ from: '/admin/books/$id' });
  const { data, error, refetch } = useQuery(bookQuery(id));
  if (isMissing(error)) {
    return <Frame title="Book not found"><Panel title="There is no such book"><p><Link className="button" to="/admin/books">All books</Link></p></Panel></Frame>;
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
  const [stale, setStale] = useState(false);
  const save = async (form: BookForm) => {
    try {
      const saved = await body(
        admin().PUT('/admin/books/{book_id}', {
          params: { path: { book_id: book.id }, header: { 'If-Match': `"${String(book.version)}"` } },
          body: { ...toBody(form), active: form.active },
        }),
      );
      notify(`“${saved.title}” is saved.`);
      await changed();
    } catch (error) {
      if (!hasCode(error, 'stale_version')) throw error;
      setStale(true);
    }
  };
  const reload = () => {
    setStale(false);
    void queryClient.resetQueries({ queryKey: ['admin', 'book', book.id] });
  };
  return (
    <>
      <Warnings notes={book.warnings} />
      <BookFields
        start={toForm(book)}
        isNew={false}
        save={save}
        side={<p className="hint"><StockWord status={book.stock_status} /> {book.available ?? '–'} available · version {book.version}</p>}
      />
      <Dialog title="Changed meanwhile" role="alertdialog" open={stale} onClose={() => { setStale(false); }}>
        <p>Someone else saved this book after you opened it. Your changes were not saved, so theirs are not lost.</p>
        <div className="row row-end">
          <button type="button" className="button button-quiet" onClick={() => { setStale(false); }}>Keep what I typed</button>
          <button type="button" className="button" onClick={reload}>Load the latest version</button>
        </div>
      </Dialog>
    </>
  );
}
