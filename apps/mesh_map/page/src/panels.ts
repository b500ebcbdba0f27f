import { chartsOf } from './charts';
import { button, h } from './dom';
import { bytesPerSecond, clock, count, duration, milliseconds, percent, perSecond } from './format';
import type { Alert, Edge, Fresh, MapData, Signals, Workload } from './types';
import { IDENTITIES, STATES, troubled } from './words';

/** Everything beside the drawing, as tables and words. */

type Cell = string | Node;
type Select = (id: string) => void;

interface Row {
  key: string;
  class?: string | undefined;
  cells: Cell[];
}

/** A table that a screen reader can walk through; its box takes the focus so that it can be scrolled by keyboard. */
export function table(label: string, heads: string[], rows: Row[], empty: string): HTMLElement {
  if (rows.length === 0) return h('p', { class: 'empty' }, empty);
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Table: ${label}`, 'data-key': `table ${label}` },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, ...heads.map((head) => h('th', { scope: 'col' }, head)))),
      h(
        'tbody',
        {},
        ...rows.map(({ class: name, cells: [first, ...rest] }) =>
          h('tr', { class: name }, h('th', { scope: 'row' }, first), ...rest.map((cell) => h('td', {}, cell))),
        ),
      ),
    ),
  );
}

const link = (id: string, place: string, select: Select): HTMLButtonElement =>
  button(id, { class: 'link', 'data-key': `${place} ${id}` }, () => select(id));

const flag = (kind: string, text: string): HTMLElement => h('span', { class: `flag ${kind}` }, text);

export function edgesTable(edges: Edge[], select: Select, label: string): HTMLElement {
  const rows = edges.map((edge) => ({
    key: `${edge.source} ${edge.target}`,
    class: edge.state === 'undeclared' || troubled(edge) ? 'bad' : undefined,
    cells: [
      link(edge.source, `${label} from ${edge.target}`, select),
      link(edge.target, `${label} to ${edge.source}`, select),
      edge.state === 'undeclared' ? flag('bad', 'undeclared') : edge.state,
      edge.ports.join(', ') || '–',
      perSecond(edge.rate),
      percent(edge.errors, edge.rate),
      milliseconds(edge.p50),
      milliseconds(edge.p95),
      bytesPerSecond(edge.received),
      bytesPerSecond(edge.sent),
      edge.identity === 'mutual' ? flag('good', IDENTITIES.mutual) : IDENTITIES[edge.identity],
    ],
  }));
  const heads = [
    'From',
    'To',
    'State',
    'Ports',
    'Requests',
    'Failed',
    'p50',
    'p95',
    'Bytes to it',
    'Bytes from it',
    'Identity',
  ];
  return table(label, heads, rows, 'No edges.');
}

export function alertsPanel(alerts: Alert[], now: number, blind: boolean): HTMLElement {
  const rows = alerts.map((alert, index) => ({
    key: `${alert.name} ${index}`,
    class: alert.state === 'firing' ? alert.severity : undefined,
    cells: [
      alert.name,
      flag(
        alert.state === 'firing' ? (alert.severity === 'critical' ? 'bad' : 'warn') : 'quiet',
        alert.state === 'firing' ? alert.severity : 'pending',
      ),
      alert.since === null ? '–' : clock(alert.since, now),
      alert.summary || '–',
      Object.entries(alert.about)
        .map(([name, value]) => `${name} ${value}`)
        .join(', ') || '–',
      h(
        'span',
        {},
        alert.remedy && h('code', {}, alert.remedy),
        alert.remedy && alert.action ? ': ' : '',
        alert.action,
      ),
    ],
  }));
  return h(
    'div',
    {},
    table(
      'Alerts',
      ['Alert', 'Severity', 'Since', 'What is wrong', 'Where', 'Remedy'],
      rows,
      blind ? 'Not known: the map is blind.' : 'No alert fires.',
    ),
    rows.length > 0 && h('p', { class: 'hint' }, 'docs/errors.md tells about each id.'),
  );
}

export function freshnessPanel(rows: Fresh[], blind: boolean): HTMLElement {
  const tables = rows.filter((row) => row.kind === 'table');
  const views = rows.filter((row) => row.kind === 'view');
  const none = blind ? 'Not known: the map is blind.' : 'No figures yet.';
  return h(
    'div',
    { class: 'pair' },
    h(
      'div',
      {},
      h('h3', {}, 'Captured tables'),
      table(
        'Captured tables',
        ['Table', 'Changes not applied yet', 'Compared with its source'],
        tables.map((row) => ({
          key: row.name,
          cells: [
            row.name,
            count(row.lag_records),
            row.audit_age_seconds === undefined ? '–' : `${duration(row.audit_age_seconds)} ago`,
          ],
        })),
        none,
      ),
    ),
    h(
      'div',
      {},
      h('h3', {}, 'Views of the dashboards'),
      table(
        'Views of the dashboards',
        ['View', 'Refreshed', 'A change waits since'],
        views.map((row) => ({
          key: row.name,
          cells: [
            row.name,
            row.age_seconds === undefined ? '–' : `${duration(row.age_seconds)} ago`,
            row.waiting_seconds === undefined
              ? '–'
              : row.waiting_seconds === 0
                ? 'nothing waits'
                : duration(row.waiting_seconds),
          ],
        })),
        none,
      ),
    ),
  );
}

export function statusPanel(data: MapData, select: Select): HTMLElement {
  const rows = data.workloads
    .filter((one) => one.kind !== 'Door' && !(one.state === 'off' && one.kind === 'Job'))
    .map((one) => ({
      key: one.id,
      class: ['failing', 'absent', 'starting'].includes(one.state) ? 'bad' : undefined,
      cells: [
        link(one.id, 'status', select),
        one.kind || '–',
        h('span', {}, STATES[one.state], one.reason && `: ${one.reason}`),
        `${one.ready} of ${one.wanted}`,
        String(one.restarts),
        one.last_restart === null ? '–' : clock(one.last_restart, data.time),
        one.nodes.join(', ') || '–',
      ],
    }));
  return h(
    'div',
    {},
    h(
      'p',
      {},
      ...(data.nodes.length === 0 ? ['Nodes are not known.'] : []),
      ...data.nodes.map((node) =>
        h(
          'span',
          { class: 'node-state' },
          flag(node.ready ? 'good' : 'bad', node.ready ? 'ready' : 'not ready'),
          ` ${node.name}${node.cordoned ? ', cordoned' : ''}${node.reason ? `: ${node.reason}` : ''} `,
        ),
      ),
    ),
    table(
      'What runs',
      ['Workload', 'Kind', 'State', 'Ready', 'Restarts', 'Last restart', 'Nodes'],
      rows,
      'Not known: the API server does not answer.',
    ),
  );
}

export function proofPanel(data: MapData): HTMLElement {
  const { proof } = data;
  if (!proof) return h('p', { class: 'empty' }, 'No summary was published yet: make verify writes it.');
  const order = (status: string): number => ['failed', 'skipped', 'passed'].indexOf(status);
  return h(
    'div',
    {},
    h(
      'p',
      {},
      `${clock(proof.started, data.time)}, ${duration(data.time - proof.started)} ago, in ${duration(proof.seconds)}: `,
      flag(proof.counts.failed > 0 ? 'bad' : 'good', `${proof.counts.passed} passed, ${proof.counts.failed} failed`),
      `, ${proof.counts.skipped} skipped`,
    ),
    table(
      'Checks of the last verify',
      ['Check', 'What', 'Result', 'Remedy'],
      [...proof.checks]
        .sort((one, other) => order(one.status) - order(other.status) || one.id.localeCompare(other.id))
        .map((check) => ({
          key: check.id,
          class: check.status === 'failed' ? 'bad' : undefined,
          cells: [
            check.id,
            check.title,
            flag(check.status === 'failed' ? 'bad' : check.status === 'passed' ? 'good' : 'quiet', check.status),
            check.status === 'failed' ? h('span', {}, h('code', {}, check.error), `: ${check.hint}`) : '–',
          ],
        })),
      'No checks.',
    ),
  );
}

/** One workload: what Kubernetes says, the charts, its alerts and its edges. */
export function detailPanel(
  one: Workload,
  data: MapData,
  signals: Signals | null,
  select: Select,
  close: () => void,
  drawn: boolean,
  width: number,
): HTMLElement {
  const alerts = data.alerts.filter((alert) => alert.workload === one.id);
  const edges = data.edges.filter((edge) => edge.source === one.id || edge.target === one.id);
  const charts = signals ? chartsOf(signals, data.time, width, drawn) : [];
  const facts: [string, string][] = [
    ['State', one.reason ? `${STATES[one.state]}: ${one.reason}` : STATES[one.state]],
    ['Kind', one.kind || 'known by its traffic only'],
    ['Ready', `${one.ready} of ${one.wanted}`],
    [
      'Restarts',
      one.last_restart === null
        ? String(one.restarts)
        : `${one.restarts}, the last one at ${clock(one.last_restart, data.time)}`,
    ],
    ['Nodes', one.nodes.join(', ') || '–'],
  ];
  return h(
    'div',
    {},
    h(
      'div',
      { class: 'bar' },
      h(
        'h2',
        { id: 'detail-title', tabindex: '-1', 'data-key': 'detail-title' },
        one.name,
        h('small', {}, ` in ${one.namespace}`),
      ),
      button('Close', { 'data-key': 'close', 'aria-label': `Close ${one.name}` }, close),
    ),
    h('dl', {}, ...facts.flatMap(([term, text]) => [h('dt', {}, term), h('dd', {}, text)])),
    alerts.length > 0 && alertsPanel(alerts, data.time, false),
    h('h3', {}, 'Last hour'),
    ...(charts.length > 0
      ? charts
      : [
          h(
            'p',
            { class: 'empty' },
            signals === null
              ? 'Asking …'
              : signals.figures.state === 'blind'
                ? 'Not known: the map is blind.'
                : 'No figures of the last hour.',
          ),
        ]),
    h('h3', {}, 'Its edges'),
    edgesTable(edges, select, `Edges of ${one.name}`),
  );
}
