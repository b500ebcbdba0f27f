import type { Edge, MapData, Workload } from './types';

/** A small map for tests. */

export function workload(id: string, more: Partial<Workload> = {}): Workload {
  const [namespace = '', name = ''] = id.split('/');
  return {
    id,
    namespace,
    name,
    kind: 'Deployment',
    declared: true,
    wanted: 1,
    ready: 1,
    restarts: 0,
    last_restart: null,
    state: 'ready',
    reason: '',
    nodes: ['bookstore-worker'],
    alerts: 0,
    ...more,
  };
}

export function edge(source: string, target: string, more: Partial<Edge> = {}): Edge {
  return {
    source,
    target,
    state: 'active',
    ports: [8000],
    scrape: false,
    identity: 'mutual',
    rate: null,
    errors: null,
    p50: null,
    p95: null,
    connections: null,
    sent: null,
    received: null,
    ...more,
  };
}

export function mapData(more: Partial<MapData> = {}): MapData {
  return {
    time: 1_795_888_800,
    figures: { state: 'seen' },
    cluster: { state: 'seen' },
    recorded: true,
    workloads: [workload('gateway/gate'), workload('ecom/api', { alerts: 1 }), workload('ecom/db')],
    edges: [
      edge('gateway/gate', 'ecom/api', { rate: 18.4, errors: 0, p50: 9.5, p95: 41 }),
      edge('ecom/api', 'ecom/db', { sent: 2048, received: 1024, ports: [5432] }),
      edge('gateway/gate', 'ecom/db', { state: 'undeclared', ports: [], identity: 'unproven', sent: 10 }),
    ],
    alerts: [
      {
        name: 'EdgeFails',
        severity: 'critical',
        state: 'firing',
        since: 1_795_888_000,
        summary: '14 % of the calls fail.',
        action: 'the log of api',
        remedy: 'BK-302',
        about: { namespace: 'ecom', workload: 'api' },
        workload: 'ecom/api',
      },
    ],
    freshness: [
      { kind: 'table', name: 'orders', lag_records: 3, audit_age_seconds: 120 },
      { kind: 'view', name: 'mv_daily_sales', age_seconds: 14, waiting_seconds: 0 },
    ],
    nodes: [{ name: 'bookstore-worker', ready: true, cordoned: false, reason: '' }],
    proof: {
      started: 1_795_885_200,
      seconds: 60,
      counts: { passed: 1, failed: 1, skipped: 0 },
      checks: [
        { id: 'V-NODES', error: 'BK-301', title: 'Nodes ready', status: 'passed', hint: '' },
        { id: 'V-DLQ', error: 'BK-327', title: 'No dead letters', status: 'failed', hint: 'make replay' },
      ],
    },
    ...more,
  };
}
