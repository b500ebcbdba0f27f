import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { h } from './dom';
import { bytes, bytesPerSecond, clock, count, milliseconds, perSecond } from './format';
import type { SignalName, Signals } from './types';

/** Small charts of the last hour; each says in words what it shows. */

interface Chart {
  title: string;
  lines: { name: SignalName; label: string; colour?: string }[];
  write: (value: number | null | undefined) => string;
}

const seconds = (value: number | null | undefined): string => milliseconds(value == null ? value : value * 1000);

export const CHARTS: Chart[] = [
  {
    title: 'Requests',
    lines: [
      { name: 'rate', label: 'all' },
      { name: 'errors', label: 'failed', colour: '--bad' },
    ],
    write: perSecond,
  },
  {
    title: 'Duration',
    lines: [
      { name: 'p95', label: 'p95' },
      { name: 'p50', label: 'p50', colour: '--quiet' },
    ],
    write: seconds,
  },
  { title: 'Calls to others', lines: [{ name: 'calls', label: 'calls' }], write: perSecond },
  { title: 'Bytes in and out', lines: [{ name: 'bytes', label: 'bytes' }], write: bytesPerSecond },
  { title: 'Processor', lines: [{ name: 'processor', label: 'cores' }], write: count },
  { title: 'Memory', lines: [{ name: 'memory', label: 'memory' }], write: bytes },
  { title: 'Restarts in 10 min', lines: [{ name: 'restarts', label: 'restarts' }], write: count },
];

const known = (values: (number | null)[] | undefined): number[] =>
  (values ?? []).filter((value): value is number => value !== null);

/** `all: now 2/s, at most 5/s`, for each line that has values. */
export function captionOf(chart: Chart, signals: Signals): string {
  return chart.lines
    .map(({ name, label }) => {
      const values = signals.signals[name];
      const numbers = known(values);
      if (numbers.length === 0) return null;
      return `${label}: now ${chart.write(values?.at(-1) ?? null)}, at most ${chart.write(Math.max(...numbers))}`;
    })
    .filter((part) => part !== null)
    .join('; ');
}

/** Charts that have something to show. `drawn` false: words only, where there is no canvas. */
export function chartsOf(signals: Signals, now: number, width: number, drawn: boolean): HTMLElement[] {
  const styles = getComputedStyle(document.documentElement);
  const colour = (name: string): string => styles.getPropertyValue(name).trim() || '#888';
  return CHARTS.flatMap((chart) => {
    const lines = chart.lines.filter(({ name }) => known(signals.signals[name]).length > 0);
    if (lines.length === 0) return [];
    const place = h('div', { class: 'plot', 'aria-hidden': 'true' });
    const figure = h(
      'figure',
      {},
      h('figcaption', {}, h('b', {}, chart.title), ` ${captionOf(chart, signals)}`),
      place,
    );
    if (drawn) {
      const axis = {
        stroke: colour('--quiet'),
        font: '10px system-ui',
        grid: { stroke: colour('--line'), width: 1 },
        ticks: { show: false },
      };
      new uPlot(
        {
          width,
          height: 96,
          legend: { show: false },
          cursor: { show: false },
          padding: [6, 6, 0, 0],
          scales: { x: { time: true }, y: { range: (_self, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
          axes: [
            { ...axis, size: 18, space: 60, values: (_self, times) => times.map((time) => clock(time, now)) },
            { ...axis, size: 58, space: 30, values: (_self, values) => values.map((value) => chart.write(value)) },
          ],
          series: [
            {},
            ...lines.map((line) => ({
              stroke: colour(line.colour ?? '--accent'),
              width: 1.5,
              points: { show: false },
              spanGaps: false,
            })),
          ],
        },
        [signals.times, ...lines.map(({ name }) => signals.signals[name] ?? [])],
        place,
      );
    }
    return [figure];
  });
}
