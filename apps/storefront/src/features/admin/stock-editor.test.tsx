import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, test } from 'vitest';
import type { StockRow } from './queries';
import { SetForm } from './stock-editor';

const row = (quantity: number, threshold: number) => ({ book_id: 'b', quantity, reserved: 0, available: quantity, low_stock_threshold: threshold, stock_status: 'in_stock' }) as StockRow;

test('what is typed outlives a row that is fetched anew; what is not follows the row', async () => {
  const { rerender } = render(<SetForm row={row(10, 5)} />);
  const [copies, threshold] = [screen.getByLabelText('Copies on the shelf'), screen.getByLabelText('Low-stock threshold')];
  await userEvent.clear(copies);
  await userEvent.type(copies, '40');
  rerender(<SetForm row={row(8, 7)} />);
  expect(copies).toHaveValue('40');
  expect(threshold).toHaveValue('7');
  expect(screen.getByLabelText('Copies on the shelf')).toBe(copies);
});
