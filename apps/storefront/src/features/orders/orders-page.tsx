import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { OrderNumber } from '../../components/order-number';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Loading, Panel, useTitle } from '../../components/states';
import { StatusBadge } from '../../components/status-badge';
import { StatusSelect } from '../../components/status-select';
import type { OrderStatus } from '../../lib/api/client';
import { COUNTED, counted, date, money, plural } from '../../lib/format';
import { STATUS_WORDS } from '../../lib/orders';
import { awaited } from '../../lib/query';
import { ordersQuery } from './queries';

export function OrdersPage(): ReactElement {
  const { page = 1, status } = useSearch({ from: '/orders' });
  const navigate = useNavigate({ from: '/orders' });
  useTitle('Your orders');
  const list = useQuery(ordersQuery(page, status));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  const show = (value: OrderStatus | undefined) => void navigate({ search: { status: value } });
  return (
    <>
      <h1>Your orders</h1>
      <form
        className="tools"
        aria-label="Choose orders"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <StatusSelect value={status} onChange={show} />
        <p className="tools-count" role="status">
          {data && !isPlaceholderData ? counted(data.total, COUNTED.orders, 'order') : ''}
        </p>
      </form>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {waiting ? <Loading label="Loading your orders" /> : null}
      {data?.items.length === 0 && !waiting ? (
        <Panel title={status ? `No ${STATUS_WORDS[status].toLowerCase()} orders` : 'No orders yet'}>
          <p>
            <Link className="button" to="/">
              Browse the catalogue
            </Link>
          </p>
        </Panel>
      ) : null}
      {data && data.items.length > 0 ? (
        <ul className="orders">
          {data.items.map((order) => (
            <li key={order.id} className="order-row">
              <h2>
                <Link to="/orders/$id" params={{ id: order.id }}>
                  Order <OrderNumber id={order.id} />
                </Link>
              </h2>
              <p className="hint">
                {date(order.created_at)} · {plural(order.item_count, 'copy', 'copies')}
              </p>
              <StatusBadge status={order.status} />
              <span className="price">{money(order.total)}</span>
            </li>
          ))}
        </ul>
      ) : null}
      {data ? <Pagination page={page} pages={data.pages} /> : null}
    </>
  );
}
