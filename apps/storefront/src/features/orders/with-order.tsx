import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { ErrorPanel, Loading, Panel, useTitle } from '../../components/states';
import type { Order } from '../../lib/api/client';
import { isMissing } from '../../lib/api/errors';
import { orderQuery } from './queries';

/** Draws an order once it is there. */
export function WithOrder({ id, draw }: { id: string; draw: (order: Order) => ReactElement }): ReactElement {
  const { data, error, refetch } = useQuery(orderQuery(id));
  if (isMissing(error)) return <OrderMissing />;
  if (data) return draw(data);
  return error ? (
    <ErrorPanel error={error} level="h1" onRetry={() => void refetch()} />
  ) : (
    <Loading level="h1" label="Loading the order" />
  );
}

function OrderMissing(): ReactElement {
  useTitle('Order not found');
  return (
    <Panel title="Order not found" level="h1" mark="404">
      <p>There is no such order in your account.</p>
      <p>
        <Link className="button" to="/orders">
          Your orders
        </Link>
      </p>
    </Panel>
  );
}
