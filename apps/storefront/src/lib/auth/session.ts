import type { User, UserManager } from 'oidc-client-ts';
import { config } from '../config';
import { safeReturnPath } from '../return-path';
import { createStore, useStore } from '../store';

/** What the page knows of its visitor. Tokens are not part of it: they stay inside this module. */
export type Session =
  | { status: 'unknown' }
  /** `ended`: whose session came to its end while this page was open, if one did. */
  | { status: 'guest'; ended?: string | undefined }
  | { status: 'signed-in'; sub: string; name: string; admin: boolean };

const RENEW_BEFORE_SECONDS = 60;
/** A token that ends sooner is renewed before it is sent: the gateway's refusal could not be told from a lost answer. */
const LEEWAY_SECONDS = 10;
const SILENT_TIMEOUT_SECONDS = 8;

export const session = createStore<Session>({ status: 'unknown' });
export const useSession = (): Session => useStore(session);

let manager: Promise<UserManager> | undefined;
let user: User | null = null;
let renewal: Promise<boolean> | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let started: Promise<void> | undefined;
const entered: (() => Promise<void> | void)[] = [];
const left: ((elsewhere: boolean) => void)[] = [];
const tabs = new BroadcastChannel('bookstore_session');

/** Loaded when needed: the first page is drawn without it. */
function userManager(): Promise<UserManager> {
  manager ??= import('oidc-client-ts').then(({ InMemoryWebStorage, UserManager: Manager, WebStorageStateStore }) => {
    const here = window.location.origin;
    return new Manager({
      authority: config().issuer,
      client_id: config().clientId,
      redirect_uri: `${here}/callback`,
      silent_redirect_uri: `${here}/silent-callback`,
      post_logout_redirect_uri: `${here}/`,
      scope: 'openid',
      response_type: 'code',
      // Tokens in memory only; the one-time transaction has to survive the redirect (SPEC 3.1).
      userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
      stateStore: new WebStorageStateStore({ store: window.sessionStorage, prefix: 'bookstore_signin.' }),
      automaticSilentRenew: false,
      monitorSession: false,
      loadUserInfo: false,
      revokeTokensOnSignout: false,
      silentRequestTimeoutInSeconds: SILENT_TIMEOUT_SECONDS,
    });
  });
  return manager;
}

function adopt(next: User | null, ended?: string): void {
  user = next;
  clearTimeout(timer);
  if (next === null) {
    session.set({ status: 'guest', ended });
    return;
  }
  const { sub, preferred_username: name, roles } = next.profile as { sub: string; preferred_username?: string; roles?: unknown };
  session.set({ status: 'signed-in', sub, name: name ?? 'Account', admin: Array.isArray(roles) && roles.includes('admin') });
  const seconds = Math.max((next.expires_in ?? 0) - RENEW_BEFORE_SECONDS, 5);
  timer = setTimeout(() => void renew(), seconds * 1000);
}

/** `task` runs after every sign-in, before the visitor is taken to where they wanted to be. */
export const onEntered = (task: () => Promise<void> | void): void => void entered.push(task);

/** `task` runs when the visitor signs out, here or in another tab (`elsewhere`), also if only to become somebody else there. */
export const onLeft = (task: (elsewhere: boolean) => void): void => void left.push(task);

tabs.addEventListener('message', ({ data: sub }: MessageEvent<unknown>) => {
  if (user === null || user.profile.sub !== sub) return;
  adopt(null);
  void userManager().then((oidc) => oidc.removeUser());
  leave();
});

async function enter(next: User): Promise<void> {
  adopt(next);
  await Promise.allSettled(entered.map(async (task) => task()));
}

/** Restore the session by the single-sign-on cookie; once per page load. Never fails: the visitor is a guest then. */
export function start(): Promise<void> {
  started ??= silently().then(
    (found) => (found === null ? adopt(null) : enter(found)),
    () => { adopt(null); },
  );
  return started;
}

