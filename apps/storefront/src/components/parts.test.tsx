import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState, type ReactElement } from 'react';
import { expect, test, vi } from 'vitest';
import { setConfig } from '../lib/config';
import { Cover } from './cover';
import { Confirm } from './dialog';
import { Field } from './field';
import { Quantity } from './quantity';
import { StockBadge } from './stock-badge';

function Held({ min = 1, seen }: { min?: number; seen: (value: number) => void }): ReactElement {
  const [value, setValue] = useState(2);
  return <Quantity label="Copies" value={value} min={min} onChange={(next) => { seen(next); setValue(next); }} />;
}

test('copies: minus stops at the least, what is typed counts when Enter is pressed, nonsense is undone', async () => {
  const user = userEvent.setup();
  const seen = vi.fn();
  render(<Held seen={seen} />);
  await user.click(screen.getByRole('button', { name: 'One less' }));
  expect(screen.getByRole('button', { name: 'One less' })).toBeDisabled();
  const field = screen.getByRole('textbox', { name: 'Copies' });
  await user.clear(field);
  await user.type(field, '99{Enter}');
  expect(screen.getByRole('button', { name: 'One more' })).toBeDisabled();
  await user.clear(field);
  await user.type(field, '100');
  expect(field).toHaveAttribute('aria-invalid', 'true');
  await user.tab();
  expect(field).toHaveValue('99');
  expect(seen.mock.calls).toEqual([[1], [99]]);
});

test('a field’s error and hint are tied to it', () => {
  render(<Field label="City" hint="Where you live" error="Enter the city." defaultValue="x" />);
  const field = screen.getByLabelText('City');
  expect(field).toBeInvalid();
  expect(field).toHaveAccessibleDescription('Where you live Enter the city.');
});

test('a drawn cover is markup-free text and no picture is asked for', () => {
  const { container } = render(<Cover title="<img src=x onerror=alert(1)>" author="A" url="/covers/x.jpg" />);
  expect(container.querySelectorAll('img')).toHaveLength(0);
  expect(container.querySelector('svg')).toHaveAttribute('aria-hidden', 'true');
  expect(container.querySelector('[style]')).toBeNull();
  expect(container.textContent).toContain('<img src=x');
});

test('a picture is shown where the configuration says that there are some', () => {
  setConfig({ api: '', issuer: '', clientId: '', coverPrefixes: ['/covers/'] });
  const { container } = render(<Cover title="T" author="A" url="/covers/x.jpg" />);
  expect(container.querySelector('img')).toHaveAttribute('src', '/covers/x.jpg');
});

test.each([['loading', 'Checking…'], ['unknown', 'Stock unknown'], ['in_stock', 'In stock'], ['out_of_stock', 'Out of stock'], ['none', 'Out of stock']] as const)('stock %s reads %s', (state, words) => {
  render(<StockBadge info={{ state }} />);
  expect(screen.getByText(words)).toBeInTheDocument();
});

test('few copies are counted', () => {
  render(<StockBadge info={{ state: 'low_stock', available: 3 }} />);
  expect(screen.getByText('Only 3 left')).toHaveAttribute('data-stock', 'low_stock');
});

test('a deed is asked for once more; its error stays in the window', async () => {
  const user = userEvent.setup();
  const deed = vi.fn().mockRejectedValueOnce(new Error('no')).mockResolvedValueOnce(undefined);
  render(<Confirm title="Empty the cart?" action="Clear cart" onConfirm={deed}><p>All of it.</p></Confirm>);
  await user.click(screen.getByRole('button', { name: 'Clear cart' }));
  const dialog = await screen.findByRole('alertdialog', { name: 'Empty the cart?' });
  const yes = () => screen.getAllByRole('button', { name: 'Clear cart' }).find((one) => dialog.contains(one))!;
  await user.click(yes());
  expect(await screen.findByRole('alert')).toHaveTextContent('Something went wrong');
  await user.click(yes());
  expect(screen.queryByRole('alertdialog')).not.toBeInTheDocument();
  expect(deed).toHaveBeenCalledTimes(2);
});
