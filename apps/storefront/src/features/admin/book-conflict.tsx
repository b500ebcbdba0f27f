import type { ReactElement } from 'react';
import { Button } from '../../components/button';
import { Dialog } from '../../components/dialog';
import { amount, known } from '../../lib/format';
import { FIELDS, toBody, toForm, type BookForm } from './book-schema';
import type { AdminBook } from './queries';

const LABELS: Record<(typeof FIELDS)[number], string> = {
  title: 'Title',
  author: 'Author',
  isbn: 'ISBN-13',
  genre: 'Genre',
  description: 'Description',
  cover_url: 'Cover picture',
  price: 'Price',
  published_year: 'Year',
  initial_quantity: '',
  active: 'On sale',
};

const words = (value: string | number | boolean | null): string =>
  typeof value === 'boolean' ? (value ? 'yes' : 'no') : known(value);

/** Fields that would be stored differently: their label, what is typed, and what is stored by now. */
export function differences(mine: BookForm, theirs: BookForm): [label: string, mine: string, theirs: string][] {
  const stored = (form: BookForm) => ({ ...toBody(form), price: amount(form.price), active: form.active });
  const [typed, found] = [stored(mine), stored(theirs)];
  return (Object.keys(typed) as (keyof typeof typed)[])
    .filter((name) => typed[name] !== found[name])
    .map((name) => [LABELS[name], words(typed[name]), words(found[name])]);
}

interface Props {
  mine: BookForm;
  /** The book as somebody else saved it meanwhile, if somebody did. */
  theirs: AdminBook | null;
  busy: boolean;
  onClose: () => void;
  onReload: () => void;
  /** Save what is typed over this version. */
  onOver: (version: number) => void;
}

/** Someone else saved the book first: what differs, and the ways on. */
export function Conflict({ mine, theirs, busy, onClose, onReload, onOver }: Props): ReactElement {
  const rows = theirs ? differences(mine, toForm(theirs)) : [];
  return (
    <Dialog title="Changed meanwhile" role="alertdialog" open={theirs !== null} onClose={onClose}>
      <p>Someone else saved this book after you opened it. Your changes were not saved, so theirs are not lost.</p>
      {rows.length === 0 ? (
        <p>What they saved is what you typed.</p>
      ) : (
        <div className="table-box" role="region" aria-label="Differences" tabIndex={0}>
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Field</th>
                <th scope="col">Yours</th>
                <th scope="col">Theirs</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(([label, yours, found]) => (
                <tr key={label}>
                  <th scope="row">{label}</th>
                  <td className="long">
                    <bdi>{yours}</bdi>
                  </td>
                  <td className="long">
                    <bdi>{found}</bdi>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div className="row row-end">
        <button type="button" className="button button-quiet" onClick={onClose}>
          Keep typing
        </button>
        {rows.length > 0 ? (
          <Button
            className="button button-quiet"
            off={busy}
            onClick={() => {
              if (theirs) onOver(theirs.version);
            }}
          >
            Save mine over it
          </Button>
        ) : null}
        <button type="button" className="button" onClick={onReload}>
          Load the latest version
        </button>
      </div>
    </Dialog>
  );
}
