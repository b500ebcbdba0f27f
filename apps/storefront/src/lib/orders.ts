import type { OrderStatus } from './api/client';

export const STATUS_WORDS: Record<OrderStatus, string> = {
  CONFIRMED: 'Confirmed',
  SHIPPED: 'Shipped',
  DELIVERED: 'Delivered',
  CANCELLED: 'Cancelled',
};
export const STATUSES = Object.keys(STATUS_WORDS) as OrderStatus[];

/** Reasons that the services give themselves; any other is somebody's own words. */
const REASONS: Record<string, string> = {
  out_of_stock: 'the books were out of stock',
  cancelled_by_customer: 'by the customer',
  cancelled_by_admin: 'by the shop',
};
export const reasonWords = (reason: string): string => REASONS[reason] ?? reason;
