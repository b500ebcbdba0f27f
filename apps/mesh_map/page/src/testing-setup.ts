// What jsdom lacks, and neither the page nor the chart library can do without.
Object.assign(globalThis, {
  matchMedia: () => ({ matches: false, addEventListener: () => undefined, removeEventListener: () => undefined }),
});
if (typeof Element !== 'undefined') Element.prototype.scrollIntoView = () => undefined;
