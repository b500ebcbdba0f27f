import { beforeEach, describe, expect, test, vi } from 'vitest';
import { blindness, MapPage, selectionOf } from './page';
import { edge, mapData, workload } from './testing';
import type { MapData } from './types';

let answers: Record<string, unknown>;
let asked: string[];

const signals = {
  id: 'ecom/api',
  figures: { state: 'seen' },
  times: [0, 30, 60],
  signals: { rate: [1, 2, 3], errors: [0, null, 0.5], memory: [null, null, null] },
};

beforeEach(() => {
  document.body.replaceChildren();
  history.replaceState(null, '', '/');
  answers = { '/api/map': mapData(), '/api/workloads/ecom/api': signals };
  asked = [];
  vi.stubGlobal('fetch', (path: string) => {
    asked.push(path);
    const body = answers[path];
    return body === undefined
      ? Promise.reject(new TypeError('no answer'))
      : Promise.resolve(new Response(JSON.stringify(body), { status: 200 }));
  });
});

async function opened(): Promise<{ page: MapPage; place: HTMLElement }> {
  const place = document.createElement('div');
  document.body.append(place);
  const page = new MapPage(place);
  await page.refresh();
  return { page, place };
}

const rowsOf = (place: HTMLElement, section: string): string[] =>
  [...place.querySelectorAll(`#${section} tbody tr`)].map((row) =>
    [...row.children].map((cell) => cell.textContent).join(' | '),
  );

const node = (place: HTMLElement, id: string): SVGGElement =>
  [...place.querySelectorAll<SVGGElement>('.node')].find((one) => one.getAttribute('data-key') === id)!;

const press = (element: Element, key: string): boolean =>
  element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));

