import { expect, test } from 'vitest';
import { closeAttempt, keyFor } from './attempt';

const order = { shipping: { name: 'Ada Reader', city: 'Springfield' }, expected_total: '21.98' };

test('the same order keeps its key over a reload', async () => {
  expect(await keyFor(order)).toBe(await keyFor({ ...order }));
});

test('a changed order is another attempt', async () => {
  expect(await keyFor(order)).not.toBe(await keyFor({ ...order, expected_total: '1.00' }));
});

test('after an outcome the same order is another one', async () => {
  const key = await keyFor(order);
  closeAttempt();
  expect(await keyFor(order)).not.toBe(key);
});

test('nothing of the address is stored', async () => {
  await keyFor(order);
  expect(sessionStorage).toHaveLength(1);
  expect(JSON.stringify(Object.entries(sessionStorage))).not.toMatch(/Ada|Springfield|21\.98/);
});
