import { useRef, type ReactElement } from 'react';
import { skipped } from '../lib/cart/merge';
import { useStore } from '../lib/store';
import { useFocusHeir } from './focus';

/** Names the books that the last merge left out, until that is dismissed. */
export function Skipped(): ReactElement | null {
  const left = useStore(skipped);
  return left.length === 0 ? null : <Note left={left} />;
}

function Note({ left }: { left: { title: string; reason: string }[] }): ReactElement {
  const box = useRef<HTMLDivElement>(null);
  useFocusHeir(box);
  return (
    <div ref={box} className="note note-bad" role="status">
      <p>These books could not be moved into your cart:</p>
      <ul>
        {left.map((one) => (
          <li key={one.title}>
            <bdi>{one.title}</bdi>: <bdi>{one.reason}</bdi>
          </li>
        ))}
      </ul>
      <p>
        <button
          type="button"
          className="link-button"
          onClick={() => {
            skipped.set([]);
          }}
        >
          I have seen it
        </button>
      </p>
    </div>
  );
}
