import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Confirm } from '../../components/dialog';
import { Pagination } from '../../components/pagination';
import { STATUSES, reasonWords, STATUS_WORDS, StatusBadge } from '../../components/status-badge';
import { ErrorPanel, Loading, Panel, useTitle } from '../../components/states';
import { body, ecom, type Order, type OrderStatus } from '../../lib/api/client';
import { hasCode, isMissing, sentence } from '../../lib/api/errors';
import { COUNTED, counted, date, dateTime, money, orderNumber, plural } from '../../lib/format';
import { notify } from '../../lib/notices';
import { awaited, queryClient } from '../../lib/query';
import { orderQuery, ordersQuery } from './queries';

function OrderMissing(): ReactElement {
  useTitle('Order not found');
  return (
    <Panel title="Order not found" level="h1" mark="404">
      <p>There is no such order in your account.</p>
      <p><Link className="button" to="/orders">Your orders</Link></p>
    </Panel>
  );
}

/** Draws an order once it is there. */
function WithOrder({ id, draw }: { id: string; draw: (order: Order) => ReactElement }): ReactElement {
  const { data, error, refetch } = useQuery(orderQuery(id));
  if (isMissing(error)) return <OrderMissing />;
  if (data) return draw(data);
  return error ? <ErrorPanel error={error} level="h1" onRetry={() => void refetch()} /> : <Loading level="h1" label="Loading the order" />;
}

export function ConfirmationPage(): ReactElement {
  const { id } = useParams({ from: '/order-confirmation/$id' });
  return <WithOrder id={id} draw={(order) => <Receipt order={order} />} />;
}

function Receipt({ order }: { order: Order }): ReactElement {
  const cancelled = order.status === 'CANCELLED';
  useTitle(cancelled ? 'Order cancelled' : 'Thank you');
  return (
    <article className="receipt">
      <span className="stamp" data-bad={cancelled} aria-hidden="true">{cancelled ? '×' : '✓'}</span>
      <h1>{cancelled ? 'This order was cancelled' : 'Thank you, your order is placed'}</h1>
      <p>
        Order <strong data-testid="order-number">{orderNumber(order.id)}</strong> of {dateTime(order.created_at)}.{' '}
        {cancelled ? `Cancelled: ${reasonWords(order.cancel_reason ?? 'by the shop')}. You pay nothing.` : `You pay ${money(order.total)} on delivery.`}
      </p>
      <Items order={order} />
      <p className="row">
        <Link className="button" to="/orders/$id" params={{ id: order.id }}>See the order</Link>
        <Link className="button button-quiet" to="/">Go on browsing</Link>
      </p>
    </article>
  );
}

function Items({ order }: { order: Order }): ReactElement {
  return (
    <div className="table-box" role="region" aria-label="Items" tabIndex={0}>
      <table className="table">
        <thead><tr><th scope="col">Book</th><th scope="col" className="number">Copies</th><th scope="col" className="number">Price</th><th scope="col" className="number">Sum</th></tr></thead>
        <tbody>
          {order.items.map((item) => (
            <tr key={item.book_id}>
              <td><Link to="/books/$id" params={{ id: item.book_id }}><bdi>{item.title}</bdi></Link></td>
              <td className="number">{item.quantity}</td>
              <td className="number">{money(item.price)}</td>
              <td className="number">{money(item.line_total)}</td>
            </tr>
          ))}
        </tbody>
        <tfoot><tr><th scope="row" colSpan={3}>Total</th><td className="number" data-testid="order-total">{money(order.total)}</td></tr></tfoot>
      </table>
    </div>
  );
}

export function OrdersPage(): ReactElement {
  const { page = 1, status } = useSearch({ from: '/orders' });
  const navigate = useNavigate({ from: '/orders' });
  useTitle('Your orders');
  const list = useQuery(ordersQuery(page, status));
  const { data, error, isPlaceholderData, refetch } = list;
  const waiting = awaited(list);
  return (
    <>
      <h1>Your orders</h1>
      <form className="tools" aria-label="Choose orders" onSubmit={(event) => { event.preventDefault(); }}>
        <label>
          Status
          <select value={status ?? ''} onChange={(event) => void navigate({ search: { status: (event.target.value || undefined) as OrderStatus | undefined } })}>
            <option value="">All</option>
            {STATUSES.map((one) => <option key={one} value={one}>{STATUS_WORDS[one]}</option>)}
          </select>
        </label>
        <p className="tools-count" role="status">{data && !isPlaceholderData ? counted(data.total, COUNTED.orders, 'order') : ''}</p>
      </form>
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {waiting ? <Loading label="Loading your orders" /> : null}
      {data?.items.length === 0 && !waiting ? (
        <Panel title={status ? `No ${STATUS_WORDS[status].toLowerCase()} orders` : 'No orders yet'}>
          <p><Link className="button" to="/">Browse the catalogue</Link></p>
        </Panel>
      ) : null}
      {data && data.items.length > 0 ? (
        <ul className="orders">
          {data.items.map((order) => (
            <li key={order.id} className="order-row">
              <div>
                <h2><Link to="/orders/$id" params={{ id: order.id }}>Order {orderNumber(order.id)}</Link></h2>
                <p className="hint">{date(order.created_at)} · {plural(order.item_count, 'copy', 'copies')}</p>
              </div>
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

export function OrderPage(): ReactElement {
  const { id } = useParams({ from: '/orders/$id' });
  useTitle(`Order ${orderNumber(id)}`);
  return <WithOrder id={id} draw={(order) => <OrderDetail order={order} />} />;
}

async function cancel(order: Order): Promise<void> {
  try {
    const cancelled = await body(ecom().POST('/ecom/orders/{order_id}/cancel', { params: { path: { order_id: order.id } }, body: null }));
    queryClient.setQueryData(['order', order.id], cancelled);
    notify('The order is cancelled.');
  } catch (error) {
    if (!hasCode(error, 'invalid_transition')) throw error;
    // Sent meanwhile: the page will show how it stands, without the button; so the words stay outside of its window.
    notify(sentence(error), 'bad');
    await queryClient.invalidateQueries({ queryKey: ['order', order.id] });
  } finally {
    void queryClient.invalidateQueries({ queryKey: ['orders'] });
    void queryClient.invalidateQueries({ queryKey: ['stock'] });
  }
}

function OrderDetail({ order }: { order: Order }): ReactElement {
  const { shipping } = order;
  return (
    <article>
      <p className="kicker"><Link to="/orders">Your orders</Link></p>
      <div className="title-row"><h1>Order {orderNumber(order.id)}</h1> <StatusBadge status={order.status} /></div>
      <p className="hint">Placed {dateTime(order.created_at)}</p>
      {order.status === 'CANCELLED' && order.cancel_reason ? <p className="note">Cancelled: {reasonWords(order.cancel_reason)}</p> : null}
      <Items order={order} />
      <section className="address" aria-label="Delivery address">
        <h2>Goes to</h2>
        <address>
          {[shipping.name, shipping.line1, shipping.line2, `${shipping.postal_code} ${shipping.city}`, shipping.country].filter(Boolean).map((line) => <span key={line}><bdi>{line}</bdi></span>)}
        </address>
        <p className="hint ids">Full number of the order: {order.id}</p>
      </section>
      {order.status === 'CONFIRMED' ? (
        <Confirm title="Cancel this order?" action="Cancel order" onConfirm={() => cancel(order)}>
          <p>The books go back to the shelf. This cannot be undone.</p>
        </Confirm>
      ) : null}
    </article>
  );
}
