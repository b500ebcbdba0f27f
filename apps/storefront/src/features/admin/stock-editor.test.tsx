import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { session } from '../../lib/auth/session';
import type { StockRow } from './queries';
import { SetForm } from './stock-editor';

const row = (quantity: number, threshold: number, version = 1) =>
  ({
    book_id: 'b',
    title: 'Dune',
    active: true,
    quantity,
    reserved: 0,
    available: quantity,
    low_stock_threshold: threshold,
    stock_status: 'in_stock',
    version,
  }) as StockRow;
const json = (value: unknown, status = 200) =>
  new Response(JSON.stringify(value), { status, headers: { 'Content-Type': 'application/json' } });
const order = { id: 1, book_id: 'b', order_id: 'o', actor: 'a', created_at: '2026-01-06T09:00:00Z' };
const movements = [
  { ...order, id: 9, delta: -3, reserved_delta: -3, reason: 'committed' },
  { ...order, id: 8, delta: 0, reserved_delta: 3, reason: 'reserved' },
];
const stale = {
  status: 412,
  code: 'stale_version',
  title: 'Precondition Failed',
  detail: '',
  errors: [],
  version: 3,
  quantity: 7,
  reserved: 0,
  low_stock_threshold: 5,
};

/** The Admin API with a stock of version 3 and seven copies; what was set, over which version. */
const puts: [version: string | null, setting: unknown][] = [];
beforeEach(() => {
  puts.length = 0;
  session.set({ status: 'guest' });
  vi.stubGlobal('fetch', async (request: Request) => {
    if (request.url.endsWith('/ecom/csrf-token')) return json({ token: 't' });
    if (request.method === 'GET') return json({ items: movements, page: 1, pages: 1, size: 100, total: 2 });
    puts.push([request.headers.get('If-Match'), await request.json()]);
    return request.headers.get('If-Match') === '"3"' ? json({ ...row(10, 5, 4) }) : json(stale, 412);
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

test('what is typed outlives a row that is fetched anew; what is not follows the row', async () => {
  const { rerender } = render(<SetForm row={row(10, 5)} />);
  const [copies, threshold] = [
    screen.getByLabelText('Copies on the shelf'),
    screen.getByLabelText('Low-stock threshold'),
  ];
  await userEvent.clear(copies);
  await userEvent.type(copies, '40');
  rerender(<SetForm row={row(8, 7)} />);
  expect(copies).toHaveValue('40');
  expect(threshold).toHaveValue('7');
  expect(screen.getByLabelText('Copies on the shelf')).toBe(copies);
});

test('a count of before an order is not saved over it: the editor says what changed, and the administrator decides', async () => {
  const { rerender } = render(<SetForm row={row(10, 5)} />);
  const field = screen.getByLabelText('Copies on the shelf');
  await userEvent.clear(field);
  await userEvent.type(field, '11');
  // The list has been fetched anew meanwhile: the count is still one of ten copies.
  rerender(<SetForm row={row(7, 5, 3)} />);
  await userEvent.click(screen.getByRole('button', { name: 'Set stock' }));
  const box = await screen.findByRole('alertdialog', { name: 'Stock changed meanwhile' });
  expect(puts).toEqual([['"1"', { quantity: 11, low_stock_threshold: 5 }]]);
  expect(box).toHaveTextContent('There were 10 copies on the shelf when you began, now there are 7.');
  expect(within(box).getByRole('list', { name: 'What happened' })).toHaveTextContent('3 copies ordered');
  expect(within(box).getByRole('row', { name: /^Copies on the shelf/ })).toHaveTextContent('Copies on the shelf10711');
  await userEvent.click(within(box).getByRole('button', { name: 'Set mine all the same' }));
  await vi.waitFor(() => {
    expect(screen.queryByRole('alertdialog')).toBeNull();
  });
  expect(puts[1]).toEqual(['"3"', { quantity: 11, low_stock_threshold: 5 }]);
});

test('what is there now can be taken, and is what the next count is one of', async () => {
  render(<SetForm row={row(10, 5)} />);
  await userEvent.click(screen.getByRole('button', { name: 'Set stock' }));
  await userEvent.click(await screen.findByRole('button', { name: 'Take what is there now' }));
  expect(await screen.findByLabelText('Copies on the shelf')).toHaveValue('7');
  await userEvent.click(screen.getByRole('button', { name: 'Set stock' }));
  await vi.waitFor(() => {
    expect(puts.length).toBe(2);
  });
  expect(puts[1]?.[0]).toBe('"3"');
});
