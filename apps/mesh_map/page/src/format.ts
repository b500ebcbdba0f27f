/** Figures as people read them. What is not known is a dash. */

const UNKNOWN = '–';

function digits(value: number): string {
  if (value === 0) return '0';
  if (value < 0.01) return '<0.01';
  if (value < 10) return value.toFixed(2).replace(/\.?0+$/, '');
  if (value < 100) return value.toFixed(1).replace(/\.0$/, '');
  return Math.round(value).toString();
}

export function perSecond(value: number | null | undefined): string {
  return value == null ? UNKNOWN : `${digits(value)}/s`;
}

export function bytes(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${digits(size)} ${units[unit] ?? ''}`;
}

export function bytesPerSecond(value: number | null | undefined): string {
  return value == null ? UNKNOWN : `${bytes(value)}/s`;
}

export function milliseconds(value: number | null | undefined): string {
  if (value == null) return UNKNOWN;
  return value < 1000 ? `${digits(value)} ms` : `${digits(value / 1000)} s`;
}

export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return UNKNOWN;
  if (seconds < 1) return 'under 1 s';
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function count(value: number | null | undefined): string {
  return value == null ? UNKNOWN : digits(value);
}

export function percent(part: number | null, whole: number | null): string {
  if (part == null || whole == null || whole === 0) return UNKNOWN;
  return `${digits((part / whole) * 100)} %`;
}

/** hh:mm of the reader's clock; with the day where that is not today. */
export function clock(time: number, now: number): string {
  const when = new Date(time * 1000);
  const hours = `${String(when.getHours()).padStart(2, '0')}:${String(when.getMinutes()).padStart(2, '0')}`;
  return when.toDateString() === new Date(now * 1000).toDateString()
    ? hours
    : `${when.getFullYear()}-${String(when.getMonth() + 1).padStart(2, '0')}-${String(when.getDate()).padStart(2, '0')} ${hours}`;
}
