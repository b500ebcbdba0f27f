// @vitest-environment node
import { describe, expect, test } from 'vitest';
import { bytes, clock, duration, milliseconds, percent, perSecond } from './format';

describe('figures', () => {
  test.each([
    [null, '–'],
    [0, '0/s'],
    [0.004, '<0.01/s'],
    [4.2, '4.2/s'],
    [18.44, '18.4/s'],
    [1234.5, '1235/s'],
  ])('%s requests per second are %s', (value, text) => expect(perSecond(value)).toBe(text));

  test.each([
    [0, '0 B'],
    [1024, '1 KiB'],
    [157_286_400, '150 MiB'],
  ])('%s bytes are %s', (value, text) => expect(bytes(value)).toBe(text));

  test.each([
    [0.5, 'under 1 s'],
    [59, '59 s'],
    [600, '10 min'],
    [7200, '2 h'],
    [864_000, '10 days'],
  ])('%s seconds are %s', (value, text) => expect(duration(value)).toBe(text));

  test('milliseconds become seconds', () => {
    expect(milliseconds(41.2)).toBe('41.2 ms');
    expect(milliseconds(2500)).toBe('2.5 s');
  });

  test('no part of nothing', () => {
    expect(percent(1, 0)).toBe('–');
    expect(percent(1, 7)).toBe('14.3 %');
  });

  test('another day is named', () => {
    const noon = new Date(2026, 10, 28, 12, 5).getTime() / 1000;
    expect(clock(noon, noon + 60)).toBe('12:05');
    expect(clock(noon, noon + 86_400)).toBe('2026-11-28 12:05');
  });
});
