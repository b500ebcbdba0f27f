import { Graph, layout } from '@dagrejs/dagre';
import type { Edge, Workload } from './types';

/** Where nodes, namespaces and edges are drawn. */

export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  width: number;
  height: number;
}

export interface Layout {
  width: number;
  height: number;
  nodes: Map<string, Box>;
  namespaces: Map<string, Box>;
  /** By `edgeKey`. */
  edges: Map<string, Point[]>;
}

export const NODE = { width: 186, height: 46 };

export const edgeKey = (edge: Pick<Edge, 'source' | 'target'>): string => `${edge.source} → ${edge.target}`;

/** Namespaces of the cluster's and the mesh's own parts. */
const PLATFORM = ['kube-system', 'istio-system'];

/** Which of all workloads and edges the graph shows. */
export interface Choice {
  scrapes: boolean;
  idle: boolean;
  platform: boolean;
}

export function chosen(workloads: Workload[], edges: Edge[], choice: Choice): { workloads: Workload[]; edges: Edge[] } {
  const shownEdges = edges.filter(
    (edge) =>
      edge.source !== edge.target &&
      (choice.scrapes || !edge.scrape) &&
      (choice.idle || edge.state !== 'idle') &&
      (choice.platform || edge.state !== 'platform'),
  );
  // A Job that does not run, or what is allowed to be absent, is shown where something flows.
  const ends = new Set(
    shownEdges.filter((edge) => edge.state !== 'idle').flatMap((edge) => [edge.source, edge.target]),
  );
  const shown = workloads.filter(
    (one) =>
      ends.has(one.id) ||
      (one.declared && one.state !== 'off' && (choice.platform || !PLATFORM.includes(one.namespace))),
  );
  const known = new Set(shown.map((one) => one.id));
  return { workloads: shown, edges: shownEdges.filter((edge) => known.has(edge.source) && known.has(edge.target)) };
}

/** Changes exactly when another layout is needed. */
export function shapeOf(workloads: Workload[], edges: Edge[]): string {
  return [...workloads.map((one) => one.id), ...edges.map(edgeKey)].join('\n');
}

export function arrange(workloads: Workload[], edges: Edge[]): Layout {
  const graph = new Graph({ compound: true, directed: true });
  graph.setGraph({ rankdir: 'LR', nodesep: 16, ranksep: 74, edgesep: 8, marginx: 16, marginy: 28 });
  graph.setDefaultEdgeLabel(() => ({}));
  const namespaces = new Set(workloads.map((one) => one.namespace));
  for (const namespace of namespaces) graph.setNode(`namespace ${namespace}`, {});
  for (const one of workloads) {
    graph.setNode(one.id, { ...NODE });
    graph.setParent(one.id, `namespace ${one.namespace}`);
  }
  for (const edge of edges) graph.setEdge(edge.source, edge.target, {});
  layout(graph);
  const boxOf = (id: string): Box => {
    const found = graph.node(id) as Box;
    return { x: found.x, y: found.y, width: found.width, height: found.height };
  };
  const size = graph.graph() as { width?: number; height?: number };
  return {
    width: Math.max(size.width ?? 0, NODE.width),
    height: Math.max(size.height ?? 0, NODE.height),
    nodes: new Map(workloads.map((one) => [one.id, boxOf(one.id)])),
    namespaces: new Map([...namespaces].map((one) => [one, boxOf(`namespace ${one}`)])),
    edges: new Map(
      edges.map((edge) => [
        edgeKey(edge),
        ((graph.edge(edge.source, edge.target) as { points?: Point[] } | undefined)?.points ?? []).map(({ x, y }) => ({
          x,
          y,
        })),
      ]),
    ),
  };
}

/** A smooth line through the points. */
export function pathOf(points: Point[]): string {
  const [first, ...rest] = points;
  const last = rest.at(-1);
  if (!first || !last) return '';
  const parts = [`M${first.x.toFixed(1)},${first.y.toFixed(1)}`];
  for (let index = 0; index < rest.length - 1; index += 1) {
    const here = rest[index] as Point;
    const next = rest[index + 1] as Point;
    const end = index === rest.length - 2 ? next : { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 };
    parts.push(`Q${here.x.toFixed(1)},${here.y.toFixed(1)} ${end.x.toFixed(1)},${end.y.toFixed(1)}`);
  }
  if (rest.length === 1) parts.push(`L${last.x.toFixed(1)},${last.y.toFixed(1)}`);
  return parts.join(' ');
}

/** The node that an arrow key leads to from `from`: the nearest in that direction. */
export function neighbour(nodes: Map<string, Box>, from: string, key: string): string | undefined {
  const here = nodes.get(from);
  if (!here) return undefined;
  const ways: Record<string, [number, number]> = {
    ArrowRight: [1, 0],
    ArrowLeft: [-1, 0],
    ArrowDown: [0, 1],
    ArrowUp: [0, -1],
  };
  const way = ways[key];
  if (!way) return undefined;
  let best: string | undefined;
  let least = Infinity;
  for (const [id, box] of nodes) {
    const [x, y] = [box.x - here.x, box.y - here.y];
    const along = x * way[0] + y * way[1];
    const across = Math.abs(x * way[1] + y * way[0]);
    // Not what is beside it rather than in that direction.
    if (along < 1 || across > 3 * along) continue;
    const far = along + 2 * across;
    if (far < least) [best, least] = [id, far];
  }
  return best;
}
