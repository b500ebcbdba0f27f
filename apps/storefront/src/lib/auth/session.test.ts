import { beforeEach, expect, test, vi } from 'vitest';

/** Stands in for the library: a refresh token that may be spent, and a cookie that may be anybody's. */
const keycloak = vi.hoisted(() => ({
  stored: null as object | null,
  refused: false,
  cookie: null as string | null,
  redirects: [] as unknown[],
}));

function userOf(sub: string, seconds = 300) {
  return { access_token: `token of ${sub}`, id_token: `id of ${sub}`, expires_in: seconds, profile: { sub, preferred_username: sub, roles: ['customer'] } };
}

vi.mock('oidc-client-ts', () => ({
  InMemoryWebStorage: Object,
  WebStorageStateStore: Object,
  UserManager: class {
    signinSilent() {
      if (keycloak.stored !== null && keycloak.refused) return Promise.reject(Object.assign(new Error('invalid_grant'), { name: 'ErrorResponse' }));
      if (keycloak.stored !== null) return Promise.resolve(keycloak.stored);
      keycloak.stored = keycloak.cookie === null ? null : userOf(keycloak.cookie);
      return keycloak.stored === null ? Promise.reject(Object.assign(new Error('login_required'), { name: 'ErrorResponse' })) : Promise.resolve(keycloak.stored);
    }
    removeUser() {
      keycloak.stored = null;
      return Promise.resolve();
    }
    clearStaleState() { return Promise.resolve(); }
    signinRedirect(asked: unknown) {
      keycloak.redirects.push(asked);
      return Promise.resolve();
    }
    signinCallback() { return Promise.reject(new Error('No matching state found in storage')); }
  },
}));

/** Delivers to the other tabs: here to those that were told by hand. */
class Tabs extends EventTarget {
  static all: Tabs[] = [];
  static said: unknown[] = [];
  constructor() {
    super();
    Tabs.all.push(this);
  }
  postMessage(data: unknown) { Tabs.said.push(data); }
}

let auth: typeof import('./session');
const hear = (sub: string): void => { for (const tab of Tabs.all) tab.dispatchEvent(new MessageEvent('message', { data: sub })); };

beforeEach(async () => {
  vi.resetModules();
  vi.stubGlobal('BroadcastChannel', Tabs);
  Object.assign(Tabs, { all: [], said: [] });
  Object.assign(keycloak, { stored: null, refused: false, cookie: 'ada', redirects: [] });
  (await import('../config')).setConfig({ api: 'https://api.test', issuer: 'https://id.test/realms/bookstore', clientId: 'ui-client', coverPrefixes: [] });
  auth = await import('./session');
  await auth.start();
});

test('a spent refresh token is made good by the cookie of the same person', async () => {
  keycloak.refused = true;
  expect(await auth.renew()).toBe(true);
  expect(auth.session.get()).toMatchObject({ status: 'signed-in', sub: 'ada' });
});

test('a tab does not become somebody else who signed in beside it', async () => {
  const left = vi.fn();
  auth.onLeft(left);
  Object.assign(keycloak, { refused: true, cookie: 'ben' });
  expect(await auth.renew()).toBe(false);
  expect(auth.session.get()).toEqual({ status: 'guest', ended: 'ada' });
  expect(auth.accessToken()).toBeUndefined();
  expect(keycloak.stored).toBeNull();
  expect(left.mock.calls).toEqual([[true]]);
});

test('a session that just ends leaves the page as it is', async () => {
  const left = vi.fn();
  auth.onLeft(left);
  Object.assign(keycloak, { refused: true, cookie: null });
  expect(await auth.renew()).toBe(false);
  expect(auth.session.get()).toEqual({ status: 'guest', ended: 'ada' });
  expect(left).not.toHaveBeenCalled();
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
  expect(auth.session.get()).toMatchObject({ status: 'signed-in', sub: 'ada' });
});

test('signing out here is told to the other tabs', async () => {
  const submit = vi.spyOn(HTMLFormElement.prototype, 'submit').mockReturnValue();
  await auth.signOut();
  expect(submit).toHaveBeenCalledOnce();
  expect(Tabs.said).toEqual(['ada']);
  expect(auth.accessToken()).toBeUndefined();
});

test('the sign-in page takes the place of the page that leads to it', async () => {
  await auth.signIn('/cart');
  expect(keycloak.redirects).toEqual([{ state: { path: '/cart' }, redirectMethod: 'replace' }]);
});

test('Back to an address whose sign-in is done finds the session that it began', async () => {
  expect(await auth.finishSignIn('https://shop.test/callback?code=old&state=spent')).toBe('/');
  expect(auth.session.get()).toMatchObject({ status: 'signed-in', sub: 'ada' });
});

test('a token is called good until shortly before its end', () => {
  expect(auth.tokenEnds()).toBe(false);
  Object.assign(keycloak.stored!, { expires_in: 5 });
  expect(auth.tokenEnds()).toBe(true);
});
