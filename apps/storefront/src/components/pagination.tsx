import { Link } from '@tanstack/react-router';
import { useRef, type ReactElement } from 'react';
import { useFocusHeir } from './focus';

/** Links to the pages of a list; the page is part of the address. */
export function Pagination({ page, pages }: { page: number; pages: number }): ReactElement | null {
  if (pages <= 1) return null;
  const near = [...Array(pages).keys()]
    .map((index) => index + 1)
    .filter((one) => one === 1 || one === pages || Math.abs(one - page) <= 1);
  return (
    <nav className="pagination" aria-label="Pages">
      <Step to={page - 1} pages={pages} label="Previous" />
      <ol>
        {near.map((one, index) => (
          <li key={one}>
            {index > 0 && one - (near[index - 1] ?? one) > 1 ? (
              <span className="gap" aria-hidden="true">
                …
              </span>
            ) : null}
            <Link
              to="."
              search={(old: object) => ({ ...old, page: one === 1 ? undefined : one })}
              aria-label={`Page ${String(one)}`}
              aria-current={one === page ? 'page' : undefined}
            >
              {one}
            </Link>
          </li>
        ))}
      </ol>
      <Step to={page + 1} pages={pages} label="Next" />
    </nav>
  );
}

function Step({ to, pages, label }: { to: number; pages: number; label: string }): ReactElement {
  if (to < 1 || to > pages)
    return (
      <span className="step" aria-disabled="true">
        {label}
      </span>
    );
  return <StepLink to={to} label={label} />;
}

function StepLink({ to, label }: { to: number; label: string }): ReactElement {
  const link = useRef<HTMLAnchorElement>(null);
  // On the last page it goes away under the finger.
  useFocusHeir(link);
  return (
    <Link ref={link} className="step" to="." search={(old: object) => ({ ...old, page: to === 1 ? undefined : to })}>
      {label}
    </Link>
  );
}
