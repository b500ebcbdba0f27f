import { webcrypto } from 'node:crypto';
import { vi } from 'vitest';

const ISSUER = 'https://id.test/realms/bookstore';
const [AUTHORIZE, TOKEN] = [`${ISSUER}/protocol/openid-connect/auth`, `${ISSUER}/protocol/openid-connect/token`];

const encoded = (bytes: string | ArrayBuffer): string => Buffer.from(bytes as string).toString('base64url');
const json = (status: number, body: unknown): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });

/** How a realm that is away looks to a browser. */
export const ABSENCES = {
  'no network': () => Promise.reject(new TypeError('Failed to fetch')),
  'a page of the gateway': () =>
    Promise.resolve(new Response('upstream connect error', { status: 503, headers: { 'Content-Type': 'text/plain' } })),
  'a problem of the gateway': () =>
    Promise.resolve(
      new Response(JSON.stringify({ status: 503, code: 'shutting_down' }), {
        status: 503,
        headers: { 'Content-Type': 'application/problem+json' },
      }),
    ),
  'a reason in the form of a refusal': () => Promise.resolve(json(503, { error: 'temporarily_unavailable' })),
  'a fault of its own': () => Promise.resolve(json(500, { error: 'unknown_error' })),
} as const;

/** A realm behind `fetch` and behind the hidden frame: what the OIDC library sees of Keycloak, and nothing of the library itself. */
export class Keycloak {
  /** Whose session the browser's cookie is of. */
  cookie: string | null = 'ada';
  away: keyof typeof ABSENCES | null = null;
  /** Whether the frame is answered. */
  frames = true;
  lifetime = 300;
  /** Requests to the token endpoint, by their grant. */
  grants: string[] = [];
  authorizations: URL[] = [];
  #codes = new Map<string, { sub: string; challenge: string | null }>();
  #refresh = new Map<string, string>();
  #count = 0;

  /** Take the place of network, frames and redirects of this page. */
  install(): void {
    vi.stubGlobal('crypto', webcrypto);
    vi.stubGlobal('fetch', (input: RequestInfo | URL, init?: RequestInit) => this.#answer(new Request(input, init)));
    vi.spyOn(HTMLIFrameElement.prototype, 'contentWindow', 'get').mockImplementation(function frame(
      this: HTMLIFrameElement,
    ) {
      return {
        location: {
          replace: (url: string) => {
            here.#navigate(this, url);
          },
        },
      } as unknown as Window;
    });
    // eslint-disable-next-line @typescript-eslint/no-this-alias
    const here = this;
    vi.stubGlobal('self', {
      location: {
        replace: (url: string) => {
          this.authorizations.push(new URL(url));
        },
      },
    });
  }

  /** Spend every refresh token, as another tab or an administrator would. */
  spend(): void {
    this.#refresh.clear();
  }

  #navigate(frame: HTMLIFrameElement, url: string): void {
    if (url === 'about:blank') {
      frame.dispatchEvent(new Event('load'));
      return;
    }
    const asked = new URL(url);
    this.authorizations.push(asked);
    if (!this.frames || this.away !== null) return;
    const answer = new URL(asked.searchParams.get('redirect_uri') ?? '');
    answer.searchParams.set('state', asked.searchParams.get('state') ?? '');
    if (this.cookie === null) answer.searchParams.set('error', 'login_required');
    else {
      const code = `code-${String((this.#count += 1))}`;
      this.#codes.set(code, { sub: this.cookie, challenge: asked.searchParams.get('code_challenge') });
      answer.searchParams.set('code', code);
    }
    const data = { source: 'oidc-client', url: answer.href, keepOpen: false };
    queueMicrotask(() => window.dispatchEvent(new MessageEvent('message', { origin: window.location.origin, data })));
  }

  async #answer(request: Request): Promise<Response> {
    if (this.away !== null) return ABSENCES[this.away]();
    if (request.url === `${ISSUER}/.well-known/openid-configuration`)
      return json(200, { issuer: ISSUER, authorization_endpoint: AUTHORIZE, token_endpoint: TOKEN });
    if (request.url !== TOKEN) throw new Error(`unexpected ${request.method} ${request.url}`);
    const form = new URLSearchParams(await request.text());
    this.grants.push(form.get('grant_type') ?? '');
    const sub =
      form.get('grant_type') === 'refresh_token'
        ? this.#spent(this.#refresh, form.get('refresh_token'))
        : await this.#exchanged(form);
    return sub === undefined
      ? json(400, { error: 'invalid_grant', error_description: 'Token is not active' })
      : json(200, this.#tokens(sub));
  }

  #spent<T>(from: Map<string, T>, key: string | null): T | undefined {
    const found = from.get(key ?? '');
    from.delete(key ?? '');
    return found;
  }

  async #exchanged(form: URLSearchParams): Promise<string | undefined> {
    const code = this.#spent(this.#codes, form.get('code'));
    const proof = encoded(
      await webcrypto.subtle.digest('SHA-256', new TextEncoder().encode(form.get('code_verifier') ?? '')),
    );
    return code?.challenge === proof ? code.sub : undefined;
  }

  #tokens(sub: string): Record<string, unknown> {
    const number = String((this.#count += 1));
    this.#refresh.set(`refresh-${number}`, sub);
    const claims = {
      iss: ISSUER,
      aud: 'ui-client',
      sub,
      preferred_username: sub,
      roles: ['customer'],
      exp: Date.now() / 1000 + this.lifetime,
    };
    const idToken = [encoded('{"alg":"none"}'), encoded(JSON.stringify(claims)), ''].join('.');
    return {
      access_token: `access-${number} of ${sub}`,
      refresh_token: `refresh-${number}`,
      id_token: idToken,
      token_type: 'Bearer',
      scope: 'openid',
      expires_in: this.lifetime,
    };
  }
}
