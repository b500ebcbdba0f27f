import { QueryClientProvider } from '@tanstack/react-query';
import { renderHook, waitFor } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { expect, test, vi } from 'vitest';
import { soldOut, useStock } from './books';
import { makeQueryClient } from './query';

test('books of the next page are unknown, not sold out, until their stock is there', async () => {
  const answers: (() => void)[] = [];
  vi.stubGlobal(
    'fetch',
    ({ url }: Request) =>
      new Promise((resolve) => {
        const ids = (new URL(url).searchParams.get('book_ids') ?? '').split(',').filter((id) => id !== 'c');
        answers.push(() => {
          resolve(
            Response.json(
              ids.map((id) => ({ book_id: id, stock_status: 'in_stock', available: 5, quantity: 5, reserved: 0 })),
            ),
          );
        });
      }),
  );
  const client = makeQueryClient();
  const wrapper = ({ children }: { children: ReactNode }): ReactElement => (
    <QueryClientProvider client={client}>{children}</QueryClientProvider>
  );
  const { result, rerender } = renderHook(({ ids }) => useStock(ids), { wrapper, initialProps: { ids: ['a'] } });
  expect(result.current('a')).toEqual({ state: 'loading' });
  answers[0]!();
  await waitFor(() => {
    expect(result.current('a').state).toBe('in_stock');
  });
  rerender({ ids: ['a', 'b', 'c'] });
  expect([result.current('a').state, result.current('b').state]).toEqual(['in_stock', 'loading']);
  expect(soldOut(result.current('b'))).toBe(false);
  await waitFor(() => {
    expect(answers).toHaveLength(2);
  });
  answers[1]!();
  await waitFor(() => {
    expect(result.current('b').state).toBe('in_stock');
  });
  expect(result.current('c').state).toBe('none');
});
