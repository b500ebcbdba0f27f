import { useEffect, useRef, useState, type ReactElement } from 'react';
import { sentence } from '../lib/api/errors';
import { addToCart } from '../lib/cart/cart';
import { bare } from '../lib/format';
import { notify } from '../lib/notices';
import { Button } from './button';

interface Props {
  bookId: string;
  title: string;
  quantity?: number;
  soldOut?: boolean;
  /** What stands in the field beside it is no quantity. */
  blocked?: boolean;
  className?: string;
}

/** Puts copies into the cart and says so on itself. */
export function AddToCart({
  bookId,
  title,
  quantity = 1,
  soldOut = false,
  blocked = false,
  className = 'button',
}: Props): ReactElement {
  const [state, setState] = useState<'idle' | 'busy' | 'done'>('idle');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
    },
    [],
  );
  const add = async () => {
    clearTimeout(timer.current);
    setState('busy');
    try {
      await addToCart(bookId, quantity);
      setState('done');
      notify(`“${bare(title)}” is in your cart.`, 'good', '/cart');
      timer.current = setTimeout(() => {
        setState('idle');
      }, 2500);
    } catch (error) {
      setState('idle');
      notify(sentence(error), 'bad');
    }
  };
  const words = soldOut ? 'Sold out' : state === 'done' ? 'Added ✓' : 'Add to cart';
  return (
    <Button
      className={className}
      off={soldOut || blocked || state === 'busy'}
      aria-label={`${words}: ${bare(title)}`}
      data-state={state}
      onClick={() => void add()}
    >
      {words}
    </Button>
  );
}
