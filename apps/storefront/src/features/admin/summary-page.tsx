import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { ErrorPanel, Loading } from '../../components/states';
import { known } from '../../lib/format';
import { STATUSES, STATUS_WORDS } from '../../lib/orders';
import { Frame, Warnings } from './frame';
import { summaryQuery } from './queries';

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
            <li>
              <Link to="/admin/books" search={{ active: 'true' }}>
                <strong>{known(data.active_books)}</strong>Books on sale
              </Link>
            </li>
            <li>
              <Link to="/admin/low-stock">
                <strong>{known(data.low_stock)}</strong>Low stock
              </Link>
            </li>
            <li>
              <Link to="/admin/low-stock">
                <strong>{known(data.out_of_stock)}</strong>Out of stock
              </Link>
            </li>
          </ul>
          <h2>Orders</h2>
          <ul className="tiles">
            {STATUSES.map((status) => (
              <li key={status}>
                <Link to="/admin/orders" search={{ status }}>
                  <strong>{known(data.orders_by_status?.[status])}</strong>
                  {STATUS_WORDS[status]}
                </Link>
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </Frame>
  );
}
