import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ABSENCES, Keycloak } from '../../testing/keycloak';

/** Delivers to the other tabs: here to those that were told by hand. The library has channels, too, which nobody speaks on. */
class Tabs extends EventTarget {
  static all: Tabs[] = [];
  static said: unknown[] = [];
  constructor(readonly name: string) {
    super();
    if (name === 'bookstore_session') Tabs.all.push(this);
  }
  postMessage(data: unknown) {
    Tabs.said.push(data);
  }
  close() {
    /* nothing is held */
  }
}

let auth: typeof import('./session');
let keycloak: Keycloak;
const hear = (sub: string): void => {
  for (const tab of Tabs.all) tab.dispatchEvent(new MessageEvent('message', { data: sub }));
};
const signedIn = (sub: string) => expect.objectContaining({ status: 'signed-in', sub }) as unknown;

/** A renewal that comes as far as the hidden frame, which then says nothing. */
async function unanswered(): Promise<boolean> {
  const before = keycloak.authorizations.length;
  const renewing = auth.renew();
  await vi.waitFor(() => {
    expect(keycloak.authorizations.length).toBe(before + 1);
  });
  await vi.advanceTimersByTimeAsync(9_000);
  return renewing;
}

beforeEach(async () => {
  vi.resetModules();
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'],
    shouldAdvanceTime: true,
  });
  vi.stubGlobal('BroadcastChannel', Tabs);
  Object.assign(Tabs, { all: [], said: [] });
  keycloak = new Keycloak();
  keycloak.install();
  (await import('../config')).setConfig({
    api: 'https://api.test',
    issuer: 'https://id.test/realms/bookstore',
    clientId: 'ui-client',
    coverPrefixes: [],
  });
  auth = await import('./session');
  await auth.start();
});
afterEach(() => {
  // Its timers and listeners shall not reach into the next test.
  hear('ada');
  vi.useRealTimers();
});

test('a page finds the session of the cookie, by a code that only it can redeem', () => {
  expect(auth.session.get()).toEqual(signedIn('ada'));
  expect(keycloak.grants).toEqual(['authorization_code']);
  expect(keycloak.authorizations[0]!.searchParams.get('prompt')).toBe('none');
  expect(keycloak.authorizations[0]!.searchParams.get('code_challenge_method')).toBe('S256');
  const kept = [sessionStorage, localStorage].flatMap((store) =>
    Array.from(store, (_, at) => store.getItem(store.key(at) ?? '')),
  );
  expect(kept.join()).not.toMatch(/access-|refresh-/);
});

test('tokens are renewed a minute before they end, whoever asks, and once', async () => {
  const first = auth.accessToken();
  await vi.advanceTimersByTimeAsync(241_000);
  await vi.waitFor(() => {
    expect(auth.accessToken()).not.toBe(first);
  });
  expect(await Promise.all([auth.renew(), auth.renew()])).toEqual([true, true]);
  expect(keycloak.grants).toEqual(['authorization_code', 'refresh_token', 'refresh_token']);
});

test('a spent refresh token is made good by the cookie of the same person', async () => {
  keycloak.spend();
  expect(await auth.renew()).toBe(true);
  expect(auth.session.get()).toEqual(signedIn('ada'));
  expect(keycloak.grants).toEqual(['authorization_code', 'refresh_token', 'authorization_code']);
});

test('a tab does not become somebody else who signed in beside it', async () => {
  const left = vi.fn();
  auth.onLeft(left);
  keycloak.spend();
  keycloak.cookie = 'ben';
  expect(await auth.renew()).toBe(false);
  expect(auth.session.get()).toEqual({ status: 'guest', ended: 'ada' });
  expect(auth.accessToken()).toBeUndefined();
  expect(left.mock.calls).toEqual([[true]]);
});

test('nor after an outage between the two questions', async () => {
  keycloak.spend();
  Object.assign(keycloak, { cookie: 'ben', frames: false });
  expect(await unanswered()).toBe(false);
  expect(auth.session.get()).toEqual(signedIn('ada'));
  keycloak.frames = true;
  expect(await auth.renew()).toBe(false);
  expect(auth.session.get()).toEqual({ status: 'guest', ended: 'ada' });
});

test('a session that just ends leaves the page as it is', async () => {
  const left = vi.fn();
  auth.onLeft(left);
  keycloak.spend();
  keycloak.cookie = null;
  expect(await auth.renew()).toBe(false);
  expect(auth.session.get()).toEqual({ status: 'guest', ended: 'ada' });
  expect(left).not.toHaveBeenCalled();
});

