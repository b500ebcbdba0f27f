import { beforeEach, expect, test, vi } from 'vitest';
import { dismiss, dismissAbout, notices, notify } from './notices';

const texts = (): string[] => notices.get().map((one) => one.text);

beforeEach(() => {
  vi.useFakeTimers();
  notices.set([]);
});

test('good news goes by itself, bad news stays until it is dismissed, whatever comes after', () => {
  notify('lost', 'bad');
  for (const text of ['one', 'two', 'three', 'four']) notify(text);
  expect(texts()).toEqual(['lost', 'two', 'three', 'four']);
  vi.advanceTimersByTime(60_000);
  expect(texts()).toEqual(['lost']);
  dismiss(notices.get()[0]!.id);
  expect(texts()).toEqual([]);
});

test('the same is not told twice at a time', () => {
  notify('lost', 'bad');
  notify('lost', 'bad');
  expect(texts()).toEqual(['lost']);
});

test('a page that shows it by itself takes away good news of it, and neither bad nor other news', () => {
  notify('“Dune” is in your cart.', 'good', '/cart');
  notify('“Momo” is saved.');
  notify('lost', 'bad', '/cart');
  dismissAbout('/');
  expect(texts()).toHaveLength(3);
  dismissAbout('/cart');
  expect(texts()).toEqual(['“Momo” is saved.', 'lost']);
});
