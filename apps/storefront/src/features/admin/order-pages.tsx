import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Confirm } from '../../components/dialog';
import { Pagination } from '../../components/pagination';
import { STATUSES, reasonWords, STATUS_WORDS, StatusBadge } from '../../components/status-badge';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { admin, body, type OrderStatus } from '../../lib/api/client';
import { hasCode, isMissing, sentence } from '../../lib/api/errors';
import { COUNTED, counted, dateTime, money, orderNumber } from '../../lib/format';
import { notify } from '../../lib/notices';
import { awaited, queryClient } from '../../lib/query';
import { Frame, Table } from './frame';
import { changed, orderQuery, ordersQuery, type AdminOrder, type OrdersAsk } from './queries';

/** What may follow a status (E-22). */
export const NEXT: Record<OrderStatus, [OrderStatus, string][]> = {
  CONFIRMED: [['SHIPPED', 'Mark as shipped'], ['CANCELLED', 'Cancel order']],
  SHIPPED: [['DELIVERED', 'Mark as delivered']],
  DELIVERED: [],
  CANCELLED: [],
};

export function AdminOrdersPage(): ReactElement {
  const asked = useSearch({ from: '/admin/orders' });
  const navigate = useNavigate({ from: '/admin/orders' });
  const list = useQuery(ordersQuery(asked));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  const set = (change: OrdersAsk) => void navigate({ search: { ...asked, page: undefined, ...change } });
  return (
    <Frame title="Orders">
      <form className="tools" aria-label="Filter orders" onSubmit={(event) => { event.preventDefault(); }}>
        <label>
          Status
          <select value={asked.status ?? ''} onChange={(event) => { set({ status: (event.target.value || undefined) as OrderStatus | undefined }); }}>
            <option value="">All</option>
            {STATUSES.map((one) => <option key={one} value={one}>{STATUS_WORDS[one]}</option>)}
          </select>
        </label>
        <label>From<input type="date" value={asked.from ?? ''} onChange={(event) => { set({ from: event.target.value || undefined }); }} /></label>
        <label>To<input type="date" value={asked.to ?? ''} onChange={(event) => { set({ to: event.target.value || undefined }); }} /></label>
        {asked.user_id ? <button type="button" className="button button-quiet" onClick={() => { set({ user_id: undefined }); }}>All customers</button> : null}
        <p className="tools-count" role="status">{data && !isPlaceholderData ? counted(data.total, COUNTED.orders, 'order') : ''}</p>
      </form>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {waiting ? <Loading /> : null}
      {data?.items.length === 0 && !waiting ? <Panel title="No orders match"><p>Choose another status or other days.</p></Panel> : null}
      {data && data.items.length > 0 ? (
        <Table label="Orders" heads={['Order', 'Placed', 'Status', ['Copies', 'number'], ['Total', 'number'], 'Customer']}>
          {data.items.map((order) => (
            <tr key={order.id} data-testid="admin-order">
              <th scope="row"><Link to="/admin/orders/$id" params={{ id: order.id }}>{orderNumber(order.id)}</Link></th>
              <td>{dateTime(order.created_at)}</td>
              <td><StatusBadge status={order.status} /></td>
              <td className="number">{order.item_count}</td>
              <td className="number">{money(order.total)}</td>
              <td><button type="button" className="link-button" onClick={() => { set({ user_id: order.user_id }); }} aria-label={`Only orders of customer ${order.user_id}`}>{order.user_id.slice(0, 8)}</button></td>
            </tr>
          ))}
        </Table>
      ) : null}
      {data ? <Pagination page={asked.page ?? 1} pages={data.pages} /> : null}
    </Frame>
  );
}

export function AdminOrderPage(): ReactElement {
  const { id } = useParams({ from: '/admin/orders/$id' });
  const { data, error, refetch } = useQuery(orderQuery(id));
  if (isMissing(error)) {
    return <Frame title="Order not found"><Panel title="There is no such order"><p><Link className="button" to="/admin/orders">All orders</Link></p></Panel></Frame>;
  }
  return (
    <Frame title={`Order ${orderNumber(id)}`} {...(data ? { end: <Standing order={data} /> } : {})}>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {!data && !error ? <Loading /> : null}
      {data ? <OrderDetail order={data} /> : null}
    </Frame>
  );
}

async function move(order: AdminOrder, status: OrderStatus): Promise<void> {
  try {
    const moved = await body(admin().PATCH('/admin/orders/{order_id}/status', { params: { path: { order_id: order.id } }, body: { status } }));
    queryClient.setQueryData(['admin', 'order', order.id], moved);
    notify(`The order is ${STATUS_WORDS[status].toLowerCase()}.`);
  } catch (error) {
    if (!hasCode(error, 'invalid_transition')) throw error;
    // Moved meanwhile: the page will show how it stands, other buttons; so the words stay outside of their window.
    notify(sentence(error), 'bad');
  }
  await changed();
}

/** How the order stands, and where it can go from there. */
function Standing({ order }: { order: AdminOrder }): ReactElement {
  return (
    <div className="standing">
      <StatusBadge status={order.status} />
      {NEXT[order.status].map(([status, words]) => (
        <Confirm key={status} title={`${words}?`} action={words} className={status === 'CANCELLED' ? 'button button-quiet' : 'button'} onConfirm={() => move(order, status)}>
          <p>{status === 'CANCELLED' ? 'The books go back to the shelf. This cannot be undone.' : 'The customer sees the new status at once.'}</p>
        </Confirm>
      ))}
      {NEXT[order.status].length === 0 ? <span className="hint">This status is final.</span> : null}
    </div>
  );
}

function OrderDetail({ order }: { order: AdminOrder }): ReactElement {
  const { shipping } = order;
  return (
    <>
      <p className="hint">Placed {dateTime(order.created_at)}</p>
      {order.cancel_reason ? <p className="note">Cancelled: {reasonWords(order.cancel_reason)}</p> : null}
      <Table label="Items" heads={['Book', ['Copies', 'number'], ['Price', 'number'], ['Sum', 'number']]}>
        {order.items.map((item) => (
          <tr key={item.book_id}>
            <th scope="row"><Link to="/admin/books/$id" params={{ id: item.book_id }}><bdi>{item.title}</bdi></Link></th>
            <td className="number">{item.quantity}</td>
            <td className="number">{money(item.price)}</td>
            <td className="number">{money(item.line_total)}</td>
          </tr>
        ))}
      </Table>
      <p className="total-line">Total <strong>{money(order.total)}</strong></p>
      <section className="address" aria-label="Delivery address">
        <h2>Goes to</h2>
        <address>{[shipping.name, shipping.line1, shipping.line2, `${shipping.postal_code} ${shipping.city}`, shipping.country].filter(Boolean).map((line) => <span key={line}><bdi>{line}</bdi></span>)}</address>
      </section>
      <dl className="facts ids">
        <div><dt>Order</dt><dd>{order.id}</dd></div>
        <div><dt>Customer</dt><dd><Link to="/admin/orders" search={{ user_id: order.user_id }}>{order.user_id}</Link></dd></div>
      </dl>
    </>
  );
}
