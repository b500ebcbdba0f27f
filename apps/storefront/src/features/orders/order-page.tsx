import { Link, useParams } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { AddressBlock } from '../../components/address-block';
import { Confirm } from '../../components/dialog';
import { OrderItems } from '../../components/order-items';
import { OrderNumber } from '../../components/order-number';
import { useTitle } from '../../components/states';
import { StatusBadge } from '../../components/status-badge';
import { body, ecom, type Order } from '../../lib/api/client';
import { hasCode, sentence } from '../../lib/api/errors';
import { dateTime, orderNumber } from '../../lib/format';
import { notify } from '../../lib/notices';
import { reasonWords } from '../../lib/orders';
import { queryClient } from '../../lib/query';
import { WithOrder } from './with-order';

export function OrderPage(): ReactElement {
  const { id } = useParams({ from: '/orders/$id' });
  useTitle(`Order ${orderNumber(id)}`);
  return <WithOrder id={id} draw={(order) => <OrderDetail order={order} />} />;
}

async function cancel(order: Order): Promise<void> {
  try {
    const cancelled = await body(
      ecom().POST('/ecom/orders/{order_id}/cancel', { params: { path: { order_id: order.id } }, body: null }),
    );
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
  return (
    <article>
      <p className="kicker">
        <Link to="/orders">Your orders</Link>
      </p>
      <div className="title-row">
        <h1>
          Order <OrderNumber id={order.id} />
        </h1>{' '}
        <StatusBadge status={order.status} />
      </div>
      <p className="hint">Placed {dateTime(order.created_at)}</p>
      {order.status === 'CANCELLED' && order.cancel_reason ? (
        <p className="note">Cancelled: {reasonWords(order.cancel_reason)}</p>
      ) : null}
      <OrderItems order={order} to="/books/$id" />
      <AddressBlock shipping={order.shipping} />
      <dl className="facts ids">
        <div>
          <dt>Full number</dt>
          <dd>{order.id}</dd>
        </div>
      </dl>
      {order.status === 'CONFIRMED' ? (
        <Confirm title="Cancel this order?" action="Cancel order" onConfirm={() => cancel(order)}>
          <p>The books go back to the shelf. This cannot be undone.</p>
        </Confirm>
      ) : null}
    </article>
  );
}