describe('the page', () => {
  test('draws workloads and edges, with a lock where both ends proved their identity', async () => {
    const { place } = await opened();
    expect(place.querySelectorAll('.node')).toHaveLength(3);
    expect(place.querySelectorAll('.canvas .edge')).toHaveLength(3);
    expect(place.querySelectorAll('.canvas .lock')).toHaveLength(2);
    expect(place.querySelector('.edge.undeclared')?.getAttribute('aria-label')).toContain('not declared');
    expect(node(place, 'ecom/api').getAttribute('aria-label')).toBe('api in ecom, ready, 1 of 1 ready, 1 alert fires');
  });

  test('has the same edges as a table', async () => {
    const { place } = await opened();
    expect(rowsOf(place, 'edges')[0]).toBe(
      'gateway/gate | ecom/api | active | 8000 | 18.4/s | 0 % | 9.5 ms | 41 ms | – | – | both ends proved their identity',
    );
    expect(rowsOf(place, 'edges')[2]).toContain('undeclared');
    for (const head of place.querySelectorAll('th')) expect(head.getAttribute('scope')).toMatch(/^(?:row|col)$/);
  });

  test('tells alerts with their remedy, freshness, what runs and the last verify', async () => {
    const { place } = await opened();
    expect(rowsOf(place, 'alerts')[0]).toContain('14 % of the calls fail.');
    expect(rowsOf(place, 'alerts')[0]).toContain('BK-302: the log of api');
    expect(place.querySelector('nav')?.textContent).toContain('Alerts (1)');
    expect(rowsOf(place, 'freshness')).toEqual(['orders | 3 | 2 min ago', 'mv_daily_sales | 14 s ago | nothing waits']);
    expect(rowsOf(place, 'status')).toHaveLength(3);
    // What failed comes first.
    expect(rowsOf(place, 'proof')[0]).toBe('V-DLQ | No dead letters | failed | BK-327: make replay');
  });

  test('can be used by keyboard: one stop for Tab, arrows, Enter, Escape', async () => {
    const { place } = await opened();
    const stops = [...place.querySelectorAll<SVGGElement>('.node')].filter(
      (one) => one.getAttribute('tabindex') === '0',
    );
    expect(stops).toHaveLength(1);
    const gate = node(place, 'gateway/gate');
    gate.focus();
    press(gate, 'ArrowRight');
    expect(document.activeElement?.getAttribute('data-key')).toBe('ecom/api');
    press(document.activeElement!, 'Enter');
    const detail = place.querySelector<HTMLElement>('.detail')!;
    expect(detail.hidden).toBe(false);
    expect(document.activeElement?.id).toBe('detail-title');
    expect(location.hash).toBe('#w=ecom/api');
    press(document.activeElement!, 'Escape');
    expect(detail.hidden).toBe(true);
    expect(document.activeElement?.getAttribute('data-key')).toBe('ecom/api');
  });

  test('shows golden signals in words, too', async () => {
    history.replaceState(null, '', '/#w=ecom/api');
    const { place } = await opened();
    const captions = [...place.querySelectorAll('figcaption')].map((one) => one.textContent);
    expect(captions).toEqual(['Requests all: now 3/s, at most 3/s; failed: now 0.5/s, at most 0.5/s']);
    expect(place.querySelector('.detail')?.textContent).toContain('EdgeFails');
    expect(node(place, 'ecom/api').getAttribute('aria-pressed')).toBe('true');
  });

  test('keeps the focus over a refresh', async () => {
    const { page, place } = await opened();
    const link = place.querySelectorAll<HTMLButtonElement>('#edges button')[1]!;
    link.focus();
    await page.refresh();
    expect(document.activeElement).not.toBe(document.body);
    expect(document.activeElement?.getAttribute('data-key')).toBe(link.getAttribute('data-key'));
    expect(link.isConnected).toBe(false);
  });

  test('texts of others stay text', async () => {
    const evil = '<img src=x onerror=alert(1)>"\'';
    answers['/api/map'] = mapData({
      workloads: [workload(`ecom/${evil}`, { reason: evil }), workload('ecom/api')],
      edges: [edge(`ecom/${evil}`, 'ecom/api')],
      alerts: [{ ...mapData().alerts[0]!, name: evil, summary: evil, about: { table: evil } }],
      freshness: [{ kind: 'view', name: evil }],
    });
    const { place } = await opened();
    expect(place.querySelector('img, script')).toBeNull();
    expect(place.textContent).toContain(evil);
  });

  test('says since when it is blind, and shows what is left', async () => {
    const blind: Partial<MapData> = {
      figures: { state: 'blind', since: 1_795_888_500, reason: 'Prometheus does not answer', ever: true },
      alerts: [],
      freshness: [],
    };
    answers['/api/map'] = mapData(blind);
    const { page, place } = await opened();
    const notice = place.querySelector('.notice')!;
    expect(notice.getAttribute('role')).toBe('status');
    expect(notice.textContent).toMatch(/^Blind for traffic since \d\d:\d\d: Prometheus does not answer\./);
    expect(place.querySelector('#alerts')?.textContent).toContain('Not known: the map is blind.');
    expect(rowsOf(place, 'status')).toHaveLength(3);
    // A live region would speak again if its content were made anew.
    const said = notice.firstChild;
    await page.refresh();
    expect(notice.firstChild).toBe(said);
    answers['/api/map'] = mapData();
    await page.refresh();
    expect(notice.textContent).toBe('');
  });

  test('says since when the map itself does not answer', async () => {
    const { page, place } = await opened();
    answers = {};
    await page.refresh();
    expect(place.querySelector('.notice')?.textContent).toMatch(/^The map does not answer since \d\d:\d\d/);
    expect(place.querySelectorAll('.node')).toHaveLength(3);
  });

  test('asks the map only', async () => {
    history.replaceState(null, '', '/#w=ecom/api');
    await opened();
    expect(asked).toEqual(['/api/map', '/api/workloads/ecom/api']);
  });
});

test('what a link may select', () => {
  expect(selectionOf('#w=ecom/ecom-api')).toBe('ecom/ecom-api');
  for (const other of ['', '#alerts', '#w=ecom', '#w=../x', '#w=a/b/c', '#w=A/b', '#w=a/b?x'])
    expect(selectionOf(other)).toBeNull();
});

test('a map that never saw a source says at least', () => {
  const [text] = blindness({ state: 'blind', since: 0, reason: 'x', ever: false }, { state: 'seen' }, 60);
  expect(text).toContain('since at least');
});
