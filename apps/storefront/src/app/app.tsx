import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { useEffect, useState, type ReactElement } from 'react';
import { finishSignIn, onEntered, onLeft, session, start } from '../lib/auth/session';
import { mergeGuestCart } from '../lib/cart/merge';
import { claimDrafts, dropDrafts } from '../lib/drafts';
import { queryClient } from '../lib/query';
import { router } from './router';

onEntered(claimDrafts);
onEntered(mergeGuestCart);

const PUBLIC = ['books', 'book', 'genres', 'stock'];

/** What belonged to a customer must not be shown to the next one. */
const forget = (type: 'all' | 'inactive'): void => {
  queryClient.removeQueries({ type, predicate: ({ queryKey }) => !PUBLIC.includes(String(queryKey[0])) });
};

let owner: string | undefined;
session.subscribe(() => {
  const now = session.get();
  const sub = now.status === 'signed-in' ? now.sub : undefined;
  if (sub === owner) return;
  owner = sub;
  // Whose session has ended still looks at the page, may have typed into it, and shall be told what the last request came to.
  forget(now.status === 'guest' && now.ended !== undefined ? 'inactive' : 'all');
});

async function leave(): Promise<void> {
  if (router.state.matches.some((match) => match.staticData.personal))
    await router.navigate({ to: '/', replace: true });
  forget('all');
}

onLeft((elsewhere) => {
  dropDrafts();
  if (elsewhere) void leave();
});

export function App(): ReactElement {
  // Before the router reads the address: the code in it is good for one use and nobody else's business.
  useState(() => {
    if (window.location.pathname !== '/callback') return undefined;
    const arrived = window.location.href;
    finishSignIn(arrived).then(
      (path) => router.navigate({ href: path, replace: true }),
      () => router.navigate({ to: '/login', search: { failed: '1' }, replace: true }),
    );
    return undefined;
  });
  useEffect(() => {
    if (window.location.pathname !== '/callback') void start();
  }, []);
  return (
    <QueryClientProvider client={queryClient}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  );
}
