import { useEffect, useState } from 'react';
import { session } from './auth/session';

/**
 * What was typed into forms, kept over the way to the sign-in page and back when a session has ended. It is stored on that click
 * only, and removed when somebody is signed in again; only the person whose session it was gets it back.
 */
const KEY = 'bookstore_drafts';

type Values = Record<string, string | number | boolean>;

const open = new Map<string, () => Values>();
const returned = new Map<string, unknown>();

/** Keep what stands in the forms that are open, for whose session has just ended. */
export function keepDrafts(): void {
  const now = session.get();
  if (now.status !== 'guest' || now.ended === undefined || open.size === 0) return;
  try {
    sessionStorage.setItem(
      KEY,
      JSON.stringify({ sub: now.ended, forms: [...open].map(([name, values]) => [name, values()]) }),
    );
  } catch {
    // Storage may be forbidden: it is typed once more then.
  }
}

export function dropDrafts(): void {
  returned.clear();
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

/** Somebody is signed in: take what was kept out of the storage. */
export function claimDrafts(): void {
  const now = session.get();
  if (now.status !== 'signed-in') return;
  try {
    const { sub, forms } = JSON.parse(sessionStorage.getItem(KEY) ?? '{}') as { sub?: unknown; forms?: unknown };
    if (sub === undefined) return;
    dropDrafts();
    if (sub === now.sub && Array.isArray(forms))
      for (const [name, values] of forms as [string, unknown][]) returned.set(name, values);
  } catch {
    dropDrafts();
  }
}

/** The members that `usual` has, of the same kinds; whatever else stood in the storage is not believed. */
function like<T extends Values>(usual: T, found: unknown): T {
  const kept = Object.entries(found ?? {}).filter(([key, value]) => typeof value === typeof usual[key]);
  return { ...usual, ...Object.fromEntries(kept) };
}

/** The values to begin a form with: `usual`, or over it what was kept under this name, once. */
export function useDraft<T extends Values>(name: string, usual: T): T {
  const [start] = useState(() => like(usual, returned.get(name)));
  useEffect(() => {
    returned.delete(name);
  }, [name]);
  return start;
}

/** While the form is open, keepDrafts() asks it for its values. */
export function useKeptOnLeaving(name: string, values: () => Values): void {
  useEffect(() => {
    open.set(name, values);
    return () => {
      open.delete(name);
    };
  });
}
