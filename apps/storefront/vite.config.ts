import path from 'node:path';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** The two fonts are asked for with the page, not only once a style names them. */
function preloadFonts(): Plugin {
  return {
    name: 'preload-fonts',
    transformIndexHtml: {
      order: 'post',
      handler(_, { bundle, path: page }) {
        if (page !== '/index.html') return [];
        const fonts = Object.keys(bundle ?? {}).filter((name) =>
          /(?:fraunces|figtree)-latin-wght-normal.*\.woff2$/.test(name),
        );
        return fonts.map((font) => ({
          tag: 'link',
          injectTo: 'head',
          attrs: { rel: 'preload', href: `/${font}`, as: 'font', type: 'font/woff2', crossorigin: true },
        }));
      },
    },
  };
}

export default defineConfig({
  plugins: [react(), preloadFonts()],
  build: {
    target: 'es2023',
    modulePreload: { polyfill: false },
    // An inlined asset would be a data: address, which the policy forbids for all but pictures.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      input: ['index.html', 'silent-callback.html'].map((page) => path.resolve(import.meta.dirname, page)),
    },
  },
  test: {
    environment: 'jsdom',
    setupFiles: ['src/testing/setup.ts'],
    include: ['src/**/*.test.{ts,tsx}'],
    restoreMocks: true,
    unstubGlobals: true,
  },
});
