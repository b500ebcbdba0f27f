/** Answers of the map's API; apps/mesh_map/src has what fills them. Times are Unix times in seconds. */

export type WorkloadState = 'ready' | 'starting' | 'failing' | 'off' | 'absent' | 'unknown';
export type EdgeState = 'active' | 'idle' | 'undeclared' | 'platform';
export type Identity = 'mutual' | 'unproven' | 'unknown';

export interface Sight {
  state: 'seen' | 'blind';
  since?: number;
  reason?: string;
  /** False: it was never seen; `since` is then when the map began to look. */
  ever?: boolean;
}

export interface Workload {
  id: string;
  namespace: string;
  name: string;
  kind: string;
  declared: boolean;
  wanted: number;
  ready: number;
  restarts: number;
  last_restart: number | null;
  state: WorkloadState;
  reason: string;
  nodes: string[];
  alerts: number;
}

export interface Edge {
  source: string;
  target: string;
  state: EdgeState;
  ports: number[];
  scrape: boolean;
  identity: Identity;
  /** Requests per second of the last minute, and how many of them failed. */
  rate: number | null;
  errors: number | null;
  /** Milliseconds. */
  p50: number | null;
  p95: number | null;
  /** Connections opened, and bytes from and to the target, per second. */
  connections: number | null;
  sent: number | null;
  received: number | null;
}

export interface Alert {
  name: string;
  severity: 'critical' | 'warning' | 'info';
  state: 'firing' | 'pending';
  since: number | null;
  summary: string;
  action: string;
  remedy: string;
  about: Record<string, string>;
  workload: string | null;
}

export interface Fresh {
  kind: 'table' | 'view';
  name: string;
  lag_records?: number;
  audit_age_seconds?: number;
  age_seconds?: number;
  waiting_seconds?: number;
}

export interface Proof {
  started: number;
  seconds: number;
  counts: { passed: number; failed: number; skipped: number };
  checks: { id: string; error: string; title: string; status: string; hint: string }[];
}

export interface MapData {
  time: number;
  figures: Sight;
  cluster: Sight;
  recorded: boolean;
  workloads: Workload[];
  edges: Edge[];
  alerts: Alert[];
  freshness: Fresh[];
  nodes: { name: string; ready: boolean; cordoned: boolean; reason: string }[];
  proof: Proof | null;
}

export type SignalName = 'rate' | 'errors' | 'p50' | 'p95' | 'processor' | 'memory' | 'restarts' | 'calls' | 'bytes';

export interface Signals {
  id: string;
  figures: Sight;
  times: number[];
  signals: Partial<Record<SignalName, (number | null)[]>>;
}
