import { bytesPerSecond, milliseconds, percent, perSecond } from './format';
import type { Edge, Identity, Workload, WorkloadState } from './types';

/** What the map says in words: in tables, in labels, and to screen readers. */

export const STATES: Record<WorkloadState, string> = {
  ready: 'ready',
  starting: 'not ready',
  failing: 'failing',
  off: 'not running',
  absent: 'absent',
  unknown: 'unknown',
};

export const IDENTITIES: Record<Identity, string> = {
  mutual: 'both ends proved their identity',
  unproven: 'not proved',
  unknown: 'unknown',
};

/** More than one request in a hundred fails. */
export function troubled(edge: Edge): boolean {
  return (edge.errors ?? 0) > 0 && (edge.errors ?? 0) > (edge.rate ?? 0) / 100;
}

/** The short text on an edge: requests, or else bytes. */
export function flowOf(edge: Edge): string {
  if (edge.state === 'idle') return '';
  if (edge.rate !== null && edge.rate > 0)
    return troubled(edge) ? `${perSecond(edge.rate)}, ${percent(edge.errors, edge.rate)} fail` : perSecond(edge.rate);
  const moved = (edge.sent ?? 0) + (edge.received ?? 0);
  return moved > 0 ? bytesPerSecond(moved) : '';
}

export function sentenceOfEdge(edge: Edge): string {
  const parts = [`${edge.source} calls ${edge.target}`];
  if (edge.state === 'undeclared') parts.push('not declared in the authorization matrix');
  if (edge.state === 'idle') parts.push('no traffic in the last minute');
  if (edge.rate !== null) parts.push(`${perSecond(edge.rate)} requests, ${perSecond(edge.errors)} failed`);
  if (edge.p95 !== null) parts.push(`p95 ${milliseconds(edge.p95)}`);
  if (edge.sent !== null || edge.received !== null)
    parts.push(`${bytesPerSecond((edge.sent ?? 0) + (edge.received ?? 0))} both ways`);
  parts.push(`identity: ${IDENTITIES[edge.identity]}`);
  return parts.join('; ');
}

/** Below a node's name. */
export function stateOf(one: Workload): string {
  if (one.kind === 'Door') return 'clients of this host';
  return one.wanted > 0 ? `${one.ready} of ${one.wanted} ${STATES[one.state]}` : STATES[one.state];
}

export function sentenceOfWorkload(one: Workload): string {
  if (one.kind === 'Door') return 'Clients of this host, through node ports';
  const parts = [`${one.name} in ${one.namespace}`, STATES[one.state]];
  if (one.wanted > 0) parts.push(`${one.ready} of ${one.wanted} ready`);
  if (one.reason) parts.push(one.reason);
  if (one.alerts > 0) parts.push(`${one.alerts} ${one.alerts === 1 ? 'alert fires' : 'alerts fire'}`);
  return parts.join(', ');
}
