import { useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Frame } from './frame';
import { StockList } from './stock-list';

export function LowStockPage(): ReactElement {
  const asked = useSearch({ from: '/admin/low-stock' });
  return (
    <Frame title="Low stock">
      <p className="hint">At or below their threshold, the fewest first.</p>
      <StockList asked={{ page: asked.page, low: true }} empty="Every book has enough copies." />
    </Frame>
  );
}
