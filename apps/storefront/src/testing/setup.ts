import '@testing-library/jest-dom/vitest';
import { cleanup } from '@testing-library/react';
import { afterEach, beforeEach } from 'vitest';
import { setConfig } from '../lib/config';

// jsdom has no layout, and the router scrolls.
window.scrollTo = () => undefined;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  setConfig({
    api: 'https://api.test',
    issuer: 'https://id.test/realms/bookstore',
    clientId: 'ui-client',
    coverPrefixes: [],
  });
});
afterEach(cleanup);
