import type { ReactElement } from 'react';
import type { OrderStatus } from '../lib/api/client';
import { STATUSES, STATUS_WORDS } from '../lib/orders';

/** Chooses the status of the orders that a list shows; undefined is all of them. */
export function StatusSelect({
  value,
  onChange,
}: {
  value: OrderStatus | undefined;
  onChange: (value: OrderStatus | undefined) => void;
}): ReactElement {
  return (
    <label>
      Status
      <select
        value={value ?? ''}
        onChange={(event) => {
          onChange((event.target.value || undefined) as OrderStatus | undefined);
        }}
      >
        <option value="">All</option>
        {STATUSES.map((one) => (
          <option key={one} value={one}>
            {STATUS_WORDS[one]}
          </option>
        ))}
      </select>
    </label>
  );
}
