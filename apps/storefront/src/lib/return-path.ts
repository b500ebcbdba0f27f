const NEVER = ['/login', '/callback', '/silent-callback'];

/** The path of this shop to go back to; whatever points elsewhere, or to sign-in itself, becomes `/`. */
export function safeReturnPath(raw: unknown, origin: string = window.location.origin): string {
  if (typeof raw !== 'string' || !raw.startsWith('/') || hasControl(raw)) return '/';
  let url: URL;
  try {
    url = new URL(raw, origin);
  } catch {
    return '/';
  }
  // `//host` and `/\host` are other hosts to a browser.
  if (url.origin !== origin || raw.startsWith('//') || raw.includes('\\')) return '/';
  if (url.pathname.startsWith('//') || NEVER.includes(url.pathname)) return '/';
  return url.pathname + url.search + url.hash;
}

function hasControl(text: string): boolean {
  return Array.from(text).some((letter) => letter < ' ' || letter === '\u007f');
}
