import type { User, UserManager } from 'oidc-client-ts';
import { config } from '../config';
import { fetched, type Use } from '../lazy';
import { safeReturnPath } from '../return-path';
import { createStore, useStore } from '../store';

/** What the page knows of its visitor. Tokens are not part of it: they stay inside this module. */
export type Session =
  | { status: 'unknown' }
  /** `ended`: whose session came to its end while this page was open, if one did. */
  | { status: 'guest'; ended?: string | undefined }
  | { status: 'signed-in'; sub: string; name: string; admin: boolean };

const RENEW_BEFORE_SECONDS = 60;
/** A token that ends sooner is renewed before it is sent. */
const LEEWAY_SECONDS = 10;
const SILENT_TIMEOUT_SECONDS = 8;
const [FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS] = [5, 30];
/** A spent or ended refresh token (RFC 6749, 5.2), and no session at the realm that needs no hand (OpenID Connect Core, 3.1.2.6). */
const REFUSALS = [
  'invalid_grant',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
];

export const session = createStore<Session>({ status: 'unknown' });
export const useSession = (): Session => useStore(session);

/** The realm could not be asked for new tokens, and those at hand have ended: services accept them for a while, and nobody is signed out. */
export const waiting = createStore(false);

let manager: UserManager | undefined;
let user: User | null = null;
let renewal: Promise<boolean> | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
/** Renewals that were not answered, in a row. */
let misses = 0;
let started: Promise<void> | undefined;
const entered: (() => Promise<void> | void)[] = [];
const left: ((elsewhere: boolean) => void)[] = [];
const tabs = new BroadcastChannel('bookstore_session');

/** Loaded when needed: the first page is drawn without it. */
const library = fetched('oidc', () => import('oidc-client-ts'));

async function userManager(use?: Use): Promise<UserManager> {
  const { InMemoryWebStorage, UserManager: Manager, WebStorageStateStore } = await library(use);
  const here = window.location.origin;
  manager ??= new Manager({
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
  return manager;
}

function adopt(next: User | null, ended?: string): void {
  user = next;
  misses = 0;
  clearTimeout(timer);
  waiting.set(false);
  if (next === null) {
    session.set({ status: 'guest', ended });
    return;
  }
  const {
    sub,
    preferred_username: name,
    roles,
  } = next.profile as { sub: string; preferred_username?: string; roles?: unknown };
  session.set({
    status: 'signed-in',
    sub,
    name: name ?? 'Account',
    admin: Array.isArray(roles) && roles.includes('admin'),
  });
  renewIn(Math.max((next.expires_in ?? 0) - RENEW_BEFORE_SECONDS, 5));
}

function renewIn(seconds: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void renew(), seconds * 1000);
}

/** A clock that stood still (a sleeping machine, a page in the background) has missed the time to renew. */
function catchUp(): void {
  if (user !== null && document.visibilityState === 'visible' && (user.expires_in ?? 0) < RENEW_BEFORE_SECONDS)
    void renew();
}
window.addEventListener('online', catchUp);
document.addEventListener('visibilitychange', catchUp);

/** `task` runs after every sign-in, before the visitor is taken to where they wanted to be. */
export const onEntered = (task: () => Promise<void> | void): void => void entered.push(task);

/** `task` runs when the visitor signs out, here or in another tab (`elsewhere`), also if only to become somebody else there. */
export const onLeft = (task: (elsewhere: boolean) => void): void => void left.push(task);

tabs.addEventListener('message', ({ data: sub }: MessageEvent<unknown>) => {
  if (user === null || user.profile.sub !== sub) return;
  adopt(null);
  void userManager({ quietly: true }).then((oidc) => oidc.removeUser());
  leave();
});

async function enter(next: User): Promise<void> {
  adopt(next);
  await Promise.allSettled(entered.map(async (task) => task()));
}

/** Restore the session by the single-sign-on cookie; once per page load. Never fails: the visitor is a guest then. */
export function start(): Promise<void> {
  started ??= silently({ quietly: true }).then(
    (found) => (found === null ? adopt(null) : enter(found)),
    () => {
      adopt(null);
    },
  );
  return started;
}

async function silently(use?: Use): Promise<User | null> {
  const oidc = await userManager(use);
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
  renewal ??= tryRenew().finally(() => {
    renewal = undefined;
  });
  return renewal;
}

async function tryRenew(): Promise<boolean> {
  const sub = user?.profile.sub;
  let next: User | null;
  try {
    next = await freshUser(await userManager({ quietly: true }), sub);
  } catch {
    // Whoever cannot be reached has not said no: the session stays, and is renewed when there is an answer.
    if (user !== null) {
      renewIn(Math.min(FIRST_PAUSE_SECONDS * 2 ** misses, LONGEST_PAUSE_SECONDS) * (0.8 + Math.random() * 0.4));
      misses += 1;
      waiting.set(tokenEnds());
    }
    return false;
  }
  if (user === null) {
    // Signed out meanwhile: nobody waits for these tokens.
    await (await userManager({ quietly: true })).removeUser();
    return false;
  }
  adopt(next, sub);
  return next !== null;
}

function leave(): void {
  for (const task of left) task(true);
}

/**
 * By refresh token, or by cookie if that is spent, for instance by another tab. The cookie may also be somebody else's by now, who must
 * not take over this page: the library compares only while it has a user. Null: the session is over. Fails if nobody answered.
 */
async function freshUser(oidc: UserManager, sub: string | undefined): Promise<User | null> {
  let found = (await oidc.getUser()) === null ? undefined : await unlessRefused(oidc.signinSilent());
  if (found === undefined) {
    await oidc.removeUser();
    found = await unlessRefused(silently({ quietly: true }));
  }
  if (found?.profile.sub === sub) return found ?? null;
  await oidc.removeUser();
  // What is on the screen is not for whoever came instead.
  if (found) leave();
  return null;
}

/** Undefined if the realm said no. An outage has many faces (no network, no answer, 5xx with or without a reason) and fails. */
async function unlessRefused(asked: Promise<User | null>): Promise<User | null | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (
      error instanceof Error &&
      error.name === 'ErrorResponse' &&
      REFUSALS.includes(String((error as { error?: unknown }).error))
    )
      return undefined;
    throw error;
  }
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
    () => {
      adopt(null);
    },
  );
  return finished;
}

/** Forget the tokens, then end the session at Keycloak. The id token goes in a body: an address would be logged. */
export async function signOut(): Promise<void> {
  const hint = user?.id_token;
  const sub = user?.profile.sub;
  user = null;
  clearTimeout(timer);
  waiting.set(false);
  await (await userManager()).removeUser();
  for (const task of left) task(false);
  tabs.postMessage(sub);
  const form = document.createElement('form');
  form.method = 'post';
  form.action = `${config().issuer}/protocol/openid-connect/logout`;
  const fields = {
    client_id: config().clientId,
    post_logout_redirect_uri: `${window.location.origin}/`,
    ...(hint ? { id_token_hint: hint } : {}),
  };
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement('input');
    Object.assign(input, { type: 'hidden', name, value });
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}
