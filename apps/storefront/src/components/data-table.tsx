import type { ReactElement, ReactNode } from 'react';

export interface Column<Row> {
  head: string;
  cell: (row: Row) => ReactNode;
  /** Figures, set flush right. */
  number?: boolean;
  /** Needs the room of two values on a card. */
  wide?: boolean;
}

interface Props<Row> {
  label: string;
  /** The first one's cells name their rows. */
  columns: Column<Row>[];
  rows: Row[];
  keyOf: (row: Row) => string;
  /** Marks each row for tests. */
  testId?: string;
  /** A row below the others: its name and, below the last column, its value. */
  total?: { name: string; value: ReactNode };
}

/**
 * A table that is one on a wide screen, and on a phone a list of cards in which each value has its column's name. The roles say to
 * assistive technology that it is a table all the same: some browsers forget it once a style sheet lays rows out as something else.
 */
export function DataTable<Row>({ label, columns, rows, keyOf, testId, total }: Props<Row>): ReactElement {
  const side = (column: Column<Row>) => (column.number ? 'number' : undefined);
  return (
    <div className="table-box" role="region" aria-label={label} tabIndex={0}>
      <table className="table cards" role="table">
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((column) => (
              <th key={column.head} role="columnheader" scope="col" className={side(column)}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <tr key={keyOf(row)} role="row" data-testid={testId}>
              {columns.map((column, place) =>
                place === 0 ? (
                  <th key={column.head} role="rowheader" scope="row">
                    {column.cell(row)}
                  </th>
                ) : (
                  <td
                    key={column.head}
                    role="cell"
                    className={side(column)}
                    data-label={column.head}
                    data-wide={column.wide}
                  >
                    {column.cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
        {total ? (
          <tfoot role="rowgroup">
            <tr role="row">
              <th role="rowheader" scope="row" colSpan={columns.length - 1}>
                {total.name}
              </th>
              <td role="cell" className="number">
                {total.value}
              </td>
            </tr>
          </tfoot>
        ) : null}
      </table>
    </div>
  );
}
