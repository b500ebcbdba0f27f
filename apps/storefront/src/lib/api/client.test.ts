import { beforeEach, expect, test, vi } from 'vitest';
import { ApiError, NetworkError, sentence } from './errors';

const auth = vi.hoisted(() => ({
  token: undefined as string | undefined,
  ends: false,
  away: false,
  renew: () => Promise.resolve(false),
}));
vi.mock('../auth/session', () => ({
  accessToken: () => auth.token,
  tokenEnds: () => auth.ends,
  ready: () => Promise.resolve(),
  renew: () => auth.renew(),
  waiting: { get: () => auth.away },
}));

const { forgetCsrf, send } = await import('./client');

type Answer = [number, unknown?, Record<string, string>?] | Error;
let asked: Request[];

function answers(...queue: Answer[]): void {
  vi.stubGlobal('fetch', (request: Request) => {
    asked.push(request);
    const next = queue.shift();
    if (next === undefined) throw new Error(`unexpected ${request.method} ${request.url}`);
    if (next instanceof Error) return Promise.reject(next);
    const [status, json, headers] = next;
    return Promise.resolve(
      new Response(json === undefined ? null : JSON.stringify(json), { status, headers: headers ?? {} }),
    );
  });
}
const problem = (status: number, code: string): Answer => [
  status,
  { status, code, title: code, detail: '', errors: [] },
];
const get = (path: string) => send(new Request(`https://api.test${path}`));
const change = (method: string, path: string, headers: Record<string, string> = {}) =>
  send(new Request(`https://api.test${path}`, { method, headers, body: '{"a":1}' }));
const post = (path: string, headers?: Record<string, string>) => change('POST', path, headers);
const lost = new TypeError('Failed to fetch');
const seen = () => asked.map((one) => `${one.method} ${new URL(one.url).pathname}`);

beforeEach(() => {
  asked = [];
  auth.token = 'token-1';
  auth.ends = false;
  auth.away = false;
  auth.renew = () => {
    auth.token = 'token-2';
    auth.ends = false;
    return Promise.resolve(true);
  };
  forgetCsrf();
});

test('public reads carry no token', async () => {
  answers([200, {}], [200, []]);
  await get('/ecom/books?page=1');
  await get('/inven/stock/bulk?book_ids=1');
  expect(asked.map((one) => one.headers.get('Authorization'))).toEqual([null, null]);
});

test('changes carry the token and one CSRF token for all of them', async () => {
  answers([200, { token: 'csrf-1' }], [200, {}], [200, {}]);
  await post('/ecom/cart/items');
  await post('/ecom/cart/items');
  expect(seen()).toEqual(['GET /ecom/csrf-token', 'POST /ecom/cart/items', 'POST /ecom/cart/items']);
  expect(asked.slice(1).map((one) => [one.headers.get('Authorization'), one.headers.get('X-CSRF-Token')])).toEqual([
    ['Bearer token-1', 'csrf-1'],
    ['Bearer token-1', 'csrf-1'],
  ]);
});

test('a refused CSRF token is fetched anew and the change sent once more, with its body', async () => {
  answers([200, { token: 'csrf-1' }], problem(403, 'csrf_invalid'), [200, { token: 'csrf-2' }], [200, { done: true }]);
  expect(await (await post('/ecom/cart/items')).json()).toEqual({ done: true });
  expect(asked[3]!.headers.get('X-CSRF-Token')).toBe('csrf-2');
  expect(await asked[3]!.text()).toBe('{"a":1}');
});

test('a second refusal is told, not tried again', async () => {
  answers(
    [200, { token: 'csrf-1' }],
    problem(403, 'csrf_invalid'),
    [200, { token: 'csrf-2' }],
    problem(403, 'csrf_invalid'),
  );
  await expect(post('/ecom/cart/items')).rejects.toMatchObject({ status: 403, code: 'csrf_invalid' });
  expect(asked).toHaveLength(4);
});

test('another 403 is told at once', async () => {
  answers([200, { token: 'csrf-1' }], problem(403, 'forbidden'));
  await expect(post('/admin/books')).rejects.toMatchObject({ code: 'forbidden' });
});

test('a failed CSRF fetch is not remembered', async () => {
  answers(problem(503, 'dependency_unavailable'), [200, { token: 'csrf-1' }], [200, {}]);
  await expect(post('/ecom/cart/items')).rejects.toMatchObject({ status: 503 });
  await post('/ecom/cart/items');
  expect(asked).toHaveLength(3);
});

test.each<[string, Answer]>([
  ['a 401', problem(401, 'unauthenticated')],
  ['a failure without a status', lost],
])('%s: one renewal, one more try', async (_, first) => {
  answers(first, [200, { items: [] }]);
  await get('/ecom/cart');
  expect(asked.map((one) => one.headers.get('Authorization'))).toEqual(['Bearer token-1', 'Bearer token-2']);
});

