import { render, screen, within } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import { renderAt } from '../testing/shop';
import { AddressBlock } from './address-block';
import { OrderItems } from './order-items';
import { StockException } from './stock-badge';

const shipping = {
  name: 'Ada Reader',
  line1: 'Springfield',
  line2: 'Springfield',
  postal_code: '1',
  city: 'Shelbyville',
  country: 'United States',
};

test('an address whose lines are equal is shown whole', () => {
  const complaint = vi.spyOn(console, 'error');
  render(<AddressBlock shipping={shipping} />);
  const lines = screen.getByRole('region', { name: 'Delivery address' }).querySelectorAll('address bdi');
  expect([...lines].map((line) => line.textContent)).toEqual([
    'Ada Reader',
    'Springfield',
    'Springfield',
    '1 Shelbyville',
    'United States',
  ]);
  // React warns of two children with one key.
  expect(complaint).not.toHaveBeenCalled();
});

test.each(['/books/$id', '/admin/books/$id'] as const)(
  'the items of an order have their total, and lead to %s',
  async (to) => {
    const order = {
      total: '10.50',
      items: [{ book_id: 'b1', title: 'Dune', quantity: 2, price: '5.25', line_total: '10.50' }],
    };
    await renderAt('/', () => <OrderItems order={order} to={to} />);
    const row = screen.getByRole('rowheader', { name: 'Dune' }).closest('tr')!;
    expect(within(row).getByRole('link')).toHaveAttribute('href', to.replace('$id', 'b1'));
    expect(
      within(row)
        .getAllByRole('cell')
        .map((cell) => cell.textContent),
    ).toEqual(['2', '$5.25', '$10.50']);
    expect(within(screen.getByRole('table')).getByTestId('order-total')).toHaveTextContent('$10.50');
  },
);

test('a list speaks of a stock only where it is special', () => {
  const { container, rerender } = render(<StockException info={{ state: 'in_stock', available: 40 }} />);
  for (const state of ['loading', 'out_of_stock', 'none'] as const) {
    expect(container).toBeEmptyDOMElement();
    rerender(<StockException info={{ state }} />);
  }
  expect(container).toBeEmptyDOMElement();
  rerender(<StockException info={{ state: 'low_stock', available: 3 }} />);
  expect(container).toHaveTextContent('Only 3 left');
  rerender(<StockException info={{ state: 'unknown' }} />);
  expect(container).toHaveTextContent('Stock unknown');
});
