import type { ReactElement } from 'react';
import type { StockRow } from './queries';

const WORDS: Record<StockRow['stock_status'], string> = {
  in_stock: 'In stock',
  low_stock: 'Low',
  out_of_stock: 'Out',
  pending: 'Not set yet',
  unknown: 'Unknown',
};

export const StockWord = ({ status }: { status: StockRow['stock_status'] }): ReactElement => (
  <span className="badge" data-stock={status}>
    {WORDS[status]}
  </span>
);
