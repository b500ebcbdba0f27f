import type { ReactElement } from 'react';
import { orderNumber } from '../lib/format';

/** An order's short number, in the font whose figures cannot be mistaken for letters. */
export const OrderNumber = ({ id, testId }: { id: string; testId?: string }): ReactElement => (
  <span className="order-number" data-testid={testId}>
    {orderNumber(id)}
  </span>
);
