import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { body, ecom, type Order, type OrderStatus } from '../../lib/api/client';

export const orderQuery = (id: string) =>
  queryOptions({
    queryKey: ['order', id],
    queryFn: ({ signal }): Promise<Order> =>
      body(ecom().GET('/ecom/orders/{order_id}', { params: { path: { order_id: id } }, signal })),
  });

export const ordersQuery = (page: number, status: OrderStatus | undefined) =>
  queryOptions({
    queryKey: ['orders', page, status],
    queryFn: ({ signal }) =>
      body(ecom().GET('/ecom/orders', { params: { query: { page, size: 10, ...(status && { status }) } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 5_000,
  });
