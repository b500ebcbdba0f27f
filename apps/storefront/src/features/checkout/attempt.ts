/**
 * One Idempotency-Key for each attempt to order (SPEC 6). The key outlives a reload, so that the same order sent again is the
 * same order; a changed one gets a new key. What is stored is a key and a hash, never the address.
 */
const KEY = 'bookstore_checkout_attempt';

interface Attempt {
  key: string;
  hash: string;
}

function read(): Attempt | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Partial<Attempt> | null;
    return typeof found?.key === 'string' && typeof found.hash === 'string' ? (found as Attempt) : null;
  } catch {
    return null;
  }
}

async function fingerprint(order: unknown): Promise<string> {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(order)));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The key for an order (address, lines and total together). */
export async function keyFor(order: unknown): Promise<string> {
  const hash = await fingerprint(order);
  const before = read();
  if (before?.hash === hash) return before.key;
  const attempt: Attempt = { key: crypto.randomUUID(), hash };
  try {
    sessionStorage.setItem(KEY, JSON.stringify(attempt));
  } catch {
    // Without storage a reload is a new attempt; the emptied cart then refuses it.
  }
  return attempt.key;
}

/** The attempt has an outcome, so the next order is another one. */
export function closeAttempt(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}
