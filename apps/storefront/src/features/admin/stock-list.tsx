import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState, type ReactElement } from 'react';
import { DataTable, type Column } from '../../components/data-table';
import { Dialog } from '../../components/dialog';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { bare, known, plural } from '../../lib/format';
import { awaited } from '../../lib/query';
import { stockQuery, type StockRow } from './queries';
import { StockEditor } from './stock-editor';
import { StockWord } from './stock-words';

interface Props {
  asked: { page?: number | undefined; q?: string | undefined; low?: boolean };
  /** What is said where no book is found. */
  empty: string;
}

/** Books with their stock, and the window in which one of them is changed. */
export function StockList({ asked, empty }: Props): ReactElement {
  const list = useQuery(stockQuery(asked));
  const { data, error, refetch } = list;
  const [edited, setEdited] = useState<StockRow | null>(null);
  // The row as the list has it now: it changes under the open window.
  const row = edited && (data?.items.find((one) => one.book_id === edited.book_id) ?? edited);
  if (error && !data) return <ErrorPanel error={error} onRetry={() => void refetch()} />;
  if (!data || awaited(list)) return <Loading />;
  if (data.items.length === 0) return <Panel title={empty} />;
  const title = (one: StockRow) => one.title ?? one.book_id;
  const columns: Column<StockRow>[] = [
    {
      head: 'Title',
      cell: (one) => (
        <Link to="/admin/books/$id" params={{ id: one.book_id }}>
          <bdi>{title(one)}</bdi>
        </Link>
      ),
    },
    { head: 'State', cell: (one) => <StockWord status={one.stock_status} /> },
    { head: 'On the shelf', number: true, cell: (one) => known(one.quantity) },
    { head: 'Reserved', number: true, cell: (one) => known(one.reserved) },
    { head: 'Available', number: true, cell: (one) => known(one.available) },
    { head: 'Threshold', number: true, cell: (one) => known(one.low_stock_threshold) },
    {
      head: 'Actions',
      cell: (one) => (
        <button
          type="button"
          className="button button-quiet button-small"
          aria-label={`Change stock of ${bare(title(one))}`}
          onClick={() => {
            setEdited(one);
          }}
        >
          Change
        </button>
      ),
    },
  ];
  return (
    <>
      <p className="hint" role="status">
        {plural(data.total, 'book')}
      </p>
      <DataTable label="Stock" columns={columns} rows={data.items} keyOf={(one) => one.book_id} testId="stock-row" />
      <Pagination page={asked.page ?? 1} pages={data.pages} />
      <Dialog
        title={row?.title ?? 'Stock'}
        open={row !== null}
        onClose={() => {
          setEdited(null);
        }}
      >
        {row ? (
          <StockEditor
            key={row.book_id}
            row={row}
            onClose={() => {
              setEdited(null);
            }}
          />
        ) : null}
      </Dialog>
    </>
  );
}
