import { Link, useParams } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { OrderItems } from '../../components/order-items';
import { OrderNumber } from '../../components/order-number';
import { useTitle } from '../../components/states';
import type { Order } from '../../lib/api/client';
import { dateTime, money } from '../../lib/format';
import { reasonWords } from '../../lib/orders';
import { WithOrder } from './with-order';

export function ConfirmationPage(): ReactElement {
  const { id } = useParams({ from: '/order-confirmation/$id' });
  return <WithOrder id={id} draw={(order) => <Receipt order={order} />} />;
}

function Receipt({ order }: { order: Order }): ReactElement {
  const cancelled = order.status === 'CANCELLED';
  useTitle(cancelled ? 'Order cancelled' : 'Thank you');
  return (
    <article className="receipt">
      <span className="stamp" data-bad={cancelled} aria-hidden="true">
        {cancelled ? '×' : '✓'}
      </span>
      <h1>{cancelled ? 'This order was cancelled' : 'Thank you, your order is placed'}</h1>
      <p>
        Order{' '}
        <strong>
          <OrderNumber id={order.id} testId="order-number" />
        </strong>{' '}
        of {dateTime(order.created_at)}.{' '}
        {cancelled
          ? `Cancelled: ${reasonWords(order.cancel_reason ?? 'by the shop')}. You pay nothing.`
          : `You pay ${money(order.total)} on delivery.`}
      </p>
      <OrderItems order={order} to="/books/$id" />
      <p className="row">
        <Link className="button" to="/orders/$id" params={{ id: order.id }}>
          See the order
        </Link>
        <Link className="button button-quiet" to="/">
          Go on browsing
        </Link>
      </p>
    </article>
  );
}
