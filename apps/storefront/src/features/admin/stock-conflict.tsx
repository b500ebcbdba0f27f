import type { ReactElement } from 'react';
import { Button } from '../../components/button';
import { Dialog } from '../../components/dialog';
import { bare, known, plural } from '../../lib/format';
import type { Movement, StockRow } from './queries';

/** The stock as it is now, as a refused change tells it. */
export interface StockNow {
  version: number;
  quantity: number;
  reserved: number;
  low_stock_threshold: number;
}

type Counts = Pick<StockRow, 'quantity' | 'reserved' | 'low_stock_threshold'>;

const copies = (count: number): string => plural(count, 'copy', 'copies');

/** Lines of the audit, newest first, that lead from `before` to `now`; null if those given do not tell. */
export function since(movements: Movement[], before: Counts, now: StockNow): Movement[] | null {
  let [quantity, reserved] = [now.quantity, now.reserved];
  const found: Movement[] = [];
  for (const one of movements) {
    if (quantity === (before.quantity ?? 0) && reserved === (before.reserved ?? 0)) return found;
    found.push(one);
    quantity -= one.delta;
    reserved -= one.reserved_delta;
  }
  return quantity === (before.quantity ?? 0) && reserved === (before.reserved ?? 0) ? found : null;
}

/** What these lines mean, orders first: an order that was placed has two, its hold and the end of it. */
export function happened(movements: Movement[]): string[] {
  const orders = new Map<string, [shelf: number, reserved: number]>();
  const others: string[] = [];
  for (const { delta, reserved_delta: held, reason, order_id: order } of movements) {
    if (order === null) {
      others.push(`${delta > 0 ? '+' : ''}${String(delta)} by an administrator: ${bare(reason)}`);
      continue;
    }
    const [shelf, reserved] = orders.get(order) ?? [0, 0];
    orders.set(order, [shelf + delta, reserved + held]);
  }
  const sums = { sold: 0, held: 0, free: 0, back: 0 };
  for (const [shelf, reserved] of orders.values()) {
    if (shelf < 0) sums.sold -= shelf;
    else if (shelf > 0) sums.back += shelf;
    else if (reserved > 0) sums.held += reserved;
    else sums.free -= reserved;
  }
  return [
    ...(sums.sold > 0 ? [`${copies(sums.sold)} ordered, no longer on the shelf`] : []),
    ...(sums.held > 0 ? [`${copies(sums.held)} reserved for an order, still on the shelf`] : []),
    ...(sums.free > 0 ? [`${copies(sums.free)} no longer reserved`] : []),
    ...(sums.back > 0 ? [`${copies(sums.back)} back from cancelled orders`] : []),
    ...others,
  ];
}

const ROWS = [
  ['Copies on the shelf', 'quantity'],
  ['Of these reserved', 'reserved'],
  ['Low-stock threshold', 'low_stock_threshold'],
] as const;

interface Props {
  /** What was seen when typing began. */
  before: Counts;
  mine: { quantity: string; low_stock_threshold: string };
  /** What a refused change told; null as long as none was. */
  now: StockNow | null;
  /** Lines between the two; null if they are not known. */
  changes: Movement[] | null;
  busy: boolean;
  onClose: () => void;
  onLatest: () => void;
  onOver: (version: number) => void;
}

/** The stock changed while the administrator counted: what it was, what it is, why, and the ways on. */
export function StockConflict({ before, mine, now, changes, busy, onClose, onLatest, onOver }: Props): ReactElement {
  const words = happened(changes ?? []);
  return (
    <Dialog title="Stock changed meanwhile" role="alertdialog" open={now !== null} onClose={onClose}>
      <p>
        {now !== null && now.quantity !== (before.quantity ?? 0)
          ? `There were ${copies(before.quantity ?? 0)} on the shelf when you began, now there are ${String(now.quantity)}.`
          : 'The copies on the shelf are as many as when you began.'}{' '}
        Nothing was saved: a count of before would be wrong by now.
      </p>
      {words.length > 0 ? (
        <ul aria-label="What happened">
          {words.map((one) => (
            <li key={one}>
              <bdi>{one}</bdi>
            </li>
          ))}
        </ul>
      ) : null}
      <div className="table-box" role="region" aria-label="Differences" tabIndex={0}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Stock</th>
              <th scope="col" className="number">
                Before
              </th>
              <th scope="col" className="number">
                Now
              </th>
              <th scope="col" className="number">
                Yours
              </th>
            </tr>
          </thead>
          <tbody>
            {ROWS.map(([label, name]) => (
              <tr key={name}>
                <th scope="row">{label}</th>
                <td className="number">{known(before[name])}</td>
                <td className="number">{known(now?.[name])}</td>
                <td className="number">{known(name === 'reserved' ? null : mine[name])}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="row row-end">
        <button type="button" className="button button-quiet" onClick={onClose}>
          Keep typing
        </button>
        <Button
          className="button button-quiet"
          off={busy}
          onClick={() => {
            if (now) onOver(now.version);
          }}
        >
          Set mine all the same
        </Button>
        <button type="button" className="button" onClick={onLatest}>
          Take what is there now
        </button>
      </div>
    </Dialog>
  );
}