test('a token that ends is renewed before anything is sent', async () => {
  auth.ends = true;
  answers([200, { token: 'csrf-1' }], [200, {}]);
  await post('/ecom/cart/items');
  expect(asked.map((one) => one.headers.get('Authorization'))).toEqual(['Bearer token-2', 'Bearer token-2']);
});

test('a token that ends and cannot be renewed, because the realm is away, is sent: services accept it then', async () => {
  auth.ends = true;
  auth.renew = () => {
    auth.away = true;
    return Promise.resolve(false);
  };
  answers([200, { token: 'csrf-1' }], [200, {}]);
  await post('/ecom/cart/items');
  expect(asked.map((one) => one.headers.get('Authorization'))).toEqual(['Bearer token-1', 'Bearer token-1']);
});

test('while the realm is known to be away, no request waits for it', async () => {
  auth.ends = true;
  auth.away = true;
  auth.renew = () => Promise.reject(new Error('renewed'));
  answers([200, {}]);
  await get('/ecom/cart');
  expect(seen()).toEqual(['GET /ecom/cart']);
});

test.each([
  ['POST', '/ecom/cart/items', {}],
  ['POST', '/admin/stock/1/adjust', {}],
  ['PATCH', '/admin/orders/1/status', {}],
  ['PUT', '/admin/books/1', { 'If-Match': '"1"' }],
] as const)('a lost answer to %s %s: it may have been done, so it is not sent again', async (method, path, headers) => {
  answers([200, { token: 'csrf-1' }], lost);
  await expect(change(method, path, headers)).rejects.toMatchObject({ name: 'NetworkError', unsure: true });
  expect(asked).toHaveLength(2);
});

test.each([
  ['POST', '/ecom/checkout', { 'Idempotency-Key': 'k' }],
  ['PUT', '/ecom/cart/items/1', {}],
  ['DELETE', '/ecom/cart/items/1', {}],
] as const)('a lost answer to %s %s: the same is asked for once more', async (method, path, headers) => {
  answers([200, { token: 'csrf-1' }], lost, [200, {}]);
  await change(method, path, headers);
  expect(seen().slice(1)).toEqual([`${method} ${path}`, `${method} ${path}`]);
  expect(asked[2]!.headers.get('Idempotency-Key')).toBe('Idempotency-Key' in headers ? 'k' : null);
});

test('a change that the service refused with a 401 was not made, so it is sent again', async () => {
  answers([200, { token: 'csrf-1' }], problem(401, 'unauthenticated'), [200, {}]);
  await post('/admin/stock/1/adjust');
  expect(asked[2]!.headers.get('Authorization')).toBe('Bearer token-2');
});

test('a session that has ended is told even where the refusal cannot be read', async () => {
  auth.renew = () => {
    auth.token = undefined;
    return Promise.resolve(false);
  };
  answers(lost);
  await expect(get('/ecom/orders')).rejects.toMatchObject({ status: 401, code: 'unauthenticated' });
});

test('without a session a 401 is told and nothing is renewed', async () => {
  auth.token = undefined;
  auth.renew = () => Promise.reject(new Error('renewed'));
  answers(problem(401, 'unauthenticated'));
  await expect(get('/ecom/cart')).rejects.toMatchObject({ status: 401 });
});

test('a refused renewal tells the 401', async () => {
  auth.renew = () => {
    auth.token = undefined;
    return Promise.resolve(false);
  };
  answers(problem(401, 'unauthenticated'));
  await expect(get('/ecom/cart')).rejects.toMatchObject({ status: 401 });
});

test('a token that is refused and cannot be renewed, because the realm is away, is no end of the session', async () => {
  auth.renew = () => Promise.resolve(false);
  answers(problem(401, 'unauthenticated'));
  const error: unknown = await get('/ecom/cart').catch((caught: unknown) => caught);
  expect(error).toMatchObject({ waiting: true, unsure: false });
  expect(sentence(error)).toContain('you stay signed in');
});

test('nor is an answer that says so itself: nothing is renewed, and its words are told', async () => {
  auth.renew = () => Promise.reject(new Error('renewed'));
  answers(problem(503, 'dependency_unavailable'), problem(503, 'whatever'));
  await expect(get('/ecom/orders')).rejects.toMatchObject({ status: 503, code: 'dependency_unavailable' });
  await expect(get('/ecom/orders')).rejects.toMatchObject({ status: 503, code: 'whatever' });
  expect(auth.token).toBe('token-1');
});

test('offline is told at once, without a renewal', async () => {
  vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false);
  answers(lost);
  await expect(get('/ecom/cart')).rejects.toBeInstanceOf(NetworkError);
});

test('Retry-After is kept, and a body that is no problem becomes one', async () => {
  answers([429, { code: 'rate_limited', errors: [] }, { 'Retry-After': '7' }], [502]);
  await expect(get('/ecom/books')).rejects.toMatchObject({ retryAfter: 7, code: 'rate_limited' });
  const error: unknown = await get('/ecom/books').catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status: 502, code: 'http_502' });
});
