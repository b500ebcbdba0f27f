import type { ReactElement } from 'react';
import type { OrderStatus } from '../lib/api/client';
import { STATUS_WORDS } from '../lib/orders';

export const StatusBadge = ({ status }: { status: OrderStatus }): ReactElement => (
  <span className="badge" data-status={status}>
    {STATUS_WORDS[status]}
  </span>
);
