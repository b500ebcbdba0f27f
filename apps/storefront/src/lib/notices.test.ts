import { beforeEach, expect, test, vi } from 'vitest';
import { dismiss, notices, notify } from './notices';

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
