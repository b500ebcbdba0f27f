import { act, renderHook } from '@testing-library/react';
import { beforeEach, expect, test } from 'vitest';
import { session } from './auth/session';
import { claimDrafts, dropDrafts, keepDrafts, useDraft, useKeptOnLeaving } from './drafts';

const EMPTY = { name: '', copies: 0, active: true };
const signedIn = (sub: string): void => {
  session.set({ status: 'signed-in', sub, name: sub, admin: false });
};
const begun = (): typeof EMPTY => renderHook(() => useDraft('checkout', EMPTY)).result.current;

/** Ada's session ends while she types, and she goes to sign in again. */
function leave(): void {
  const form = renderHook(() => {
    useKeptOnLeaving('checkout', () => ({ name: 'Ada', copies: 3, active: false }));
  });
  act(() => {
    session.set({ status: 'guest', ended: 'ada' });
  });
  keepDrafts();
  form.unmount();
}

beforeEach(dropDrafts);

test('what was typed is back after the sign-in, once, and no longer stored', () => {
  leave();
  expect(sessionStorage).toHaveLength(1);
  signedIn('ada');
  claimDrafts();
  expect(sessionStorage).toHaveLength(0);
  expect(begun()).toEqual({ name: 'Ada', copies: 3, active: false });
  expect(begun()).toEqual(EMPTY);
});

test('nobody else gets it', () => {
  leave();
  signedIn('ben');
  claimDrafts();
  expect(sessionStorage).toHaveLength(0);
  expect(begun()).toEqual(EMPTY);
});

test('nothing is kept of a form that is closed, of a guest, or after signing out', () => {
  const form = renderHook(() => {
    useKeptOnLeaving('checkout', () => EMPTY);
  });
  session.set({ status: 'guest' });
  keepDrafts();
  expect(sessionStorage).toHaveLength(0);
  form.unmount();
  session.set({ status: 'guest', ended: 'ada' });
  keepDrafts();
  expect(sessionStorage).toHaveLength(0);
});

test.each([
  'no json',
  '7',
  '{"sub":"ada","forms":{}}',
  '{"sub":"ada","forms":[["checkout",{"name":{"x":1},"evil":"x","copies":"3"}]]}',
])('%s in the storage is no draft', (text) => {
  sessionStorage.setItem('bookstore_drafts', text);
  signedIn('ada');
  claimDrafts();
  expect(begun()).toEqual(EMPTY);
});
