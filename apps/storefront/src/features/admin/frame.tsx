import { Link } from '@tanstack/react-router';
import { useState, type ReactElement, type ReactNode, type SubmitEvent } from 'react';
import { useTitle } from '../../components/states';
import { bare } from '../../lib/format';

const LINKS = [
  ['/admin', 'Overview'],
  ['/admin/books', 'Books'],
  ['/admin/stock', 'Stock'],
  ['/admin/low-stock', 'Low stock'],
  ['/admin/orders', 'Orders'],
] as const;

interface FrameProps {
  /** Names the window, and the page if it has no `heading`. */
  title: string;
  heading?: ReactNode;
  children: ReactNode;
  /** Stands beside the heading. */
  end?: ReactNode;
}

export function Frame({ title, heading, children, end }: FrameProps): ReactElement {
  useTitle(`${bare(title)}, admin`);
  return (
    <div className="admin">
      <nav className="admin-nav" aria-label="Admin">
        <ul>
          {LINKS.map(([to, words]) => (
            <li key={to}>
              <Link to={to} activeOptions={{ exact: to === '/admin', includeSearch: false }}>
                {words}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <div className="title-row">
        <h1>{heading ?? <bdi>{title}</bdi>}</h1>
        {end}
      </div>
      {children}
    </div>
  );
}

/** Parts of an answer that another service could not give. */
export function Warnings({ notes }: { notes: { part: string; detail: string }[] | undefined }): ReactElement | null {
  if (!notes || notes.length === 0) return null;
  return (
    <div className="note note-bad" role="status">
      {notes.map((one) => (
        <p key={one.part}>{one.detail}</p>
      ))}
    </div>
  );
}

export function SearchForm({
  label,
  value,
  onSearch,
  children,
}: {
  label: string;
  value: string | undefined;
  onSearch: (q: string | undefined) => void;
  children?: ReactNode;
}): ReactElement {
  const [text, setText] = useState(value ?? '');
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onSearch(text.trim() || undefined);
  };
  return (
    <form className="tools" onSubmit={submit} aria-label={label}>
      <label>
        {label}
        <input
          type="search"
          value={text}
          maxLength={100}
          onChange={(event) => {
            setText(event.target.value);
          }}
        />
      </label>
      <button type="submit" className="button button-quiet">
        Search
      </button>
      {children}
    </form>
  );
}
