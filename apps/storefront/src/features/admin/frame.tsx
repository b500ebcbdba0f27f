import { Link } from '@tanstack/react-router';
import { useState, type ReactElement, type ReactNode, type SubmitEvent } from 'react';
import { useTitle } from '../../components/states';
import { bare } from '../../lib/format';

const PLACES = [
  ['/admin', 'Overview'],
  ['/admin/books', 'Books'],
  ['/admin/stock', 'Stock'],
  ['/admin/low-stock', 'Low stock'],
  ['/admin/orders', 'Orders'],
] as const;

export function Frame({ title, children, end }: { title: string; children: ReactNode; end?: ReactNode }): ReactElement {
  useTitle(`${bare(title)}, admin`);
  return (
    <div className="admin">
      <nav className="admin-nav" aria-label="Admin">
        <ul>{PLACES.map(([to, words]) => <li key={to}><Link to={to} activeOptions={{ exact: to === '/admin', includeSearch: false }}>{words}</Link></li>)}</ul>
      </nav>
      <div className="title-row"><h1><bdi>{title}</bdi></h1>{end}</div>
      {children}
    </div>
  );
}

/** Parts of an answer that another service could not give. */
export function Warnings({ notes }: { notes: { part: string; detail: string }[] | undefined }): ReactElement | null {
  if (!notes || notes.length === 0) return null;
  return <div className="note note-bad" role="status">{notes.map((one) => <p key={one.part}>{one.detail}</p>)}</div>;
}

export function SearchForm({ label, value, onSearch, children }: { label: string; value: string | undefined; onSearch: (q: string | undefined) => void; children?: ReactNode }): ReactElement {
  const [text, setText] = useState(value ?? '');
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onSearch(text.trim() || undefined);
  };
  return (
    <form className="tools" onSubmit={submit} aria-label={label}>
      <label>{label}<input type="search" value={text} maxLength={100} onChange={(event) => { setText(event.target.value); }} /></label>
      <button type="submit" className="button button-quiet">Search</button>
      {children}
    </form>
  );
}

export function Table({ label, heads, children }: { label: string; heads: (string | [string, 'number'])[]; children: ReactNode }): ReactElement {
  return (
    <div className="table-box" role="region" aria-label={label} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>{heads.map((head) => (typeof head === 'string' ? <th key={head} scope="col">{head}</th> : <th key={head[0]} scope="col" className="number">{head[0]}</th>))}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
