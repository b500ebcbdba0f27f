/** RFC 9457 problem details as the services send them (SPEC 5.1), with the members that some add. */
export interface Problem {
  status: number;
  title: string;
  detail: string;
  code: string;
  request_id?: string;
  errors: { field: string; location: string; message: string }[];
  book_ids?: string[];
  total?: string;
  /** Of a change that came too late: what is there now. */
  version?: number;
  quantity?: number;
  reserved?: number;
  low_stock_threshold?: number;
}

/** An answer that is no success. */
export class ApiError extends Error {
  override name = 'ApiError';
  constructor(
    readonly problem: Problem,
    /** Seconds, of Retry-After. */
    readonly retryAfter?: number,
  ) {
    super(`${String(problem.status)} ${problem.code}`);
  }
  get status(): number {
    return this.problem.status;
  }
  get code(): string {
    return this.problem.code;
  }
}

/** No answer at all. */
export class NetworkError extends Error {
  override name = 'NetworkError';
  constructor(
    message: string,
    /** The request may have been carried out, and must not be sent again by itself. */
    readonly unsure = false,
    /** Who is still signed in has no token that is good, because the realm does not answer: nothing was done. */
    readonly waiting = false,
  ) {
    super(message);
  }
}

/** Read an answer that is no success; a body that is no problem becomes one. */
export async function toApiError(answer: Response): Promise<ApiError> {
  const wait = Number(answer.headers.get('Retry-After') ?? Number.NaN);
  let body: Partial<Problem> = {};
  try {
    body = (await answer.json()) as Partial<Problem>;
  } catch {
    // Not JSON: the status has to do.
  }
  const problem: Problem = {
    ...body,
    status: answer.status,
    title: body.title ?? answer.statusText,
    detail: body.detail ?? '',
    code: body.code ?? `http_${String(answer.status)}`,
    errors: Array.isArray(body.errors) ? body.errors : [],
  };
  return new ApiError(problem, Number.isFinite(wait) ? wait : undefined);
}

export interface Message {
  title: string;
  detail: string;
  /** Whether the same request may succeed later. */
  again: boolean;
}

const BY_CODE: Record<string, [string, string, boolean?]> = {
  unauthenticated: ['Please sign in again', 'Your session has ended. Nothing was changed.'],
  forbidden: ['Not allowed', 'Your account may not do this.'],
  csrf_invalid: [
    'Please try again',
    'This page was open for long, so the request was refused for safety. Nothing was changed.',
    true,
  ],
  origin_mismatch: ['Not allowed here', 'This request came from another address than the shop’s own.'],
  not_found: ['Not found', 'It is not there, or no longer.'],
  cart_full: ['Your cart is full', 'A cart holds 50 different books. Remove one to add another.'],
  cart_empty: [
    'Your cart is empty',
    'There is nothing to order. If you placed the order before, it is among your orders.',
  ],
  idempotency_key_reused: ['This order was already sent', 'Look at your orders before you try again.'],
  inventory_unavailable: [
    'Stock cannot be checked just now',
    'Nothing was ordered and your cart is kept. Please try again in a moment.',
    true,
  ],
  dependency_unavailable: [
    'The shop is catching its breath',
    'A part of it does not answer. Please try again in a moment.',
    true,
  ],
  token_check_unavailable: [
    'Your sign-in cannot be checked just now',
    'Nothing was changed and you stay signed in. Please try again in a moment.',
    true,
  ],
  shutting_down: ['The shop is catching its breath', 'Please try again in a moment.', true],
  isbn_exists: ['ISBN already used', 'Another book has this ISBN.'],
  stale_version: ['Changed meanwhile', 'It was changed after you opened it, so nothing was saved.'],
  below_reserved: ['Fewer than reserved', 'Orders have reserved more copies than that.'],
  invalid_transition: ['The order has moved on', 'Its status does not allow this any more.'],
  bad_gateway: ['A service does not answer', 'Please try again in a moment.', true],
  gateway_timeout: ['A service does not answer in time', 'Please try again in a moment.', true],
};

/** The one place that turns errors into words. */
export function describe(error: unknown): Message {
  if (error instanceof NetworkError) {
    if (error.waiting)
      return {
        title: 'Your sign-in cannot be renewed just now',
        detail: 'Nothing was changed and you stay signed in. Please try again in a moment.',
        again: true,
      };
    if (error.unsure)
      return {
        title: 'No answer came',
        detail: 'It may have been done all the same: look before you try again.',
        again: false,
      };
    return navigator.onLine
      ? { title: 'The shop cannot be reached', detail: 'Please check your connection and try again.', again: true }
      : { title: 'You are offline', detail: 'This will work again once you are connected.', again: true };
  }
  if (!(error instanceof ApiError)) {
    return { title: 'Something went wrong', detail: 'Please try again. If it stays so, reload the page.', again: true };
  }
  if (error.status === 429) {
    const wait = error.retryAfter ?? 60;
    return {
      title: 'A little too fast',
      detail: `Please try again in ${wait === 1 ? '1 second' : `${String(wait)} seconds`}.`,
      again: true,
    };
  }
  const known = BY_CODE[error.code];
  if (known !== undefined) return { title: known[0], detail: known[1], again: known[2] ?? false };
  if (error.status >= 500)
    return { title: 'Something broke on our side', detail: 'Please try again in a moment.', again: true };
  return { title: error.problem.title || 'This did not work', detail: error.problem.detail, again: false };
}

export const sentence = (error: unknown): string => {
  const { title, detail } = describe(error);
  return detail === '' ? `${title}.` : `${title}. ${detail}`;
};

export const hasCode = (error: unknown, code: string): error is ApiError =>
  error instanceof ApiError && error.code === code;
export const isMissing = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 404 || error.status === 422);
