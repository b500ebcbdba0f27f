import { expect, test } from 'vitest';
import { parseConfig } from './config';

test('a complete configuration is taken over', () => {
  expect(
    parseConfig({
      api: 'https://api.test',
      issuer: 'https://id.test/realms/b',
      client_id: 'ui',
      cover_prefixes: ['/covers/'],
    }),
  ).toEqual({
    api: 'https://api.test',
    issuer: 'https://id.test/realms/b',
    clientId: 'ui',
    coverPrefixes: ['/covers/'],
  });
});

test.each([null, 'text', {}, { api: 'javascript:alert(1)', issuer: 7, client_id: '', cover_prefixes: 'x' }])(
  '%j: every bad member is named',
  (raw) => {
    expect(() => parseConfig(raw)).toThrow(/api .*issuer .*client_id/);
  },
);
