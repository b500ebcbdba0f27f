import type { ReactElement } from 'react';
import type { Order } from '../lib/api/client';

type Shipping = Omit<Order['shipping'], 'line2'> & { line2?: string | null };

/** Where an order goes, for customers and administrators alike. */
export function AddressBlock({ shipping }: { shipping: Shipping }): ReactElement {
  const { name, line1, line2, postal_code: code, city, country } = shipping;
  const lines = [name, line1, line2, `${code} ${city}`, country].filter(Boolean);
  return (
    <section className="address" aria-label="Delivery address">
      <h2>Goes to</h2>
      {/* Two lines may be equal: a line's place is its key. */}
      <address>
        {lines.map((line, place) => (
          <span key={place}>
            <bdi>{line}</bdi>
          </span>
        ))}
      </address>
    </section>
  );
}
