import { afterEach, expect, test, vi } from 'vitest';
import { startOf } from './queries';

afterEach(() => {
  vi.unstubAllEnvs();
});

const HOUR = 3_600_000;

test.each([
  // Zone, day, its first moment, its length in hours.
  ['UTC', '2026-07-01', '2026-07-01T00:00:00.000Z', 24],
  ['America/New_York', '2026-07-01', '2026-07-01T04:00:00.000Z', 24],
  ['America/New_York', '2026-03-08', '2026-03-08T05:00:00.000Z', 23],
  ['America/New_York', '2026-11-01', '2026-11-01T04:00:00.000Z', 25],
  ['Europe/Berlin', '2026-03-29', '2026-03-28T23:00:00.000Z', 23],
  ['Europe/Berlin', '2026-10-25', '2026-10-24T22:00:00.000Z', 25],
  ['Europe/Berlin', '2026-12-31', '2026-12-30T23:00:00.000Z', 24],
  ['Europe/Berlin', '2028-02-28', '2028-02-27T23:00:00.000Z', 24],
  // No midnight: the clocks go from 24:00 to 1:00.
  ['America/Santiago', '2025-09-07', '2025-09-07T04:00:00.000Z', 23],
  // Two of them: at 1:00 it is midnight again.
  ['America/Havana', '2025-11-02', '2025-11-02T04:00:00.000Z', 25],
  // The thirtieth was left out.
  ['Pacific/Apia', '2011-12-29', '2011-12-29T10:00:00.000Z', 24],
  ['Pacific/Apia', '2011-12-31', '2011-12-30T10:00:00.000Z', 24],
  ['Pacific/Apia', '2026-07-01', '2026-06-30T11:00:00.000Z', 24],
  ['Australia/Lord_Howe', '2026-04-05', '2026-04-04T13:00:00.000Z', 24.5],
])('in %s, %s begins at %s and has %d hours', (zone, day, first, hours) => {
  vi.stubEnv('TZ', zone);
  expect(startOf(day)).toBe(first);
  expect(Date.parse(startOf(day, 1)) - Date.parse(startOf(day))).toBe(hours * HOUR);
});

test('a day ends where the next one begins: no order is between them', () => {
  vi.stubEnv('TZ', 'Europe/Berlin');
  const moment = Date.parse('2026-10-25T22:59:59.9995Z');
  expect(moment).toBeGreaterThanOrEqual(Date.parse(startOf('2026-10-25')));
  expect(moment).toBeLessThan(Date.parse(startOf('2026-10-25', 1)));
  expect(startOf('2026-10-25', 1)).toBe(startOf('2026-10-26'));
});
