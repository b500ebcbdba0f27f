import { Link } from '@tanstack/react-router';
import { useEffect, useRef, useState, type ReactElement } from 'react';
import { Button } from '../../components/button';
import { Cover } from '../../components/cover';
import { Confirm } from '../../components/dialog';
import { useFocusHeir } from '../../components/focus';
import { Quantity } from '../../components/quantity';
import { Skipped } from '../../components/skipped';
import { ErrorNote, ErrorPanel, Loading, Panel, useTitle } from '../../components/states';
import { StockException } from '../../components/stock-badge';
import { sentence } from '../../lib/api/errors';
import { useSession } from '../../lib/auth/session';
import { soldOut, useStock, type StockInfo } from '../../lib/books';
import { useCartChanging } from '../../lib/cart/changes';
import { bare, money, plural } from '../../lib/format';
import { notify } from '../../lib/notices';
import { clearCart, setQuantity, useCartView, type Line } from './use-lines';

/** Why a line cannot be ordered, if it cannot. An unknown stock is no reason: the order itself will tell. */
function hindrance(line: Line, stock: StockInfo): string | null {
  if (!line.forSale) return 'This book is no longer sold. Remove it to check out.';
  if (soldOut(stock)) return 'Out of stock. Remove it to check out.';
  if (stock.available !== undefined && stock.available < line.quantity)
    return `Only ${String(stock.available)} can be delivered. Lower the quantity to check out.`;
  return null;
}

export function CartPage(): ReactElement {
  useTitle('Cart');
  const { lines, total, error, retry } = useCartView();
  const changing = useCartChanging();
  const stock = useStock((lines ?? []).map((line) => line.bookId));
  if (error) return <ErrorPanel error={error} level="h1" onRetry={retry} />;
  // A guest's books are on their way into the customer's cart.
  if (!lines || (lines.length === 0 && changing)) return <Loading level="h1" label="Loading the cart" />;
  if (lines.length === 0) {
    return (
      <>
        <Skipped />
        <Panel title="Your cart is empty" level="h1" mark="∅">
          <p>Books that you add wait here until you order them.</p>
          <p>
            <Link className="button" to="/">
              Browse the catalogue
            </Link>
          </p>
        </Panel>
      </>
    );
  }
  const blocked = lines.filter((line) => hindrance(line, stock(line.bookId)) !== null).length;
  const copies = lines.reduce((sum, line) => sum + line.quantity, 0);
  return (
    <>
      <h1>Your cart</h1>
      <Skipped />
      <div className="split">
        <div>
          <ul className="lines">
            {lines.map((line) => (
              <CartRow key={line.id} line={line} stock={stock(line.bookId)} />
            ))}
          </ul>
          <Confirm title="Empty the cart?" action="Clear cart" onConfirm={clearCart}>
            <p>All {plural(copies, 'copy', 'copies')} will be taken out.</p>
          </Confirm>
        </div>
        <Summary total={total} copies={copies} blocked={blocked} />
      </div>
    </>
  );
}

function CartRow({ line, stock }: { line: Line; stock: StockInfo }): ReactElement {
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const row = useRef<HTMLLIElement>(null);
  const shown = useRef(true);
  useEffect(() => {
    shown.current = true;
    return () => {
      shown.current = false;
    };
  }, []);
  useFocusHeir(row);
  const change = async (quantity: number) => {
    setBusy(true);
    setError(null);
    try {
      await setQuantity(line, quantity);
    } catch (caught) {
      setError(caught);
      if (!shown.current) notify(`“${bare(line.title)}” was not changed in your cart. ${sentence(caught)}`, 'bad');
    } finally {
      setBusy(false);
    }
  };
  const reason = hindrance(line, stock);
  return (
    <li className="line" ref={row} data-testid="cart-line">
      <Link to="/books/$id" params={{ id: line.bookId }} className="line-cover" tabIndex={-1} aria-hidden="true">
        <Cover title={line.title} author={line.author ?? ''} />
      </Link>
      <div className="line-text">
        <h2>
          <Link to="/books/$id" params={{ id: line.bookId }}>
            <bdi>{line.title}</bdi>
          </Link>
        </h2>
        {line.author ? (
          <p className="card-author">
            <bdi>{line.author}</bdi>
          </p>
        ) : null}
        <p>
          <span className="price">{money(line.price)}</span> {reason === null ? <StockException info={stock} /> : null}
        </p>
        {reason ? <p className="note note-bad">{reason}</p> : null}
        <ErrorNote error={error} />
      </div>
      <div className="line-end">
        <Quantity
          label={`Copies of ${bare(line.title)}`}
          value={line.quantity}
          min={0}
          busy={busy}
          onChange={(value) => void change(value)}
        />
        <Button
          className="link-button"
          off={busy}
          aria-label={`Remove ${bare(line.title)}`}
          onClick={() => void change(0)}
        >
          Remove
        </Button>
        <p className="line-total" data-testid="line-total">
          {money(line.lineTotal)}
        </p>
      </div>
    </li>
  );
}

/** A guest comes back here: what could not be moved into the customer's cart is told before anything is ordered (SPEC 6). */
function ToCheckout(): ReactElement {
  const session = useSession();
  if (session.status === 'guest')
    return (
      <Link className="button button-large" to="/login" search={{ return: '/cart' }}>
        Sign in to check out
      </Link>
    );
  return (
    <Link className="button button-large" to="/checkout">
      Check out
    </Link>
  );
}

function Summary({ total, copies, blocked }: { total: string; copies: number; blocked: number }): ReactElement {
  return (
    <aside className="summary" aria-label="Summary">
      <h2>Summary</h2>
      <dl>
        <div>
          <dt>Copies</dt>
          <dd>{copies}</dd>
        </div>
        <div>
          <dt>Delivery</dt>
          <dd>Free</dd>
        </div>
        <div className="summary-total">
          <dt>Total</dt>
          <dd data-testid="cart-total">{money(total)}</dd>
        </div>
      </dl>
      {blocked > 0 ? (
        <>
          <button type="button" className="button button-large" disabled aria-describedby="blocked">
            Check out
          </button>
          <p className="note note-bad" id="blocked">
            {plural(blocked, 'line')} cannot be delivered as it stands. Change what is marked to go on.
          </p>
        </>
      ) : (
        <ToCheckout />
      )}
      <p className="hint">You pay on delivery.</p>
    </aside>
  );
}
