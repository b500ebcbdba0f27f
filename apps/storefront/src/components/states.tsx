import { useEffect, type ReactElement, type ReactNode } from 'react';
import { describe, hasCode } from '../lib/api/errors';
import { bare } from '../lib/format';
import { SignInLink } from './sign-in-link';

/** Set the window's title while the page is shown. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === '' ? 'Marginalia: an online bookshop' : `${bare(title)} · Marginalia`;
  }, [title]);
}

/** What stands where something is awaited; with `level` it is all that the page has, and so its heading. */
export function Loading({ label = 'Loading', level }: { label?: string; level?: 'h1' }): ReactElement {
  const Words = level ?? 'span';
  return (
    <div className="loading" role="status">
      <span className="loading-dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      <Words className="visually-hidden">{label}…</Words>
    </div>
  );
}

export function Panel({
  title,
  children,
  level = 'h2',
  mark = '¶',
}: {
  title: string;
  children?: ReactNode;
  level?: 'h1' | 'h2';
  mark?: string;
}): ReactElement {
  const Heading = level;
  return (
    <section className="panel">
      <span className="panel-mark" aria-hidden="true">
        {mark}
      </span>
      <Heading>
        <bdi>{title}</bdi>
      </Heading>
      <div className="panel-body">{children}</div>
    </section>
  );
}

/** An error in place of what could not be shown, with a way on. */
export function ErrorPanel({
  error,
  onRetry,
  children,
  level,
}: {
  error: unknown;
  onRetry?: (() => void) | undefined;
  children?: ReactNode;
  level?: 'h1' | 'h2';
}): ReactElement {
  const { title, detail, again } = describe(error);
  return (
    <div role="alert">
      <Panel title={title} mark="!" {...(level ? { level } : {})}>
        <p>{detail}</p>
        <p className="row">
          {again && onRetry ? (
            <button type="button" className="button" onClick={onRetry}>
              Try again
            </button>
          ) : null}
          {hasCode(error, 'unauthenticated') ? (
            <SignInLink className="button">Go to the sign-in page</SignInLink>
          ) : null}
          {children}
        </p>
      </Panel>
    </div>
  );
}

/** An error beside the control that caused it. */
export function ErrorNote({ error }: { error: unknown }): ReactElement | null {
  if (error === null || error === undefined) return null;
  const { title, detail } = describe(error);
  return (
    <p className="note note-bad" role="alert">
      <strong>{title}.</strong> {detail}{' '}
      {hasCode(error, 'unauthenticated') ? <SignInLink>Go to the sign-in page</SignInLink> : null}
    </p>
  );
}
