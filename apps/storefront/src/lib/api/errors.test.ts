import { expect, test } from 'vitest';
import { ApiError, describe as words, sentence } from './errors';

const error = (status: number, code: string, wait?: number) =>
  new ApiError({ status, code, title: 'Title', detail: 'Detail', errors: [] }, wait);

test('too many requests: the wait is said', () => {
  expect(sentence(error(429, 'rate_limited', 7))).toBe('A little too fast. Please try again in 7 seconds.');
  expect(sentence(error(429, 'rate_limited', 1))).toContain('in 1 second.');
});

test('a lost dependency can be tried again, a refusal cannot', () => {
  expect(words(error(503, 'dependency_unavailable')).again).toBe(true);
  expect(words(error(500, 'internal_error')).again).toBe(true);
  expect(words(error(403, 'forbidden')).again).toBe(false);
});

test('an unknown refusal is told in the service’s own words', () => {
  expect(words(error(409, 'something_new'))).toEqual({ title: 'Title', detail: 'Detail', again: false });
});
