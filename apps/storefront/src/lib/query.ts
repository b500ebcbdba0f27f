import { QueryClient } from '@tanstack/react-query';
import { ApiError } from './api/errors';

/** Worth another try by itself: the service or the network hiccuped. */
const passing = (error: unknown): boolean => !(error instanceof ApiError) || error.status >= 500;

export const makeQueryClient = (): QueryClient =>
  new QueryClient({
    defaultOptions: {
      // Requests are made even if the browser thinks it is offline, so that the page can say so instead of waiting mutely.
      queries: { staleTime: 30_000, networkMode: 'always', retry: (count, error) => count < 1 && passing(error), retryDelay: 800 },
      mutations: { networkMode: 'always', retry: false },
    },
  });
export const queryClient = makeQueryClient();
