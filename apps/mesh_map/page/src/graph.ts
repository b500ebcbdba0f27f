import { h, replace, s } from './dom';
import { arrange, chosen, edgeKey, neighbour, NODE, pathOf, shapeOf } from './layout';
import type { Choice, Layout, Point } from './layout';
import type { Edge, MapData, Workload } from './types';
import { flowOf, sentenceOfEdge, sentenceOfWorkload, stateOf, troubled } from './words';

/** The drawing. Nodes are buttons: Tab enters the graph once, arrow keys move in it, Enter selects. */

const ZOOMS = [0.4, 0.55, 0.75, 1, 1.35];

function widthOf(edge: Edge): number {
  const flow = Math.max(edge.rate ?? 0, ((edge.sent ?? 0) + (edge.received ?? 0)) / 20_000);
  return edge.state === 'idle' ? 1 : Math.min(5, 1.4 + Math.log10(1 + flow));
}

function lock(at: Point): SVGGElement {
  return s(
    'g',
    { class: 'lock', transform: `translate(${at.x - 4.5},${at.y - 7})` },
    s('path', { d: 'M2 5V3.5a2.5 2.5 0 0 1 5 0V5', class: 'bow' }),
    s('rect', { x: 0.5, y: 5, width: 8, height: 6.5, rx: 1.2, class: 'case' }),
  );
}

function middle(points: Point[]): Point | undefined {
  const here = points[Math.floor((points.length - 1) / 2)];
  const next = points[Math.ceil((points.length - 1) / 2)];
  return here && next ? { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 } : undefined;
}

function edgeOf(edge: Edge, points: Point[], selected: string | null): SVGGElement {
  const near = selected === null || edge.source === selected || edge.target === selected;
  const classes = ['edge', edge.state, troubled(edge) && 'troubled', !near && 'far', edge.identity];
  return s(
    'g',
    { class: classes.filter(Boolean).join(' '), role: 'img', 'aria-label': sentenceOfEdge(edge) },
    s('title', {}, sentenceOfEdge(edge)),
    s('path', { d: pathOf(points), class: 'hit' }),
    s('path', {
      d: pathOf(points),
      class: 'line',
      'stroke-width': widthOf(edge).toFixed(1),
      'marker-end': 'url(#arrow)',
    }),
  );
}

/** The lock and the figure of an edge: above all lines, and for eyes only, because the line has it in words. */
function markOf(edge: Edge, points: Point[], selected: string | null): SVGGElement | null {
  const near = selected === null || edge.source === selected || edge.target === selected;
  const at = middle(points);
  const flow = flowOf(edge);
  if (!at || (edge.identity !== 'mutual' && flow === '') || (edge.state === 'idle' && !near)) return null;
  return s(
    'g',
    { class: `mark${near ? '' : ' far'}`, 'aria-hidden': 'true' },
    edge.identity === 'mutual' && lock(at),
    flow !== '' && s('text', { x: at.x + 8, y: at.y - 4, class: 'flow' }, flow),
  );
}

export class GraphView {
  readonly element: HTMLElement;
  private readonly place: HTMLElement;
  private data: MapData | null = null;
  private selected: string | null = null;
  private shape = '';
  private layout: Layout | null = null;
  private zoom = 2;
  private readonly choice: Choice = { scrapes: false, idle: true, platform: false };

  constructor(private readonly select: (id: string) => void) {
    this.place = h('div', { class: 'canvas', tabindex: '0', role: 'region', 'aria-label': 'Drawing of the mesh' });
    const zoom = (label: string, text: string, step: number): HTMLButtonElement => {
      const made = h('button', { type: 'button', 'aria-label': label, title: label }, text);
      made.addEventListener('click', () => {
        this.zoom = Math.min(ZOOMS.length - 1, Math.max(0, this.zoom + step));
        this.draw();
      });
      return made;
    };
    const box = (label: string, name: keyof Choice): HTMLLabelElement => {
      const input = h('input', { type: 'checkbox', checked: this.choice[name] });
      input.addEventListener('change', () => {
        this.choice[name] = input.checked;
        this.draw();
      });
      return h('label', {}, input, label);
    };
    this.element = h(
      'section',
      { class: 'graph', 'aria-labelledby': 'graph-title' },
      h(
        'div',
        { class: 'bar' },
        h('h2', { id: 'graph-title' }, 'Who calls whom'),
        box('idle edges', 'idle'),
        box("Prometheus' scrapes", 'scrapes'),
        box("the cluster's own parts", 'platform'),
        h('span', { class: 'zoom' }, zoom('Smaller', '−', -1), zoom('Larger', '+', 1)),
      ),
      this.place,
      legend(),
    );
  }

  show(data: MapData, selected: string | null): void {
    this.data = data;
    this.selected = selected;
    this.draw();
  }

