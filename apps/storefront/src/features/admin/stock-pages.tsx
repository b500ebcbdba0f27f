import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState, type ReactElement } from 'react';
import { Dialog } from '../../components/dialog';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { bare, plural } from '../../lib/format';
import { awaited } from '../../lib/query';
import { Frame, SearchForm, Table } from './frame';
import { stockQuery, type StockRow } from './queries';
import { StockEditor } from './stock-editor';
import { StockWord } from './stock-words';

export function StockPage(): ReactElement {
  const asked = useSearch({ from: '/admin/stock' });
  const navigate = useNavigate({ from: '/admin/stock' });
  return (
    <Frame title="Stock">
      <SearchForm key={asked.q ?? ''} label="Search stock" value={asked.q} onSearch={(q) => void navigate({ search: { q } })} />
      <StockList asked={asked} empty="No books match." />
    </Frame>
  );
}

export function LowStockPage(): ReactElement {
  const asked = useSearch({ from: '/admin/low-stock' });
  return (
    <Frame title="Low stock">
      <p className="hint">At or below their threshold, the fewest first.</p>
      <StockList asked={{ page: asked.page, low: true }} empty="Every book has enough copies." />
    </Frame>
  );
}

function StockList({ asked, empty }: { asked: { page?: number | undefined; q?: string | undefined; low?: boolean }; empty: string }): ReactElement {
  const list = useQuery(stockQuery(asked));
  const { data, error, refetch } = list;
  const [edited, setEdited] = useState<StockRow | null>(null);
  // The row as the list has it now: it changes under the open window.
  const row = edited && (data?.items.find((one) => one.book_id === edited.book_id) ?? edited);
  if (error && !data) return <ErrorPanel error={error} onRetry={() => void refetch()} />;
  if (!data || awaited(list)) return <Loading />;
  if (data.items.length === 0) return <Panel title={empty} />;
  return (
    <>
      <p className="hint" role="status">{plural(data.total, 'book')}</p>
      <Table label="Stock" heads={['Title', 'State', ['On the shelf', 'number'], ['Reserved', 'number'], ['Available', 'number'], ['Threshold', 'number'], 'Actions']}>
        {data.items.map((one) => (
          <tr key={one.book_id} data-testid="stock-row">
            <th scope="row"><Link to="/admin/books/$id" params={{ id: one.book_id }}><bdi>{one.title ?? one.book_id}</bdi></Link></th>
            <td><StockWord status={one.stock_status} /></td>
            <td className="number">{one.quantity ?? '–'}</td>
            <td className="number">{one.reserved ?? '–'}</td>
            <td className="number">{one.available ?? '–'}</td>
            <td className="number">{one.low_stock_threshold ?? '–'}</td>
            <td><button type="button" className="link-button" aria-label={`Change stock of ${bare(one.title ?? one.book_id)}`} onClick={() => { setEdited(one); }}>Change</button></td>
          </tr>
        ))}
      </Table>
      <Pagination page={asked.page ?? 1} pages={data.pages} />
      <Dialog title={row?.title ?? 'Stock'} open={row !== null} onClose={() => { setEdited(null); }}>
        {row ? <StockEditor key={row.book_id} row={row} onClose={() => { setEdited(null); }} /> : null}
      </Dialog>
    </>
  );
}
