import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { AddressBlock } from '../../components/address-block';
import { Confirm } from '../../components/dialog';
import { OrderItems } from '../../components/order-items';
import { OrderNumber } from '../../components/order-number';
import { ErrorPanel, Loading, Panel } from '../../components/states';
import { StatusBadge } from '../../components/status-badge';
import { admin, body, type OrderStatus } from '../../lib/api/client';
import { hasCode, isMissing, sentence } from '../../lib/api/errors';
import { dateTime, orderNumber } from '../../lib/format';
import { notify } from '../../lib/notices';
import { reasonWords, STATUS_WORDS } from '../../lib/orders';
import { queryClient } from '../../lib/query';
import { Frame } from './frame';
import { changed, orderQuery, type AdminOrder } from './queries';

/** What may follow a status (E-22). */
const NEXT: Record<OrderStatus, [OrderStatus, string][]> = {
  CONFIRMED: [
    ['SHIPPED', 'Mark as shipped'],
    ['CANCELLED', 'Cancel order'],
  ],
  SHIPPED: [['DELIVERED', 'Mark as delivered']],
  DELIVERED: [],
  CANCELLED: [],
};

export function AdminOrderPage(): ReactElement {
  const { id } = useParams({ from: '/admin/orders/$id' });
  const { data, error, refetch } = useQuery(orderQuery(id));
  if (isMissing(error)) {
    return (
      <Frame title="Order not found">
        <Panel title="There is no such order">
          <p>
            <Link className="button" to="/admin/orders">
              All orders
            </Link>
          </p>
        </Panel>
      </Frame>
    );
  }
  return (
    <Frame
      title={`Order ${orderNumber(id)}`}
      heading={
        <>
          Order <OrderNumber id={id} />
        </>
      }
      end={data ? <Progress order={data} /> : null}
    >
      {error && !data ? <ErrorPanel error={error} onRetry={() => void refetch()} /> : null}
      {!data && !error ? <Loading /> : null}
      {data ? <OrderDetail order={data} /> : null}
    </Frame>
  );
}

async function move(order: AdminOrder, status: OrderStatus): Promise<void> {
  try {
    const moved = await body(
      admin().PATCH('/admin/orders/{order_id}/status', { params: { path: { order_id: order.id } }, body: { status } }),
    );
    queryClient.setQueryData(['admin', 'order', order.id], moved);
    notify(`The order is ${STATUS_WORDS[status].toLowerCase()}.`);
  } catch (error) {
    if (!hasCode(error, 'invalid_transition')) throw error;
    // Moved meanwhile: the page will show how it stands, other buttons; so the words stay outside of their window.
    notify(sentence(error), 'bad');
  }
  await changed();
}

/** The order's status, and buttons for those that may follow it. */
function Progress({ order }: { order: AdminOrder }): ReactElement {
  return (
    <div className="progress">
      <StatusBadge status={order.status} />
      {NEXT[order.status].map(([status, words]) => (
        <Confirm
          key={status}
          title={`${words}?`}
          action={words}
          className={status === 'CANCELLED' ? 'button button-quiet' : 'button'}
          onConfirm={() => move(order, status)}
        >
          <p>
            {status === 'CANCELLED'
              ? 'The books go back to the shelf. This cannot be undone.'
              : 'The customer sees the new status at once.'}
          </p>
        </Confirm>
      ))}
      {NEXT[order.status].length === 0 ? <span className="hint">This status is final.</span> : null}
    </div>
  );
}

function OrderDetail({ order }: { order: AdminOrder }): ReactElement {
  return (
    <>
      <p className="hint">Placed {dateTime(order.created_at)}</p>
      {order.cancel_reason ? <p className="note">Cancelled: {reasonWords(order.cancel_reason)}</p> : null}
      <OrderItems order={order} to="/admin/books/$id" />
      <AddressBlock shipping={order.shipping} />
      <dl className="facts ids">
        <div>
          <dt>Full number</dt>
          <dd>{order.id}</dd>
        </div>
        <div>
          <dt>Customer</dt>
          <dd>
            <Link to="/admin/orders" search={{ user_id: order.user_id }}>
              {order.user_id}
            </Link>
          </dd>
        </div>
      </dl>
    </>
  );
}
