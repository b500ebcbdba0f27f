import createClient from 'openapi-fetch';
import { accessToken, ready, renew, tokenEnds, waiting as realmAway } from '../auth/session';
import { config } from '../config';
import { ApiError, NetworkError, toApiError } from './errors';
import type { paths as Admin, components as AdminParts } from './generated/admin';
import type { paths as Ecom, components as EcomParts } from './generated/ecom';
import type { paths as Inventory, components as InventoryParts } from './generated/inventory';

type Parts = EcomParts['schemas'];
export type Book = Parts['Book'];
export type BookPage = Parts['Page_Book_'];
export type Cart = Parts['Cart'];
export type CartLine = Parts['CartLine'];
export type MergedCart = Parts['MergedCart'];
export type Order = Parts['OrderDetail'];
export type OrderStatus = Parts['Status'];
export type Stock = InventoryParts['schemas']['Stock'];
export type AdminSchemas = AdminParts['schemas'];

// Read by everybody and cached by anybody: sent without a token, thus without a preflight.
const PUBLIC = /^\/(?:ecom\/(?:books|genres)|inven\/)/;
const SAFE = ['GET', 'HEAD'];
let csrf: Promise<string> | undefined;

export const forgetCsrf = (): void => {
  csrf = undefined;
};

async function fetchCsrf(): Promise<string> {
  const answer = await once(new Request(`${config().api}/ecom/csrf-token`, { cache: 'no-store' }));
  if (!answer.ok) throw await toApiError(answer);
  return ((await answer.json()) as { token: string }).token;
}

/** One token serves the session; a failed attempt is not remembered. */
function csrfToken(): Promise<string> {
  csrf ??= fetchCsrf().catch((error: unknown) => {
    csrf = undefined;
    throw error;
  });
  return csrf;
}

async function attempt(request: Request): Promise<Response> {
  const token = accessToken();
  if (token !== undefined) request.headers.set('Authorization', `Bearer ${token}`);
  return fetch(request);
}

/** Whether sending it twice is like sending it once. A version in If-Match is spent by the first time. */
function repeatable({ method, headers }: Request): boolean {
  return (
    SAFE.includes(method) ||
    headers.has('Idempotency-Key') ||
    (['PUT', 'DELETE'].includes(method) && !headers.has('If-Match'))
  );
}

const waiting = (): NetworkError => new NetworkError('no new token', false, true);
const ended = (): ApiError =>
  new ApiError({ status: 401, code: 'unauthenticated', title: 'Unauthorized', detail: '', errors: [] });

/**
 * Send with an access token that is still good. A refused one is renewed once and the request sent once more (SPEC 4.1). A failure
 * without a status may be a lost answer to a change that was made: after one, only what can be repeated is.
 */
async function once(request: Request): Promise<Response> {
  // While nobody can renew tokens, the services accept those that have ended: theirs is the decision, so they are asked.
  if (tokenEnds() && !realmAway.get()) await renew();
  const spare = request.clone();
  const offline = !navigator.onLine;
  const known = accessToken() !== undefined;
  let refused: Response | undefined;
  try {
    refused = await attempt(request);
    if (refused.status !== 401) return refused;
  } catch (error) {
    if (request.signal.aborted) throw error;
    if (offline || (repeatable(spare) && !navigator.onLine)) throw new NetworkError('offline');
  }
  const renewed = known && (await renew());
  if (refused === undefined && !repeatable(spare)) throw new NetworkError('no answer', true);
  if (!renewed) {
    // Refused, but nobody has said that the session is over.
    if (refused !== undefined && accessToken() !== undefined) throw waiting();
    if (refused !== undefined) return refused;
    if (known && accessToken() === undefined && SAFE.includes(spare.method)) throw ended();
    throw new NetworkError('no answer');
  }
  try {
    return await attempt(spare);
  } catch {
    throw new NetworkError('no answer', !repeatable(spare));
  }
}

/** `fetch` for the shop's APIs: only successes return; everything else is an ApiError or a NetworkError. */
export async function send(request: Request): Promise<Response> {
  if (PUBLIC.test(new URL(request.url).pathname)) {
    const answer = await fetch(request).catch((error: unknown) => {
      throw request.signal.aborted ? error : new NetworkError('no answer');
    });
    return passed(answer);
  }
  await ready();
  if (SAFE.includes(request.method)) return passed(await once(request));
  const spare = request.clone();
  request.headers.set('X-CSRF-Token', await csrfToken());
  const answer = await once(request);
  if (answer.status !== 403) return passed(answer);
  const refusal = await toApiError(answer);
  if (refusal.code !== 'csrf_invalid') throw refusal;
  forgetCsrf();
  spare.headers.set('X-CSRF-Token', await csrfToken());
  return passed(await once(spare));
}

async function passed(answer: Response): Promise<Response> {
  if (!answer.ok) throw await toApiError(answer);
  return answer;
}

function make<Paths extends object>() {
  let client: ReturnType<typeof createClient<Paths>> | undefined;
  return () => (client ??= createClient<Paths>({ baseUrl: config().api, fetch: send }));
}

export const ecom = make<Ecom>();
export const inventory = make<Inventory>();
export const admin = make<Admin>();

/** The body of a success. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  const { data } = await answer;
  if (data === undefined) throw new Error('the answer has no body');
  return data;
}
