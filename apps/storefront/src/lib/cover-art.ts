import { config } from './config';

/** Whether the shop shows the picture at an address; any other book's cover is drawn. */
export const isPictured = (url: string | null | undefined): url is string =>
  Boolean(url) && config().coverPrefixes.some((prefix) => url?.startsWith(prefix));

/** What a drawn cover is made of; the same book always gets the same one. */
export interface CoverArt {
  pattern: number;
  paper: string;
  ink: string;
  first: string;
  second: string;
  /** Numbers from 0 to 1 for the pattern's own use. */
  chance: (index: number) => number;
}

const PATTERNS = 7;
// paper, ink, first, second: pairs of paper and ink have a contrast of 4.5 at least.
const PALETTES: [string, string, string, string][] = [
  ['#f6e9d3', '#2b211a', '#c4532d', '#e2a33c'],
  ['#1f3a3d', '#f6ead3', '#e0a458', '#7fa99b'],
  ['#7a2230', '#fbeee0', '#e6b17a', '#3d1019'],
  ['#f2e9da', '#1d2d44', '#3e5c76', '#c8553d'],
  ['#243047', '#f4ecdf', '#d98f5c', '#5f7fa8'],
  ['#e6eddb', '#233322', '#5b7f4b', '#c9973b'],
  ['#3b2a4a', '#f6e9ef', '#c77d9b', '#e3b76b'],
  ['#f9e8d8', '#3a1f2b', '#a23e48', '#6c8ea0'],
  ['#14433d', '#eef3e6', '#b9c46a', '#e07a5f'],
  ['#f2ebf7', '#2d2440', '#7c6bb0', '#d9808a'],
];

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value ^= value >>> 15;
  return Math.imul(value, 0x2c1b3c6d) >>> 0;
}

export function coverArt(title: string, author: string): CoverArt {
  const seed = hash(`${title}\u0000${author}`);
  const [paper, ink, first, second] = PALETTES[seed % PALETTES.length] as [string, string, string, string];
  return {
    paper,
    ink,
    first,
    second,
    pattern: Math.floor(seed / PALETTES.length) % PATTERNS,
    chance: (index) => (hash(`${String(seed)}/${String(index)}`) % 1000) / 1000,
  };
}

/** Words, those that are too long broken at their hyphens. */
const pieces = (text: string, width: number): string[] =>
  text
    .split(/\s+/)
    .flatMap((word) => (word.length > width ? word.split(/(?<=-)/) : [word]))
    .filter(Boolean);

/** Break a text into at most `most` lines of about `width` letters; what does not fit ends in an ellipsis. */
export function wrap(text: string, width: number, most: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of pieces(text, width)) {
    const piece = word.length > width ? `${word.slice(0, width - 1)}…` : word;
    const gap = line.endsWith('-') ? '' : ' ';
    if (line === '') line = piece;
    else if (line.length + gap.length + piece.length <= width) line += gap + piece;
    else {
      lines.push(line);
      line = piece;
    }
  }
  if (line !== '') lines.push(line);
  if (lines.length <= most) return lines;
  const kept = lines.slice(0, most);
  kept[most - 1] = `${(kept[most - 1] ?? '').slice(0, width - 1)}…`;
  return kept;
}
