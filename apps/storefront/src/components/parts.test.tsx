import { render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useRef, useState, type ReactElement } from 'react';
import { expect, test, vi } from 'vitest';
import { setConfig } from '../lib/config';
import { Button } from './button';
import { Cover } from './cover';
import { Confirm } from './dialog';
import { Field } from './field';
import { useFocusHeir } from './focus';
import { Quantity } from './quantity';
import { StockBadge } from './stock-badge';

function Held({
  min = 1,
  busy = false,
  seen,
}: {
  min?: number;
  busy?: boolean;
  seen: (value: number) => void;
}): ReactElement {
  const [value, setValue] = useState(2);
  const [valid, setValid] = useState(true);
  return (
    <>
      <Quantity
        label="Copies"
        value={value}
        min={min}
        busy={busy}
        onValid={setValid}
        onChange={(next) => {
          seen(next);
          setValue(next);
        }}
      />
      <output>{valid ? 'valid' : 'wrong'}</output>
    </>
  );
}

test('copies: minus stops at the least and keeps the focus, what is typed counts when Enter is pressed', async () => {
  const user = userEvent.setup();
  const seen = vi.fn();
  render(<Held seen={seen} />);
  const less = screen.getByRole('button', { name: 'One less' });
  await user.click(less);
  await user.keyboard('{Enter}{Enter}');
  expect(less).toHaveAttribute('aria-disabled', 'true');
  expect(less).toHaveFocus();
  const field = screen.getByRole('textbox', { name: 'Copies' });
  await user.clear(field);
  await user.type(field, '99{Enter}');
  expect(screen.getByRole('button', { name: 'One more' })).toHaveAttribute('aria-disabled', 'true');
  expect(seen.mock.calls).toEqual([[1], [99]]);
});

test('copies: what is no quantity stays to be mended and is told, and nothing is made of it', async () => {
  const user = userEvent.setup();
  const seen = vi.fn();
  render(<Held seen={seen} />);
  const field = screen.getByRole('textbox', { name: 'Copies' });
  await user.clear(field);
  await user.type(field, '100');
  expect(screen.getByText('wrong')).toBeInTheDocument();
  await user.tab();
  expect(field).toHaveValue('100');
  expect(field).toHaveAccessibleDescription('Enter 1 to 99');
  await user.type(field, '{Escape}');
  expect(field).toHaveValue('2');
  expect(screen.getByText('valid')).toBeInTheDocument();
  expect(seen).not.toHaveBeenCalled();
});

test('copies: while a change is under way nothing is pressed and nothing loses the focus', async () => {
  const user = userEvent.setup();
  const seen = vi.fn();
  const { rerender } = render(<Held seen={seen} />);
  const more = screen.getByRole('button', { name: 'One more' });
  await user.click(more);
  rerender(<Held seen={seen} busy />);
  await user.keyboard('{Enter}');
  expect(more).toHaveFocus();
  expect(seen.mock.calls).toEqual([[3]]);
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

test.each([
  ['loading', 'Checking…'],
  ['unknown', 'Stock unknown'],
  ['in_stock', 'In stock'],
  ['out_of_stock', 'Out of stock'],
  ['none', 'Out of stock'],
] as const)('stock %s reads %s', (state, words) => {
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
  render(
    <Confirm title="Empty the cart?" action="Clear cart" onConfirm={deed}>
      <p>All of it.</p>
    </Confirm>,
  );
  await user.click(screen.getByRole('button', { name: 'Clear cart' }));
  const dialog = await screen.findByRole('alertdialog', { name: 'Empty the cart?' });
  const yes = () => screen.getAllByRole('button', { name: 'Clear cart' }).find((one) => dialog.contains(one))!;
  await user.click(yes());
  expect(await screen.findByRole('alert')).toHaveTextContent('Something went wrong');
  await user.click(yes());
  expect(screen.queryByRole('alertdialog')).not.toBeInTheDocument();
  expect(deed).toHaveBeenCalledTimes(2);
});

/** Rows whose buttons take the row away, as in the cart. */
function Rows(): ReactElement {
  const [rows, setRows] = useState(['one', 'two']);
  return (
    <main id="main" tabIndex={-1}>
      <ul>
        {rows.map((row) => (
          <Row
            key={row}
            name={row}
            onGo={() => {
              setRows(rows.filter((one) => one !== row));
            }}
          />
        ))}
      </ul>
      {rows.length > 0 ? (
        <Confirm
          title="All?"
          action="Clear"
          onConfirm={() => {
            setRows([]);
            return Promise.resolve();
          }}
        >
          <p>All.</p>
        </Confirm>
      ) : null}
    </main>
  );
}

function Row({ name, onGo }: { name: string; onGo: () => void }): ReactElement {
  const row = useRef<HTMLLIElement>(null);
  useFocusHeir(row);
  return (
    <li ref={row}>
      <a href={`#${name}`}>{name}</a> <Button onClick={onGo}>Remove {name}</Button>
    </li>
  );
}

test('a row that goes leaves the focus to the next row, the last one to the page', async () => {
  const user = userEvent.setup();
  render(<Rows />);
  screen.getByRole('button', { name: 'Remove one' }).focus();
  await user.keyboard('{Enter}');
  await waitFor(() => {
    expect(screen.getByRole('link', { name: 'two' })).toHaveFocus();
  });
  await user.keyboard('{Tab}{Enter}');
  await waitFor(() => {
    expect(screen.getByRole('main')).toHaveFocus();
  });
});

test('a window whose button is gone leaves the focus to the page', async () => {
  const user = userEvent.setup();
  render(<Rows />);
  screen.getByRole('button', { name: 'Clear' }).focus();
  await user.keyboard('{Enter}');
  const dialog = await screen.findByRole('alertdialog');
  within(dialog).getByRole('button', { name: 'Clear' }).focus();
  await user.keyboard('{Enter}');
  await waitFor(() => {
    expect(screen.getByRole('main')).toHaveFocus();
  });
});
