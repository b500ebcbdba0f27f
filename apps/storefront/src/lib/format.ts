const dollars = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD' });
const day = new Intl.DateTimeFormat('en-US', { dateStyle: 'medium' });
const moment = new Intl.DateTimeFormat('en-US', { dateStyle: 'medium', timeStyle: 'short' });

/** A number as the APIs write amounts: `9.9` gives `9.90`. */
export const amount = (value: string | number): string => Number(value).toFixed(2);
/** A decimal string of the API as money: `9.9` gives `$9.90`. */
export const money = (amount: string): string => dollars.format(Number(amount));
export const date = (iso: string): string => day.format(new Date(iso));
export const dateTime = (iso: string): string => moment.format(new Date(iso));
/** What people read to each other of an order's id. */
export const orderNumber = (id: string): string => id.slice(0, 8).toUpperCase();
/** A value that may not be known, or not be given. */
export const known = (value: string | number | null | undefined): string =>
  value === null || value === undefined ? '–' : String(value);
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${String(count)} ${count === 1 ? one : many}`;
/** Where the API ends counting: the total of a list of orders or movements, and of books or stock. */
export const COUNTED = { orders: 10_000, books: 100_000 };
/** The total of a list in words: `10000 or more orders` where the API counted no further. */
export const counted = (count: number, end: number, one: string): string =>
  count >= end ? `${String(count)} or more ${one}s` : plural(count, one);

/** Sum of price times quantity, exact in cents. */
export function total(lines: { price: string; quantity: number }[]): string {
  const cents = lines.reduce((sum, line) => sum + Math.round(Number(line.price) * 100) * line.quantity, 0);
  return amount(cents / 100);
}

/**
 * Somebody's words within a sentence of plain text, where no element can keep them apart: without the characters that turn the
 * direction of what follows. On a page they stand in a `<bdi>`.
 */
export const bare = (words: string): string => words.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '');