test.each(Object.keys(ABSENCES) as (keyof typeof ABSENCES)[])(
  'a realm that is away (%s) signs nobody out, and is asked again until it answers',
  async (absence) => {
    const first = auth.accessToken();
    keycloak.away = absence;
    await vi.advanceTimersByTimeAsync(241_000);
    expect(auth.session.get()).toEqual(signedIn('ada'));
    expect(auth.waiting.get()).toBe(false);
    // Ten minutes on: the token has ended long ago.
    await vi.advanceTimersByTimeAsync(600_000);
    expect(auth.session.get()).toEqual(signedIn('ada'));
    expect(auth.accessToken()).toBe(first);
    expect(auth.waiting.get()).toBe(true);
    keycloak.away = null;
    await vi.advanceTimersByTimeAsync(40_000);
    await vi.waitFor(() => {
      expect(auth.accessToken()).not.toBe(first);
    });
    expect([auth.waiting.get(), auth.tokenEnds()]).toEqual([false, false]);
  },
);

test('an outage after the refresh token was refused is no end either', async () => {
  keycloak.spend();
  keycloak.frames = false;
  expect(await unanswered()).toBe(false);
  expect(auth.session.get()).toEqual(signedIn('ada'));
  keycloak.frames = true;
  await vi.advanceTimersByTimeAsync(7_000);
  await vi.waitFor(() => {
    expect(keycloak.grants.at(-1)).toBe('authorization_code');
  });
  expect(auth.session.get()).toEqual(signedIn('ada'));
});

test('a realm that is away is not asked in a hurry', async () => {
  const asked = vi.spyOn(ABSENCES, 'no network');
  keycloak.away = 'no network';
  await vi.advanceTimersByTimeAsync(240_000 + 600_000);
  expect(asked.mock.calls.length).toBeGreaterThan(14);
  expect(asked.mock.calls.length).toBeLessThan(35);
});

test.each([
  ['online', window],
  ['visibilitychange', document],
] as const)('a renewal that was missed is made up for at %s', async (event, target) => {
  const first = auth.accessToken();
  // The machine slept: the clock went on, no timer did.
  vi.setSystemTime(Date.now() + 3_600_000);
  expect(auth.tokenEnds()).toBe(true);
  target.dispatchEvent(new Event(event));
  await vi.waitFor(() => {
    expect(auth.accessToken()).not.toBe(first);
  });
  expect(auth.tokenEnds()).toBe(false);
  const grants = keycloak.grants.length;
  target.dispatchEvent(new Event(event));
  expect(keycloak.grants.length).toBe(grants);
});

test('signing out in another tab ends this one, whatever it was just doing', async () => {
  const left = vi.fn();
  auth.onLeft(left);
  const renewing = auth.renew();
  hear('ada');
  expect(await renewing).toBe(false);
  expect(auth.session.get()).toEqual({ status: 'guest', ended: undefined });
  expect(auth.accessToken()).toBeUndefined();
  expect(left.mock.calls).toEqual([[true]]);
});

test('somebody else’s signing out is none of this tab’s business', () => {
  hear('ben');
  expect(auth.session.get()).toEqual(signedIn('ada'));
});

test('signing out here is told to the other tabs', async () => {
  const submit = vi.spyOn(HTMLFormElement.prototype, 'submit').mockReturnValue();
  await auth.signOut();
  expect(submit).toHaveBeenCalledOnce();
  expect(Tabs.said).toEqual(['ada']);
  expect(auth.accessToken()).toBeUndefined();
});

test('the sign-in page takes the place of the page that leads to it', async () => {
  void auth.signIn('/cart');
  await vi.waitFor(() => {
    expect(keycloak.authorizations).toHaveLength(2);
  });
  const asked = keycloak.authorizations[1]!.searchParams;
  expect([asked.get('redirect_uri'), asked.get('prompt')]).toEqual([`${window.location.origin}/callback`, null]);
  expect(sessionStorage.getItem(`bookstore_signin.${asked.get('state')!}`)).toContain('"path":"/cart"');
});

test('Back to an address whose sign-in is done finds the session that it began', async () => {
  expect(await auth.finishSignIn(`${window.location.origin}/callback?code=old&state=spent`)).toBe('/');
  expect(auth.session.get()).toEqual(signedIn('ada'));
});

test('a token is called good until shortly before its end', () => {
  expect(auth.tokenEnds()).toBe(false);
  vi.setSystemTime(Date.now() + 295_000);
  expect(auth.tokenEnds()).toBe(true);
});
