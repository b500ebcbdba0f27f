import { zodResolver } from '@hookform/resolvers/zod';
import { Link } from '@tanstack/react-router';
import { useState, type ReactElement, type ReactNode } from 'react';
import { useForm, useWatch } from 'react-hook-form';
import { Button } from '../../components/button';
import { Cover } from '../../components/cover';
import { Field, TextArea } from '../../components/field';
import { ErrorNote } from '../../components/states';
import { hasCode } from '../../lib/api/errors';
import { config } from '../../lib/config';
import { isPictured } from '../../lib/cover-art';
import { useKeptOnLeaving } from '../../lib/drafts';
import { tieToFields } from '../../lib/form-errors';
import { Conflict } from './book-conflict';
import { bookSchema, FIELDS, type BookForm } from './book-schema';
import type { AdminBook } from './queries';

interface FormProps {
  /** Under which what is typed is kept when the session ends. */
  draft: string;
  start: BookForm;
  /** The version that `start` was, of a book that exists. */
  version?: number;
  /** `version`: the one that may be overwritten. */
  save: (form: BookForm, version: number) => Promise<void>;
  /** The book as it stands by now. */
  latest?: () => Promise<AdminBook>;
  onReload?: () => void;
  side?: ReactNode;
}

/** What the shop will make of an address. */
function coverHint(address: string): string {
  const prefixes = config().coverPrefixes.join(' or ');
  if (prefixes === '')
    return address === ''
      ? 'This shop draws all covers from title and author.'
      : 'This shop draws all covers: the address is kept, but no picture is shown.';
  if (address === '' || isPictured(address))
    return `Address of a picture, beginning with ${prefixes}. Without one a cover is drawn.`;
  return `No picture is shown from this address: it does not begin with ${prefixes}. The cover is drawn.`;
}

export function BookFields({ draft, start, version = 0, save, latest, onReload, side }: FormProps): ReactElement {
  const [failure, setFailure] = useState<unknown>(null);
  const [theirs, setTheirs] = useState<AdminBook | null>(null);
  const form = useForm<BookForm>({ resolver: zodResolver(bookSchema), defaultValues: start, mode: 'onTouched' });
  const { errors, isSubmitting } = form.formState;
  useKeptOnLeaving(draft, () => ({ ...form.getValues(), version }));
  const fail = async (error: unknown): Promise<void> => {
    if (hasCode(error, 'stale_version') && latest) {
      await latest().then(setTheirs, setFailure);
      return;
    }
    setTheirs(null);
    if (hasCode(error, 'isbn_exists'))
      form.setError('isbn', { type: 'server', message: 'Another book has this ISBN.' }, { shouldFocus: true });
    else setFailure(tieToFields(error, FIELDS, form.setError));
  };
  const submit = (over: number) =>
    form.handleSubmit(async (values) => {
      setFailure(null);
      await save(values, over).then(() => {
        setTheirs(null);
      }, fail);
    })();
  const bind = (name: (typeof FIELDS)[number]) => ({ ...form.register(name), error: errors[name]?.message });
  const [title, author, picture] = useWatch({ control: form.control, name: ['title', 'author', 'cover_url'] });
  const isNew = latest === undefined;
  return (
    <div className="split">
      <form
        className="form"
        noValidate
        aria-label="Book"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(version);
        }}
      >
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
        <Field label="Cover picture" optional hint={coverHint(picture.trim())} {...bind('cover_url')} />
        {isNew ? (
          <Field label="Copies on the shelf" inputMode="numeric" {...bind('initial_quantity')} />
        ) : (
          <label className="check">
            <input type="checkbox" {...form.register('active')} /> On sale
          </label>
        )}
        <ErrorNote error={failure} />
        <div className="row">
          <Button type="submit" off={isSubmitting}>
            {isSubmitting ? 'Saving…' : isNew ? 'Add the book' : 'Save changes'}
          </Button>
          <Link className="button button-quiet" to="/admin/books">
            Back to the list
          </Link>
        </div>
      </form>
      <aside className="summary preview">
        <h2>Preview</h2>
        <Cover key={picture} title={title || 'Untitled'} author={author} url={picture.trim()} />
        {side}
      </aside>
      <Conflict
        mine={form.getValues()}
        theirs={theirs}
        busy={isSubmitting}
        onClose={() => {
          setTheirs(null);
        }}
        onReload={() => onReload?.()}
        onOver={(over) => void submit(over)}
      />
    </div>
  );
}
