import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';
import { ApiError } from '../lib/api/errors';
import { tieToFields } from '../lib/form-errors';
import { bare } from '../lib/format';
import { Panel } from './states';

/** Members that somebody has typed once; a stored one may hold characters that are refused by now. */
const TYPED = 'title|author|genre|description|reason|line1|line2|city|postal_code|country|asked|yours|found';
const sources = Object.entries(
  import.meta.glob<string>('/src/**/*.tsx', { query: '?raw', import: 'default', eager: true }),
).filter(([name]) => !name.includes('.test.'));

test('what somebody typed stands in an element that keeps its direction to itself', () => {
  // A child: the brace does not follow an attribute's equals sign.
  const child = new RegExp(`(?<!=)(?<!\\$)\\{(?:\\w+\\??\\.)?(?:${TYPED})(?: \\?\\? [\\w.']+)?\\}`, 'g');
  const bare = sources.flatMap(([name, text]) =>
    text
      .split('\n')
      .flatMap((line) =>
        [...line.matchAll(child)]
          .filter(
            ({ index }) =>
              !/<bdi[^>]*>$/.test(line.slice(0, index)) &&
              !/^\s*(import|export|function|const|return \{|\/\/)/.test(line),
          )
          .map((match) => `${name}: ${match[0]} in ${line.trim()}`),
      ),
  );
  // Headings of ours, and a reason that is no book's.
  expect(bare.filter((one) => !/<strong>\{title\}\.|<p className="note note-bad">\{reason\}/.test(one))).toEqual([]);
});

test('and within a sentence it is stripped of what turns the direction', () => {
  const within = new RegExp(`\\$\\{(?:\\w+\\.)?(?:title|author|genre|reason)(?: \\?\\? [\\w.]+)?\\}`);
  expect(
    sources.filter(([, text]) => text.split('\n').some((line) => within.test(line))).map(([name]) => name),
  ).toEqual([]);
  expect(bare('a\u202eb\u2066c\u200fd\u061ce שלום')).toBe('abcde שלום');
});

test('a title that turns the line around turns itself only', () => {
  render(<Panel title={'Momo\u202e!'} />);
  expect(screen.getByText('Momo\u202e!').tagName).toBe('BDI');
});

test('what the server refuses is told at the field', () => {
  const told: Record<string, string | undefined> = {};
  const message = 'must not contain invisible characters or such that turn the direction of text';
  const refusal = (field: string) =>
    new ApiError({
      status: 422,
      code: 'validation_error',
      title: '',
      detail: '',
      errors: [{ field, location: 'body', message }],
    });
  const set = (name: string, error: { message?: string }) => {
    told[name] = error.message;
  };
  for (const field of ['shipping.name', 'title'])
    expect(tieToFields(refusal(field), ['name', 'title'], set)).toBeNull();
  expect(told).toEqual({ name: message, title: message });
});
