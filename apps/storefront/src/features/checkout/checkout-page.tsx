import { zodResolver } from '@hookform/resolvers/zod';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState, type ReactElement } from 'react';
import { useForm } from 'react-hook-form';
import { Button } from '../../components/button';
import { Field, Select } from '../../components/field';
import { Skipped } from '../../components/skipped';
import { ErrorNote, ErrorPanel, Loading, Panel, useTitle } from '../../components/states';
import type { Cart } from '../../lib/api/client';
import { hasCode, NetworkError } from '../../lib/api/errors';
import { cartQuery } from '../../lib/cart/cart';
import { useCartChanging } from '../../lib/cart/changes';
import { useDraft, useKeptOnLeaving } from '../../lib/drafts';
import { tieToFields } from '../../lib/form-errors';
import { money } from '../../lib/format';
import { queryClient } from '../../lib/query';
import { closeAttempt } from './attempt';
import { COUNTRIES } from './countries';
import { place } from './place';
import { FIELDS, shippingSchema, type Shipping } from './schema';

const NOWHERE: Shipping = { name: '', line1: '', line2: '', city: '', postal_code: '', country: '' };

export function CheckoutPage(): ReactElement {
  useTitle('Checkout');
  const { data, error, refetch } = useQuery(cartQuery);
  const changing = useCartChanging();
  const [done, setDone] = useState(false);
  if (done) return <Loading level="h1" label="Your order is placed" />;
  if (changing) return <Loading level="h1" label="Loading the checkout" />;
  if (!data)
    return error ? (
      <ErrorPanel error={error} level="h1" onRetry={() => void refetch()} />
    ) : (
      <Loading level="h1" label="Loading the checkout" />
    );
  if (data.count === 0)
    return (
      <>
        <Skipped />
        <NothingToOrder />
      </>
    );
  return (
    <Checkout
      cart={data}
      onDone={() => {
        setDone(true);
      }}
    />
  );
}

function NothingToOrder(): ReactElement {
  // An attempt whose answer got lost has emptied the cart: the next order is another one.
  useEffect(closeAttempt, []);
  return (
    <Panel title="Your cart is empty" level="h1" mark="∅">
      <p>There is nothing to order. If you just placed an order, you find it among your orders.</p>
      <p className="row">
        <Link className="button" to="/">
          Browse the catalogue
        </Link>
        <Link className="button button-quiet" to="/orders">
          Your orders
        </Link>
      </p>
    </Panel>
  );
}

