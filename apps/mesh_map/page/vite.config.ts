import { defineConfig } from 'vitest/config';

export default defineConfig({
  build: {
    target: 'es2023',
    modulePreload: { polyfill: false },
    // An inlined asset would be a data: address, which the policy forbids.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  // `npm run dev` shows a running map's figures.
  server: { proxy: { '/api': 'http://127.0.0.1:32100' } },
  test: {
    environment: 'jsdom',
    setupFiles: ['src/testing-setup.ts'],
    include: ['src/**/*.test.ts'],
    restoreMocks: true,
    unstubGlobals: true,
  },
});
