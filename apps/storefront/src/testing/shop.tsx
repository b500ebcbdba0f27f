import { QueryClientProvider } from '@tanstack/react-query';
import {
  createMemoryHistory,
  createRootRoute,
  createRoute,
  createRouter,
  RouterProvider,
} from '@tanstack/react-router';
import { render } from '@testing-library/react';
import type { ReactElement } from 'react';
import { makeQueryClient } from '../lib/query';

/** Draw a part of the shop as it stands at an address, with the router and the queries that it needs around it. */
export async function renderAt(path: string, part: () => ReactElement): Promise<void> {
  const root = createRootRoute({ component: part });
  const page = createRoute({ getParentRoute: () => root, path: '$', component: () => null });
  const router = createRouter({
    routeTree: root.addChildren([page]),
    history: createMemoryHistory({ initialEntries: [path] }),
  });
  await router.load();
  render(
    <QueryClientProvider client={makeQueryClient()}>
      {/* The shop's own router is of another type. */}
      <RouterProvider router={router as never} />
    </QueryClientProvider>,
  );
}
