import { expect, test } from 'vitest';
import type { Movement } from './queries';
import { happened, since } from './stock-conflict';

let id = 100;
const line = (delta: number, reserved: number, reason: string, order: string | null = null): Movement => ({
  id: (id -= 1),
  book_id: 'b',
  delta,
  reserved_delta: reserved,
  reason,
  order_id: order,
  actor: 'a',
  created_at: '2026-01-06T09:00:00Z',
});
const counts = (quantity: number, reserved: number) => ({ quantity, reserved, low_stock_threshold: 5 });
const now = (quantity: number, reserved: number) => ({ ...counts(quantity, reserved), version: 9 });

test('an order between opening and saving: ten copies, now seven, three ordered', () => {
  const lines = [line(-3, -3, 'committed', 'o1'), line(0, 3, 'reserved', 'o1'), line(10, 0, 'seed')];
  expect(since(lines, counts(10, 0), now(7, 0))).toEqual(lines.slice(0, 2));
  expect(happened(lines.slice(0, 2))).toEqual(['3 copies ordered, no longer on the shelf']);
});

test('each kind of change has its words', () => {
  expect(
    happened([
      line(0, 1, 'reserved', 'o1'),
      line(0, -2, 'expired', 'o2'),
      line(4, 0, 'restocked', 'o3'),
      line(-2, 0, 'water'),
      line(5, 0, 'set'),
    ]),
  ).toEqual([
    '1 copy reserved for an order, still on the shelf',
    '2 copies no longer reserved',
    '4 copies back from cancelled orders',
    '-2 by an administrator: water',
    '+5 by an administrator: set',
  ]);
  // Reserved before the editor was opened, taken after.
  expect(happened([line(-2, -2, 'committed', 'o4')])).toEqual(['2 copies ordered, no longer on the shelf']);
  // Held and given back: nothing is left of it.
  expect(happened([line(0, -1, 'released', 'o5'), line(0, 1, 'reserved', 'o5')])).toEqual([]);
});

test('a history that does not lead there is not told', () => {
  expect(since([line(-1, 0, 'lost')], counts(10, 0), now(7, 0))).toBeNull();
  expect(since([], counts(10, 0), now(10, 0))).toEqual([]);
});
