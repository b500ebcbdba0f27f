import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { DataTable, type Column } from '../../components/data-table';
import { OrderNumber } from '../../components/order-number';
import { Pagination } from '../../components/pagination';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { StatusBadge } from '../../components/status-badge';
import { StatusSelect } from '../../components/status-select';
import type { AdminSchemas } from '../../lib/api/client';
import { COUNTED, counted, dateTime, money } from '../../lib/format';
import { awaited } from '../../lib/query';
import { Frame } from './frame';
import { ordersQuery, type OrdersAsk } from './queries';

type Row = AdminSchemas['OrderSummary'];

export function AdminOrdersPage(): ReactElement {
  const asked = useSearch({ from: '/admin/orders' });
  const navigate = useNavigate({ from: '/admin/orders' });
  const list = useQuery(ordersQuery(asked));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  const set = (change: OrdersAsk) => void navigate({ search: { ...asked, page: undefined, ...change } });
  const columns: Column<Row>[] = [
    {
      head: 'Order',
      cell: (order) => (
        <Link to="/admin/orders/$id" params={{ id: order.id }}>
          <OrderNumber id={order.id} />
        </Link>
      ),
    },
    { head: 'Placed', wide: true, cell: (order) => dateTime(order.created_at) },
    { head: 'Status', cell: (order) => <StatusBadge status={order.status} /> },
    { head: 'Copies', number: true, cell: (order) => order.item_count },
    { head: 'Total', number: true, cell: (order) => money(order.total) },
    {
      head: 'Customer',
      cell: ({ user_id: user }) => (
        <button
          type="button"
          className="link-button"
          onClick={() => {
            set({ user_id: user });
          }}
          aria-label={`Only orders of customer ${user}`}
        >
          {user.slice(0, 8)}
        </button>
      ),
    },
  ];
  return (
    <Frame title="Orders">
      <form
        className="tools"
        aria-label="Filter orders"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <StatusSelect
          value={asked.status}
          onChange={(status) => {
            set({ status });
          }}
        />
        <label>
          From
          <input
            type="date"
            value={asked.from ?? ''}
            onChange={(event) => {
              set({ from: event.target.value || undefined });
            }}
          />
        </label>
        <label>
          To
          <input
            type="date"
            value={asked.to ?? ''}
            onChange={(event) => {
              set({ to: event.target.value || undefined });
            }}
          />
        </label>
        {asked.user_id ? (
          <button
            type="button"
            className="button button-quiet"
            onClick={() => {
              set({ user_id: undefined });
            }}
          >
            All customers
          </button>
        ) : null}
        <p className="tools-count" role="status">
          {data && !isPlaceholderData ? counted(data.total, COUNTED.orders, 'order') : ''}
        </p>
      </form>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {waiting ? <Loading /> : null}
      {data?.items.length === 0 && !waiting ? (
        <Panel title="No orders match">
          <p>Choose another status or other days.</p>
        </Panel>
      ) : null}
      {data && data.items.length > 0 ? (
        <DataTable
          label="Orders"
          columns={columns}
          rows={data.items}
          keyOf={(order) => order.id}
          testId="admin-order"
        />
      ) : null}
      {data ? <Pagination page={asked.page ?? 1} pages={data.pages} /> : null}
    </Frame>
  );
}
