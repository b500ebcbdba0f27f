import { render, screen, within } from '@testing-library/react';
import { expect, test } from 'vitest';
import { DataTable, type Column } from './data-table';

interface Row {
  id: string;
  title: string;
  price: string;
}
const columns: Column<Row>[] = [
  { head: 'Title', cell: (row) => row.title },
  { head: 'Price', number: true, cell: (row) => row.price },
  { head: 'Actions', cell: () => null },
];
const rows = [
  { id: 'a', title: 'Dune', price: '$9.00' },
  { id: 'b', title: 'Momo', price: '$8.00' },
];
const show = () =>
  render(
    <DataTable
      label="Books"
      columns={columns}
      rows={rows}
      keyOf={(row) => row.id}
      testId="book"
      total={{ name: 'Total', value: '$17.00' }}
    />,
  );

test('on a phone, where the heads are out of sight, each value has the name of its column beside it', () => {
  show();
  const cells = within(screen.getAllByTestId('book')[0]!).getAllByRole('cell');
  expect(cells.map((cell) => [cell.dataset.label, cell.textContent])).toEqual([
    ['Price', '$9.00'],
    ['Actions', ''],
  ]);
});

test('a row is named by its first cell, and a table is one whatever a style sheet makes of its rows', () => {
  show();
  expect(screen.getByRole('rowheader', { name: 'Dune' })).toBeInTheDocument();
  // The roles are written: browsers take them away from rows that are laid out as something else.
  const table = within(screen.getByRole('region', { name: 'Books' })).getByRole('table');
  expect(table).toHaveAttribute('role', 'table');
  const without = [...table.querySelectorAll('thead, tbody, tfoot, tr, th, td')].filter(
    (one) => !one.hasAttribute('role'),
  );
  expect(without).toEqual([]);
});

test('the total has its name before it', () => {
  show();
  const row = screen.getByRole('rowheader', { name: 'Total' }).closest('tr')!;
  expect(within(row).getByRole('cell')).toHaveTextContent('$17.00');
});
