import type { ReactElement } from 'react';
import type { StockInfo, StockState } from '../lib/books';

const WORDS: Record<StockState, string> = {
  loading: 'Checking…',
  unknown: 'Stock unknown',
  none: 'Out of stock',
  in_stock: 'In stock',
  low_stock: 'Low stock',
  out_of_stock: 'Out of stock',
};

export function StockBadge({ info, exact = false }: { info: StockInfo; exact?: boolean }): ReactElement {
  const { state, available } = info;
  let words = WORDS[state];
  if (state === 'low_stock' && available !== undefined) words = `Only ${String(available)} left`;
  else if (state === 'in_stock' && exact && available !== undefined) words = `In stock: ${String(available)} copies`;
  return <span className="badge" data-stock={state === 'none' ? 'out_of_stock' : state}>{words}</span>;
}
