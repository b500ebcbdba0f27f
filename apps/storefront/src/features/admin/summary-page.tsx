import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { STATUSES, STATUS_WORDS } from '../../components/status-badge';
import { ErrorPanel, Loading } from '../../components/states';
import { Frame, Warnings } from './frame';
import { summaryQuery } from './queries';

const number = (value: number | null | undefined): string => (value === null || value === undefined ? '–' : String(value));

export function SummaryPage(): ReactElement {
  const { data, error, refetch } = useQuery(summaryQuery);
  return (
    <Frame title="Overview">
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {!data && !error ? <Loading /> : null}
      {data ? (
        <>
          <Warnings notes={data.warnings} />
          <ul className="tiles">
            <li><Link to="/admin/books" search={{ active: 'true' }}><strong>{number(data.active_books)}</strong>Books on sale</Link></li>
            <li><Link to="/admin/low-stock"><strong>{number(data.low_stock)}</strong>Low stock</Link></li>
            <li><Link to="/admin/low-stock"><strong>{number(data.out_of_stock)}</strong>Out of stock</Link></li>
          </ul>
          <h2>Orders</h2>
          <ul className="tiles">
            {STATUSES.map((status) => (
              <li key={status}>
                <Link to="/admin/orders" search={{ status }}><strong>{number(data.orders_by_status?.[status])}</strong>{STATUS_WORDS[status]}</Link>
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </Frame>
  );
}
