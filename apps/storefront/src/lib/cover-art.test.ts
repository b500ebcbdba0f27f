import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { coverArt, wrap } from './cover-art';

function luminance(hex: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light! + 0.05) / (dark! + 0.05);
}

const arts = Array.from({ length: 200 }, (_, index) => coverArt(`Book ${String(index)}`, 'A'));

test('the same book has the same cover, and books differ', () => {
  expect(coverArt('Dune', 'Frank Herbert').paper).toBe(coverArt('Dune', 'Frank Herbert').paper);
  const looks = new Set(
    Array.from(
      { length: 60 },
      (_, index) =>
        `${coverArt(`Book ${String(index)}`, 'A').paper}${String(coverArt(`Book ${String(index)}`, 'A').pattern)}`,
    ),
  );
  expect(looks.size).toBeGreaterThan(25);
});

test('titles can be read on every paper', () => {
  for (const { paper, ink } of arts) expect(contrast(paper, ink)).toBeGreaterThan(4.5);
});

test('no paper is lost on what stands behind covers, by day or by night', () => {
  const shelf = /--shelf: light-dark\((#\w{6}), (#\w{6})\)/
    .exec(readFileSync(path.join(import.meta.dirname, '../styles/pages.css'), 'utf8'))!
    .slice(1);
  expect(shelf).toHaveLength(2);
  const papers = [...new Set(arts.map((art) => art.paper))];
  expect(papers.length).toBeGreaterThan(8);
  for (const paper of papers)
    for (const behind of shelf) expect(contrast(paper, behind), `${paper} on ${behind}`).toBeGreaterThan(1.25);
});

test('titles are broken into lines that fit', () => {
  expect(wrap('The Left Hand of Darkness', 14, 5)).toEqual(['The Left Hand', 'of Darkness']);
  expect(wrap('Designing Data-Intensive Applications', 14, 5)).toEqual([
    'Designing Data-'.slice(0, 9),
    'Data-Intensive',
    'Applications',
  ]);
  expect(wrap('Incomprehensibilities', 10, 5)).toEqual(['Incompreh…']);
  expect(wrap('one two three four five six', 5, 2)).toEqual(['one', 'two…']);
  expect(wrap('', 10, 5)).toEqual([]);
});
