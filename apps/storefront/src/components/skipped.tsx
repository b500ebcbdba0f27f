import type { ReactElement } from 'react';
import { skipped } from '../lib/cart/merge';
import { useStore } from '../lib/store';

/** Names the books that the last merge left out, until that is dismissed. */
export function Skipped(): ReactElement | null {
  const left = useStore(skipped);
  if (left.length === 0) return null;
  return (
    <div className="note note-bad" role="status">
      <p>These books could not be moved into your cart:</p>
      <ul>{left.map((one) => <li key={one.title}>{one.title}: {one.reason}</li>)}</ul>
      <p><button type="button" className="link-button" onClick={() => { skipped.set([]); }}>I have seen it</button></p>
    </div>
  );
}
