import { useNavigate } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { admin, body } from '../../lib/api/client';
import { useDraft } from '../../lib/drafts';
import { bare } from '../../lib/format';
import { notify } from '../../lib/notices';
import { BookFields } from './book-form';
import { EMPTY, toBody, type BookForm } from './book-schema';
import { Frame } from './frame';
import { changed } from './queries';

export function NewBookPage(): ReactElement {
  const navigate = useNavigate();
  const save = async (form: BookForm) => {
    const made = await body(
      admin().POST('/admin/books', { body: { ...toBody(form), initial_quantity: Number(form.initial_quantity) } }),
    );
    if (made.stock_status === 'pending')
      notify(`“${bare(made.title)}” is added, but its stock could not be set yet. Set it under Stock.`, 'bad');
    else notify(`“${bare(made.title)}” is added.`);
    await changed();
    await navigate({ to: '/admin/books/$id', params: { id: made.id } });
  };
  return (
    <Frame title="Add a book">
      <BookFields draft="book" start={useDraft('book', EMPTY)} save={save} />
    </Frame>
  );
}