async function silently(): Promise<User | null> {
  const oidc = await userManager();
  try {
    return await oidc.signinSilent();
  } finally {
    await oidc.clearStaleState();
  }
}

/** Resolves once it is known whether somebody is signed in; tasks of onEntered() may still run, and wait for this themselves. */
export function ready(): Promise<Session> {
  if (session.get().status !== 'unknown') return Promise.resolve(session.get());
  return new Promise((resolve) => {
    const stop = session.subscribe(() => {
      stop();
      resolve(session.get());
    });
    void start();
  });
}

export const accessToken = (): string | undefined => user?.access_token;
export const tokenEnds = (): boolean => user !== null && (user.expires_in ?? 0) < LEEWAY_SECONDS;

/** Get new tokens; whoever asks meanwhile waits for the same ones. False: the session is over, or Keycloak was not reached. */
export function renew(): Promise<boolean> {
  renewal ??= tryRenew().finally(() => { renewal = undefined; });
  return renewal;
}

async function tryRenew(): Promise<boolean> {
  const sub = user?.profile.sub;
  const oidc = await userManager();
  let next: User | null;
  try {
    next = await oidc.signinSilent();
  } catch (error) {
    if (!isRefusal(error)) return false;
    next = await byCookie(oidc, sub);
  }
  if (user === null) {
    // Signed out meanwhile: nobody waits for these tokens.
    await oidc.removeUser();
    return false;
  }
  adopt(next, sub);
  return next !== null;
}

function leave(): void {
  for (const task of left) task(true);
}

/**
 * The refresh token is spent, for instance by another tab; the cookie may still be good. It may also be somebody else's by now,
 * who must not take over this page: the library compares only while it has a user.
 */
async function byCookie(oidc: UserManager, sub: string | undefined): Promise<User | null> {
  await oidc.removeUser();
  const found = await silently().catch(() => null);
  if (found?.profile.sub === sub) return found;
  await oidc.removeUser();
  // What is on the screen is not for whoever came instead.
  if (found !== null) leave();
  return null;
}

/** Keycloak said no, as opposed to: it could not be reached. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === 'ErrorResponse';
}

/** Go to the sign-in page; `path` is where the visitor wants to be afterwards. */
export async function signIn(path: string, register = false): Promise<void> {
  const oidc = await userManager();
  await oidc.signinRedirect({
    state: { path: safeReturnPath(path) },
    // Back must lead to where the visitor was, not to a page that goes forward again.
    redirectMethod: 'replace',
    ...(register ? { prompt: 'create' } : {}),
  });
}

/** Finish the redirect; returns the path to go on to. The code has left the address bar before anything else happens. */
export function finishSignIn(url: string): Promise<string> {
  window.history.replaceState(null, '', '/callback');
  const finished = (async () => {
    const oidc = await userManager();
    const found = await oidc.signinCallback(url).catch(() => undefined);
    // Back and Forward come to addresses of sign-ins that were finished before: their session may still stand.
    const entering = found ?? (await silently());
    if (!entering) throw new Error('no sign-in was under way');
    await enter(entering);
    return safeReturnPath((found?.state as { path?: unknown } | undefined)?.path);
  })();
  // Nobody shall start a silent sign-in beside this one.
  started = finished.then(
    () => undefined,
    () => { adopt(null); },
  );
  return finished;
}

/** Forget the tokens, then end the session at Keycloak. The id token goes in a body: an address would be logged. */
export async function signOut(): Promise<void> {
  const hint = user?.id_token;
  const sub = user?.profile.sub;
  user = null;
  clearTimeout(timer);
  await (await userManager()).removeUser();
  for (const task of left) task(false);
  tabs.postMessage(sub);
  const form = document.createElement('form');
  form.method = 'post';
  form.action = `${config().issuer}/protocol/openid-connect/logout`;
  const fields = { client_id: config().clientId, post_logout_redirect_uri: `${window.location.origin}/`, ...(hint ? { id_token_hint: hint } : {}) };
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement('input');
    Object.assign(input, { type: 'hidden', name, value });
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}