function Checkout({ cart, onDone }: { cart: Cart; onDone: () => void }): ReactElement {
  const navigate = useNavigate();
  const [failure, setFailure] = useState<unknown>(null);
  const [seen, setSeen] = useState(cart.total);
  const running = useRef(false);
  const button = useRef<HTMLButtonElement>(null);
  const form = useForm<Shipping>({
    resolver: zodResolver(shippingSchema),
    defaultValues: useDraft('checkout', NOWHERE),
    mode: 'onTouched',
  });
  useKeptOnLeaving('checkout', form.getValues);
  const { errors, isSubmitting } = form.formState;
  const send = async (address: Shipping) => {
    // State comes a moment after a double click.
    if (running.current) return;
    running.current = true;
    setFailure(null);
    try {
      const order = await place(cart, address);
      queryClient.setQueryData(['order', order.id], order);
      queryClient.setQueryData<Cart>(['cart'], { items: [], count: 0, total: '0.00' });
      onDone();
      void queryClient.invalidateQueries({ queryKey: ['cart'] });
      void queryClient.invalidateQueries({ queryKey: ['stock'] });
      queryClient.removeQueries({ queryKey: ['orders'] });
      await navigate({ to: '/order-confirmation/$id', params: { id: order.id }, replace: true });
    } catch (error) {
      setFailure(tieToFields(error, FIELDS, form.setError));
      if (hasCode(error, 'price_changed') || hasCode(error, 'out_of_stock') || hasCode(error, 'cart_empty')) {
        if (hasCode(error, 'cart_empty')) closeAttempt();
        await queryClient.refetchQueries({ queryKey: ['cart'] });
        void queryClient.invalidateQueries({ queryKey: ['stock'] });
      }
    } finally {
      running.current = false;
    }
  };
  const bind = (name: keyof Shipping) => ({ ...form.register(name), error: errors[name]?.message });
  const missing = hasCode(failure, 'out_of_stock') ? (failure.problem.book_ids ?? []) : [];
  return (
    <>
      <h1>Checkout</h1>
      <Skipped />
      <form
        className="checkout"
        noValidate
        onSubmit={(event) => void form.handleSubmit(send)(event)}
        aria-label="Delivery address"
      >
        <fieldset>
          <legend>Where shall the books go?</legend>
          <Field label="Full name" autoComplete="name" maxLength={100} {...bind('name')} />
          <Field label="Street and number" autoComplete="address-line1" maxLength={255} {...bind('line1')} />
          <Field
            label="Flat, floor, company"
            optional
            autoComplete="address-line2"
            maxLength={255}
            {...bind('line2')}
          />
          <div className="fields">
            <Field label="Postal code" autoComplete="postal-code" maxLength={20} {...bind('postal_code')} />
            <Field label="City" autoComplete="address-level2" maxLength={100} {...bind('city')} />
          </div>
          <Select label="Country" autoComplete="country-name" required {...bind('country')}>
            <option value="">Choose a country</option>
            {COUNTRIES.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </Select>
        </fieldset>
        <OrderSummary cart={cart} missing={missing} before={seen} />
        <div className="checkout-send">
          <Failure
            error={failure}
            cart={cart}
            onAccept={() => {
              setSeen(cart.total);
              setFailure(null);
              button.current?.focus();
            }}
          />
          <Button type="submit" ref={button} className="button button-large" off={isSubmitting}>
            {isSubmitting ? 'Placing your order…' : `Place order · ${money(cart.total)}`}
          </Button>
          <p className="hint">You pay on delivery. Nothing is charged now.</p>
        </div>
      </form>
    </>
  );
}

function Failure({ error, cart, onAccept }: { error: unknown; cart: Cart; onAccept: () => void }): ReactElement | null {
  if (hasCode(error, 'price_changed')) {
    return (
      <div className="note note-bad" role="alert">
        <p>
          <strong>The price has changed.</strong> The new total is{' '}
          <strong>{money(error.problem.total ?? cart.total)}</strong>. Nothing was ordered yet.
        </p>
        <button type="button" className="link-button" onClick={onAccept}>
          I have seen it
        </button>
      </div>
    );
  }
  if (hasCode(error, 'out_of_stock')) {
    return (
      <p className="note note-bad" role="alert">
        <strong>Some books cannot be delivered in this quantity.</strong> They are marked in the summary; nothing was
        ordered. <Link to="/cart">Change your cart</Link>
      </p>
    );
  }
  if (error instanceof NetworkError && !error.waiting) {
    return (
      <p className="note note-bad" role="alert">
        <strong>No answer came.</strong> Press “Place order” again once you are connected: the same order is never made
        twice.
      </p>
    );
  }
  return <ErrorNote error={error} />;
}

function OrderSummary({ cart, missing, before }: { cart: Cart; missing: string[]; before: string }): ReactElement {
  return (
    <aside className="summary" aria-label="Order summary">
      <h2>Your order</h2>
      <ul className="summary-lines">
        {cart.items.map((item) => (
          <li key={item.id} data-missing={missing.includes(item.book_id)}>
            <span>
              {item.quantity} × <bdi>{item.title}</bdi>
              {missing.includes(item.book_id) ? <strong className="field-error">Not enough in stock</strong> : null}
            </span>
            <span>{money(item.line_total)}</span>
          </li>
        ))}
      </ul>
      <dl>
        <div>
          <dt>Delivery</dt>
          <dd>Free</dd>
        </div>
        <div className="summary-total">
          <dt>Total</dt>
          <dd data-testid="checkout-total">
            {before !== cart.total ? <s>{money(before)}</s> : null} {money(cart.total)}
          </dd>
        </div>
      </dl>
      <p>
        <Link to="/cart">Change your cart</Link>
      </p>
    </aside>
  );
}
