import { QueryClient } from '@tanstack/react-query';
import { ApiError } from './api/errors';

/** Worth another try by itself: the service or the network hiccuped. */
const passing = (error: unknown): boolean => !(error instanceof ApiError) || error.status >= 500;

export const makeQueryClient = (): QueryClient =>
  new QueryClient({
    defaultOptions: {
      // Requests are made even if the browser thinks it is offline, so that the page can say so instead of waiting mutely.
      queries: {
        staleTime: 30_000,
        networkMode: 'always',
        retry: (count, error) => count < 1 && passing(error),
        retryDelay: 800,
      },
      mutations: { networkMode: 'always', retry: false },
    },
  });
export const queryClient = makeQueryClient();

/** Whether a list is still to come. What was shown before is shown meanwhile; but that it was empty says nothing of this one. */
export const awaited = (list: {
  data: { items: unknown[] } | undefined;
  error: unknown;
  isPlaceholderData: boolean;
}): boolean => !list.error && (!list.data || (list.isPlaceholderData && list.data.items.length === 0));
