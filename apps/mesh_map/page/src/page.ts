import { h, replace } from './dom';
import { clock } from './format';
import { GraphView } from './graph';
import { alertsPanel, detailPanel, edgesTable, freshnessPanel, proofPanel, statusPanel } from './panels';
import type { MapData, Sight, Signals } from './types';

/** The page: asks for the map every ten seconds, and shows what it got, or since when it gets nothing. */

export const REFRESH_MILLISECONDS = 10_000;
const PATIENCE_MILLISECONDS = 9000;
const SECTIONS = [
  ['alerts', 'Alerts'],
  ['freshness', 'Freshness of analytics'],
  ['status', 'What runs'],
  ['proof', 'Last verify'],
  ['edges', 'All edges'],
] as const;

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(path, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
  });
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return (await response.json()) as T;
}

/** `#w=ecom/ecom-api` selects a workload, so that it can be linked to. */
export function selectionOf(hash: string): string | null {
  const found = /^#w=([a-z0-9][a-z0-9.-]*\/[a-z0-9][a-z0-9.-]*)$/.exec(hash);
  return found?.[1] ?? null;
}

/** What is not seen, and since when; empty while both sources are seen. */
export function blindness(figures: Sight, cluster: Sight, now: number): string[] {
  const told = (name: string, sight: Sight, left: string): string[] => {
    if (sight.state !== 'blind') return [];
    const since =
      sight.since === undefined ? '' : ` since ${sight.ever === false ? 'at least ' : ''}${clock(sight.since, now)}`;
    return [`Blind for ${name}${since}: ${sight.reason ?? 'it does not answer'}. ${left}`];
  };
  return [
    ...told('traffic', figures, "Shown are the declared edges and Kubernetes' state."),
    ...told('workloads', cluster, 'Shown is what Prometheus knows.'),
  ];
}

export class MapPage {
  private readonly graph = new GraphView((id) => this.select(id, true));
  private readonly notice = h('div', { class: 'notice', role: 'status' });
  private readonly age = h('p', { class: 'age' });
  private readonly detail = h('aside', { class: 'detail', 'aria-labelledby': 'detail-title', hidden: true });
  private readonly bodies = new Map(SECTIONS.map(([id]) => [id as string, h('div', {})]));
  private readonly links = new Map<string, HTMLAnchorElement>();
  private data: MapData | null = null;
  private signals: Signals | null = null;
  private selected = selectionOf(location.hash);
  private failing: number | null = null;
  private readonly drawn: boolean;

  constructor(place: HTMLElement) {
    // Where nothing can be drawn (tests), words are left.
    this.drawn = typeof Path2D !== 'undefined';
    const skip = h('a', { class: 'skip', href: '#edges' }, 'Skip the drawing');
    const nav = h('nav', { 'aria-label': 'Sections' });
    for (const [id, title] of SECTIONS) {
      const link = h('a', { href: `#${id}` }, title);
      this.links.set(id, link);
      nav.append(link);
    }
    place.append(
      skip,
      h('header', {}, h('h1', {}, 'Mesh map'), nav, this.age),
      this.notice,
      h(
        'main',
        {},
        h('div', { class: 'top' }, this.graph.element, this.detail),
        ...SECTIONS.map(([id, title]) =>
          h(
            'section',
            { id, 'aria-labelledby': `${id}-title`, tabindex: '-1' },
            h('h2', { id: `${id}-title` }, title),
            this.bodies.get(id),
          ),
        ),
      ),
      h(
        'footer',
        {},
        'Nothing here can change anything. Figures are of the last minute; the same in a terminal: make status.',
      ),
    );
    window.addEventListener('hashchange', () => {
      const wanted = selectionOf(location.hash);
      if (wanted !== null && wanted !== this.selected) this.select(wanted, false);
    });
    // Charts have colours of the scheme that was there when they were drawn.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.show());
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.selected !== null) this.close();
    });
  }

  start(): void {
    const again = (): void => {
      void this.refresh().finally(() => setTimeout(again, REFRESH_MILLISECONDS));
    };
    again();
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) void this.refresh();
    });
  }

  async refresh(): Promise<void> {
    if (document.hidden && this.data) return;
    try {
      this.data = await ask<MapData>('/api/map');
      this.failing = null;
    } catch {
      this.failing ??= Date.now() / 1000;
    }
    await this.refreshSignals();
    this.show();
  }

  private async refreshSignals(): Promise<void> {
    const id = this.selected;
    if (id === null || this.failing !== null) return;
    try {
      const found = await ask<Signals>(`/api/workloads/${id.split('/').map(encodeURIComponent).join('/')}`);
      if (this.selected === id) this.signals = found;
    } catch {
      // The map's own answer tells what is wrong; figures of before stay, with their times.
    }
  }

  private select(id: string, remember: boolean): void {
    if (this.selected !== id) this.signals = null;
    this.selected = id;
    if (remember) history.replaceState(null, '', `#w=${id}`);
    this.show();
    document.getElementById('detail-title')?.focus({ preventScroll: false });
    void this.refreshSignals().then(() => this.show());
  }

  private close(): void {
    const before = this.selected;
    this.selected = null;
    this.signals = null;
    history.replaceState(null, '', location.pathname);
    this.show();
    for (const node of document.querySelectorAll<SVGElement>('.node'))
      if (node.getAttribute('data-key') === before) node.focus();
  }

  private show(): void {
    const { data } = this;
    const now = Date.now() / 1000;
    const troubles = data ? blindness(data.figures, data.cluster, data.time) : [];
    if (data && data.figures.state === 'seen' && !data.recorded)
      troubles.push(
        "Prometheus records no edges: are role observability's rules loaded? Shown are the declared edges.",
      );
    if (this.failing !== null)
      troubles.unshift(`The map does not answer since ${clock(this.failing, now)}; what is shown is from before.`);
    const said = troubles.join('\n');
    // A live region speaks when it changes; it must not at every refresh.
    if (this.notice.dataset.said !== said) {
      this.notice.dataset.said = said;
      this.notice.replaceChildren(...troubles.map((text) => h('p', {}, text)));
    }
    if (!data) return;
    const blind = data.figures.state === 'blind';
    const firing = data.alerts.filter((alert) => alert.state === 'firing').length;
    this.age.textContent = `As of ${clock(data.time, now)}`;
    const link = this.links.get('alerts');
    if (link) link.textContent = firing > 0 ? `Alerts (${firing})` : 'Alerts';
    const select = (id: string): void => this.select(id, true);
    const content: Record<string, HTMLElement> = {
      alerts: alertsPanel(data.alerts, data.time, blind),
      freshness: freshnessPanel(data.freshness, blind),
      status: statusPanel(data, select),
      proof: proofPanel(data),
      edges: edgesTable(data.edges, select, 'All edges'),
    };
    for (const [id, body] of this.bodies) {
      const made = content[id];
      if (made) replace(body, made);
    }
    const one = data.workloads.find((workload) => workload.id === this.selected);
    this.detail.hidden = one === undefined;
    if (one)
      replace(
        this.detail,
        detailPanel(
          one,
          data,
          this.signals,
          select,
          () => this.close(),
          this.drawn,
          Math.max(240, this.detail.clientWidth - 34),
        ),
      );
    this.graph.show(data, one?.id ?? null);
  }
}
