import { beforeEach, expect, test } from 'vitest';
import type { Cart } from '../api/client';
import { queryClient } from '../query';
import { changeCart } from './changes';

const cart = (count: number): Cart => ({ items: [], count, total: '0.00' });

/** A request that is answered when told. */
function held(): {
  request: () => Promise<Cart>;
  started: () => boolean;
  answer: (cart: Cart) => void;
  fail: (error: Error) => void;
} {
  let started = false;
  let answer: (cart: Cart) => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const promise = new Promise<Cart>((resolve, reject) => {
    answer = resolve;
    fail = reject;
  });
  return {
    request: () => {
      started = true;
      return promise;
    },
    started: () => started,
    answer: (value) => {
      answer(value);
    },
    fail: (error) => {
      fail(error);
    },
  };
}

beforeEach(() => {
  queryClient.clear();
});

test('a change waits for the one before, and the last answer is the cart', async () => {
  const first = held();
  const second = held();
  const changes = [changeCart(first.request), changeCart(second.request)];
  await Promise.resolve();
  expect([first.started(), second.started()]).toEqual([true, false]);
  first.answer(cart(1));
  await changes[0];
  expect(queryClient.getQueryData(['cart'])).toEqual(cart(1));
  second.answer(cart(2));
  await changes[1];
  expect(queryClient.getQueryData(['cart'])).toEqual(cart(2));
});

test('a change that fails tells so and lets the next one through', async () => {
  const first = held();
  const failed = changeCart(first.request);
  const next = changeCart(() => Promise.resolve(cart(3)));
  first.fail(new Error('no answer'));
  await expect(failed).rejects.toThrow('no answer');
  await next;
  expect(queryClient.getQueryData(['cart'])).toEqual(cart(3));
});

test('a cart that was being read does not overwrite the change', async () => {
  const reading = held();
  void queryClient.query({ queryKey: ['cart'], queryFn: reading.request }).catch(() => undefined);
  await changeCart(() => Promise.resolve(cart(4)));
  reading.answer(cart(1));
  await Promise.resolve();
  expect(queryClient.getQueryData(['cart'])).toEqual(cart(4));
});