  private draw(): void {
    if (!this.data) return;
    const { workloads, edges } = chosen(this.data.workloads, this.data.edges, this.choice);
    const shape = shapeOf(workloads, edges);
    if (shape !== this.shape || !this.layout) {
      this.layout = arrange(workloads, edges);
      this.shape = shape;
    }
    const places = this.layout;
    const scale = ZOOMS[this.zoom] ?? 1;
    const first = this.selected !== null && places.nodes.has(this.selected) ? this.selected : workloads[0]?.id;
    const drawing = s(
      'svg',
      {
        viewBox: `0 0 ${places.width} ${places.height}`,
        width: Math.round(places.width * scale),
        height: Math.round(places.height * scale),
        role: 'group',
        'aria-label': 'Workloads by namespace; arrow keys move, Enter shows one. The table below has the same edges.',
      },
      s(
        'defs',
        {},
        s(
          'marker',
          {
            id: 'arrow',
            viewBox: '0 0 8 8',
            refX: 7.5,
            refY: 4,
            markerWidth: 8,
            markerHeight: 8,
            orient: 'auto',
            markerUnits: 'userSpaceOnUse',
          },
          s('path', { d: 'M0 0.8 8 4 0 7.2z', class: 'tip' }),
        ),
      ),
      ...[...places.namespaces].map(([name, box]) =>
        s(
          'g',
          { class: 'namespace' },
          s('rect', {
            x: box.x - box.width / 2,
            y: box.y - box.height / 2,
            width: box.width,
            height: box.height,
            rx: 10,
          }),
          s('text', { x: box.x - box.width / 2 + 8, y: box.y - box.height / 2 - 5 }, name),
        ),
      ),
      ...edges.map((edge) => edgeOf(edge, places.edges.get(edgeKey(edge)) ?? [], this.selected)),
      ...edges.map((edge) => markOf(edge, places.edges.get(edgeKey(edge)) ?? [], this.selected)),
      ...workloads.map((one) => this.node(one, places, one.id === first)),
    );
    replace(this.place, drawing);
  }

  private node(one: Workload, places: Layout, reachable: boolean): SVGGElement {
    const box = places.nodes.get(one.id) ?? { x: 0, y: 0, ...NODE };
    const [left, top] = [box.x - NODE.width / 2, box.y - NODE.height / 2];
    const name = one.name.length > 23 ? `${one.name.slice(0, 22)}…` : one.name;
    const element = s(
      'g',
      {
        class: `node ${one.state}${one.id === this.selected ? ' selected' : ''}`,
        role: 'button',
        tabindex: reachable ? '0' : '-1',
        'aria-label': sentenceOfWorkload(one),
        'aria-pressed': one.id === this.selected ? 'true' : 'false',
        'data-key': one.id,
      },
      s('title', {}, sentenceOfWorkload(one)),
      s('rect', { x: left, y: top, width: NODE.width, height: NODE.height, rx: 7, class: 'card' }),
      s('rect', { x: left, y: top, width: 6, height: NODE.height, rx: 3, class: 'stripe' }),
      s('text', { x: left + 14, y: top + 19, class: 'name' }, name),
      s('text', { x: left + 14, y: top + 36, class: 'below' }, stateOf(one)),
      one.alerts > 0 && s('circle', { cx: left + NODE.width - 13, cy: top + 13, r: 9, class: 'badge' }),
      one.alerts > 0 && s('text', { x: left + NODE.width - 13, y: top + 17, class: 'badge-text' }, one.alerts),
    );
    element.addEventListener('click', () => this.select(one.id));
    element.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        this.select(one.id);
        return;
      }
      const next = neighbour(places.nodes, one.id, event.key);
      if (next === undefined) return;
      event.preventDefault();
      for (const other of this.place.querySelectorAll<SVGGElement>('.node')) {
        const reached = other.getAttribute('data-key') === next;
        other.setAttribute('tabindex', reached ? '0' : '-1');
        if (reached) {
          other.focus();
          other.scrollIntoView({ block: 'nearest', inline: 'nearest' });
        }
      }
    });
    return element;
  }
}

function legend(): HTMLElement {
  const sample = (classes: string, text: string): HTMLLIElement =>
    h(
      'li',
      {},
      s(
        'svg',
        { width: 34, height: 14, 'aria-hidden': 'true', class: `edge ${classes}` },
        s('path', { d: 'M1 7H33', class: 'line', 'stroke-width': 2 }),
        classes.includes('mutual') && lock({ x: 17, y: 8 }),
      ),
      text,
    );
  return h(
    'ul',
    { class: 'legend', 'aria-label': 'Legend' },
    sample('active', 'traffic in the last minute'),
    sample('active mutual', 'both ends proved their identity'),
    sample('active troubled', 'more than 1 % of the requests fail'),
    sample('idle', 'declared, idle'),
    sample('undeclared', 'not declared in the matrix'),
  );
}
