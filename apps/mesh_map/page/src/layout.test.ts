// @vitest-environment node
import { describe, expect, test } from 'vitest';
import { arrange, chosen, edgeKey, neighbour, NODE, pathOf, shapeOf } from './layout';
import { edge, mapData, workload } from './testing';

const everything = { idle: true, scrapes: true, platform: true };

describe('layout', () => {
  test('nodes do not overlap, stand in their namespaces, and callers stand before the called', () => {
    const { workloads, edges } = mapData();
    const found = arrange(workloads, edges);
    const boxes = [...found.nodes.values()];
    for (const one of boxes)
      for (const other of boxes)
        if (one !== other)
          expect(Math.abs(one.x - other.x) >= NODE.width || Math.abs(one.y - other.y) >= NODE.height).toBe(true);
    const space = found.namespaces.get('ecom')!;
    const api = found.nodes.get('ecom/api')!;
    expect(Math.abs(api.x - space.x)).toBeLessThanOrEqual(space.width / 2);
    expect(found.nodes.get('gateway/gate')!.x).toBeLessThan(api.x);
    expect(found.edges.get(edgeKey(edges[0]!))!.length).toBeGreaterThan(1);
  });

  test('a map of a cycle and of nothing can be drawn', () => {
    const pair = [workload('a/x'), workload('a/y')];
    expect(arrange(pair, [edge('a/x', 'a/y'), edge('a/y', 'a/x')]).nodes.size).toBe(2);
    expect(arrange([], []).nodes.size).toBe(0);
  });

  test('figures that change need no other layout', () => {
    const { workloads, edges } = mapData();
    const changed = edges.map((one) => ({ ...one, rate: 99 }));
    expect(shapeOf(workloads, changed)).toBe(shapeOf(workloads, edges));
    expect(shapeOf(workloads, edges.slice(1))).not.toBe(shapeOf(workloads, edges));
  });

  test('what is chosen', () => {
    const workloads = [
      workload('ecom/api'),
      workload('observability/prometheus'),
      workload('istio-system/istiod'),
      workload('ecom/db-ops', { kind: 'Job', state: 'off' }),
    ];
    const edges = [
      edge('observability/prometheus', 'ecom/api', { scrape: true }),
      edge('istio-system/istiod', 'ecom/api', { state: 'platform' }),
      edge('ecom/db-ops', 'ecom/api', { state: 'idle' }),
      edge('ecom/api', 'ecom/api'),
    ];
    const names = (choice: typeof everything): string[] =>
      chosen(workloads, edges, choice).workloads.map((one) => one.name);
    expect(names({ idle: true, scrapes: false, platform: false })).toEqual(['api', 'prometheus']);
    expect(names(everything)).toEqual(['api', 'prometheus', 'istiod']);
    expect(chosen(workloads, edges, everything).edges).toHaveLength(2);
    const busy = edges.map((one) => (one.source === 'ecom/db-ops' ? { ...one, state: 'active' as const } : one));
    expect(chosen(workloads, busy, everything).workloads).toHaveLength(4);
  });

  test('arrow keys lead to the nearest node in their direction', () => {
    const nodes = new Map(
      Object.entries({ here: [0, 0], right: [300, 20], far: [600, 0], below: [10, 100] }).map(
        ([id, [x = 0, y = 0]]) => [id, { x, y, ...NODE }],
      ),
    );
    expect(neighbour(nodes, 'here', 'ArrowRight')).toBe('right');
    expect(neighbour(nodes, 'here', 'ArrowDown')).toBe('below');
    expect(neighbour(nodes, 'right', 'ArrowLeft')).toBe('here');
    expect(neighbour(nodes, 'here', 'ArrowLeft')).toBeUndefined();
    expect(neighbour(nodes, 'here', 'x')).toBeUndefined();
  });

  test('lines have a path', () => {
    expect(pathOf([])).toBe('');
    expect(pathOf([{ x: 0, y: 0 }, { x: 5, y: 5 }])).toBe('M0.0,0.0 L5.0,5.0'); // prettier-ignore
    expect(pathOf([{ x: 0, y: 0 }, { x: 5, y: 5 }, { x: 9, y: 5 }])).toContain('Q5.0,5.0 9.0,5.0'); // prettier-ignore
  });
});
