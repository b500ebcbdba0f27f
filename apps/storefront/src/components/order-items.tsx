import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import type { Order } from '../lib/api/client';
import { money } from '../lib/format';
import { DataTable, type Column } from './data-table';

interface Props {
  order: Pick<Order, 'items' | 'total'>;
  /** Where a book's title leads: to its page in the shop, or to the form that changes it. */
  to: '/books/$id' | '/admin/books/$id';
}

/** What was ordered at which price, with the total, for customers and administrators alike. */
export function OrderItems({ order, to }: Props): ReactElement {
  const columns: Column<Order['items'][number]>[] = [
    {
      head: 'Book',
      cell: (item) => (
        <Link to={to} params={{ id: item.book_id }}>
          <bdi>{item.title}</bdi>
        </Link>
      ),
    },
    { head: 'Copies', number: true, cell: (item) => item.quantity },
    { head: 'Price', number: true, cell: (item) => money(item.price) },
    { head: 'Sum', number: true, cell: (item) => money(item.line_total) },
  ];
  const total = { name: 'Total', value: <span data-testid="order-total">{money(order.total)}</span> };
  return <DataTable label="Items" columns={columns} rows={order.items} keyOf={(item) => item.book_id} total={total} />;
}
