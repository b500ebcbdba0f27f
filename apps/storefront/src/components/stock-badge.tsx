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

interface Props {
  info: StockInfo;
  /** With the number of copies. */
  exact?: boolean;
}

/** What is to be known of a book's stock, whatever it is. */
export function StockBadge({ info, exact = false }: Props): ReactElement {
  const { state, available } = info;
  let words = WORDS[state];
  if (state === 'low_stock' && available !== undefined) words = `Only ${String(available)} left`;
  else if (state === 'in_stock' && exact && available !== undefined) words = `In stock: ${String(available)} copies`;
  return (
    <span className="badge" data-stock={state === 'none' ? 'out_of_stock' : state}>
      {words}
    </span>
  );
}

/** In lists, where most books can be had: a word only for those whose stock is low or not known. Of sold-out ones the button speaks. */
export const StockException = ({ info }: { info: StockInfo }): ReactElement | null =>
  info.state === 'low_stock' || info.state === 'unknown' ? <StockBadge info={info} /> : null;
