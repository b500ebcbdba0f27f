import { expect, test, vi } from 'vitest';
import { momentOf } from './queries';

test('a day lasts from midnight to midnight where the administrator is', () => {
  vi.stubEnv('TZ', 'America/New_York');
  expect([momentOf('2026-07-01', '00:00:00'), momentOf('2026-07-01', '23:59:59.999')]).toEqual(['2026-07-01T04:00:00.000Z', '2026-07-02T03:59:59.999Z']);
  vi.unstubAllEnvs();
});
