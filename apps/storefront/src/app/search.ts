import { SORTS } from '../features/catalog/sorts';
import { STATUSES } from '../lib/orders';

/** Addresses carry plain texts: `?q=42` searches for the text 42, not for a number. */
export const parseSearch = (text: string): Record<string, string> => Object.fromEntries(new URLSearchParams(text));

export function stringifySearch(search: Record<string, unknown>): string {
  const kept = Object.entries(search).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const text = new URLSearchParams(kept.map(([key, value]) => [key, String(value)])).toString();
  return text === '' ? '' : `?${text}`;
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, 200) : undefined;
const oneOf = <T extends string>(value: unknown, known: readonly T[]): T | undefined =>
  known.find((one) => one === value);

const day = (value: unknown): string | undefined => {
  const found = text(value);
  return found !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(found) && !Number.isNaN(Date.parse(found))
    ? found
    : undefined;
};

function pageOf(value: unknown): number | undefined {
  const page = Number(value);
  return Number.isInteger(page) && page > 1 && page <= 100_000 ? page : undefined;
}

/** All may be left out of a link. */
type Loose<T> = { [K in keyof T]?: T[K] | undefined };
const loose = <T extends object>(found: T): Loose<T> => found;

export const catalogueSearch = (raw: Record<string, unknown>) =>
  loose({
    page: pageOf(raw.page),
    sort: oneOf(
      raw.sort,
      SORTS.map(([sort]) => sort),
    ),
    genre: text(raw.genre),
  });
export const querySearch = (raw: Record<string, unknown>) => loose({ q: text(raw.q), page: pageOf(raw.page) });
export const ordersSearch = (raw: Record<string, unknown>) =>
  loose({ page: pageOf(raw.page), status: oneOf(raw.status, STATUSES) });
export const loginSearch = (raw: Record<string, unknown>) =>
  loose({ return: text(raw.return), failed: text(raw.failed), register: text(raw.register) });
export const adminBooksSearch = (raw: Record<string, unknown>) =>
  loose({ page: pageOf(raw.page), q: text(raw.q), active: oneOf(raw.active, ['true', 'false'] as const) });
export const adminStockSearch = (raw: Record<string, unknown>) => loose({ page: pageOf(raw.page), q: text(raw.q) });
export const adminOrdersSearch = (raw: Record<string, unknown>) =>
  loose({
    page: pageOf(raw.page),
    status: oneOf(raw.status, STATUSES),
    from: day(raw.from),
    to: day(raw.to),
    user_id: text(raw.user_id),
  });
