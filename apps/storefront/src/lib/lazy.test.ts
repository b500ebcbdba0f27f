import { beforeEach, expect, test, vi } from 'vitest';
import { fetched, page, PartError } from './lazy';

const gone = new TypeError('Failed to fetch dynamically imported module: https://shop.test/assets/cart-1a2b.js');
let reload: ReturnType<typeof vi.spyOn>;
const shop = (answer: () => Promise<Response>): void => {
  vi.stubGlobal('fetch', vi.fn(answer));
};
const up = () => Promise.resolve(new Response('{}'));

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 200 });
  reload = vi.spyOn(page, 'reload').mockReturnValue();
  return () => {
    vi.useRealTimers();
  };
});

test('one failure is not seen, and a part is fetched once', async () => {
  const load = vi.fn<() => Promise<string>>().mockRejectedValueOnce(gone).mockResolvedValue('part');
  const part = fetched('cart', load);
  expect(await Promise.all([part(), part()])).toEqual(['part', 'part']);
  expect(await part()).toBe('part');
  expect(load).toHaveBeenCalledTimes(2);
});

test('without a network the failure is told, and forgotten: the next use tries again', async () => {
  shop(() => Promise.reject(new TypeError('Failed to fetch')));
  const load = vi
    .fn<() => Promise<string>>()
    .mockRejectedValueOnce(gone)
    .mockRejectedValueOnce(gone)
    .mockResolvedValue('part');
  const part = fetched('cart', load);
  await expect(part()).rejects.toBeInstanceOf(PartError);
  expect(reload).not.toHaveBeenCalled();
  expect(await part()).toBe('part');
});

test('after a new deployment the page is reloaded once, not in a circle', async () => {
  shop(up);
  const part = fetched('cart', () => Promise.reject(gone));
  void part();
  await vi.waitFor(() => {
    expect(reload).toHaveBeenCalledOnce();
  });
  // The page as it is after the reload: the part is still not there.
  await expect(fetched('cart', () => Promise.reject(gone))()).rejects.toBeInstanceOf(PartError);
  expect(reload).toHaveBeenCalledOnce();
  // Once it could be fetched, another deployment may come.
  await fetched('cart', () => Promise.resolve('part'))();
  void fetched('cart', () => Promise.reject(gone))();
  await vi.waitFor(() => {
    expect(reload).toHaveBeenCalledTimes(2);
  });
});

test('what nobody waits for never reloads the page', async () => {
  shop(up);
  await expect(fetched('oidc', () => Promise.reject(gone))({ quietly: true })).rejects.toBeInstanceOf(PartError);
  expect(reload).not.toHaveBeenCalled();
});

test('every dynamic import is fetched this way', () => {
  const sources = import.meta.glob<string>('/src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
  const bare = Object.entries(sources)
    .filter(([name]) => !name.includes('.test.'))
    .flatMap(([name, text]) =>
      text
        .split('\n')
        .filter((line) => /\bimport\(/.test(line) && !/fetched\('[\w-]+', \(\) => import\(/.test(line))
        .map((line) => `${name}: ${line.trim()}`),
    );
  expect(bare).toEqual([]);
});
