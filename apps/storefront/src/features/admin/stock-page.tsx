import { useNavigate, useSearch } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Frame, SearchForm } from './frame';
import { StockList } from './stock-list';

export function StockPage(): ReactElement {
  const asked = useSearch({ from: '/admin/stock' });
  const navigate = useNavigate({ from: '/admin/stock' });
  return (
    <Frame title="Stock">
      <SearchForm
        key={asked.q ?? ''}
        label="Search stock"
        value={asked.q}
        onSearch={(q) => void navigate({ search: { q } })}
      />
      <StockList asked={asked} empty="No books match." />
    </Frame>
  );
}
