import { z } from 'zod/mini';
import type { AdminSchemas } from '../../lib/api/client';

/** ISBN-13: the weighted digits sum to a multiple of ten. */
export function isIsbn13(text: string): boolean {
  const digits = text.replace(/[\s-]/g, '');
  if (!/^97[89]\d{10}$/.test(digits)) return false;
  return Array.from(digits).reduce((sum, digit, index) => sum + Number(digit) * (index % 2 ? 3 : 1), 0) % 10 === 0;
}

const needed = (name: string, most: number) =>
  z
    .string()
    .check(z.trim(), z.minLength(1, `Enter ${name}.`), z.maxLength(most, `Enter at most ${String(most)} characters.`));
const whole = (text: string, least: number, most: number) =>
  /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most;

/** The form's fields, all texts, with the rules of. */
export const bookSchema = z.object({
  title: needed('a title', 255),
  author: needed('an author', 255),
  isbn: z.string().check(
    z.trim(),
    z.refine((text) => text === '' || isIsbn13(text), 'Enter a valid ISBN-13, or leave it empty.'),
  ),
  genre: z.string().check(z.trim(), z.maxLength(100, 'Enter at most 100 characters.')),
  description: z.string().check(z.trim(), z.maxLength(10_000, 'Enter at most 10,000 characters.')),
  cover_url: z.string().check(z.trim(), z.maxLength(2000, 'Enter at most 2,000 characters.')),
  price: z.string().check(
    z.trim(),
    z.regex(/^\d{1,8}(\.\d{1,2})?$/, 'Enter an amount such as 12.50.'),
    z.refine((text) => Number(text) > 0, 'The price must be above 0.'),
  ),
  published_year: z.string().check(
    z.trim(),
    z.refine((text) => text === '' || whole(text, 1000, 2100), 'Enter a year from 1000 to 2100.'),
  ),
  initial_quantity: z.string().check(
    z.trim(),
    z.refine((text) => whole(text, 0, 1_000_000), 'Enter a whole number from 0 to 1,000,000.'),
  ),
  active: z.boolean(),
});
export type BookForm = z.infer<typeof bookSchema>;
export const FIELDS = [
  'title',
  'author',
  'isbn',
  'genre',
  'description',
  'cover_url',
  'price',
  'published_year',
  'initial_quantity',
  'active',
] as const;

export const EMPTY: BookForm = {
  title: '',
  author: '',
  isbn: '',
  genre: '',
  description: '',
  cover_url: '',
  price: '',
  published_year: '',
  initial_quantity: '0',
  active: true,
};

export const toForm = (book: AdminSchemas['Book']): BookForm => ({
  ...EMPTY,
  title: book.title,
  author: book.author,
  price: book.price,
  active: book.active,
  isbn: book.isbn ?? '',
  genre: book.genre ?? '',
  description: book.description ?? '',
  cover_url: book.cover_url ?? '',
  published_year: book.published_year === null ? '' : String(book.published_year),
});

/** What the API takes: empty texts are null. */
export function toBody(form: BookForm) {
  return {
    title: form.title,
    author: form.author,
    price: form.price,
    isbn: form.isbn.replace(/[\s-]/g, '') || null,
    genre: form.genre || null,
    description: form.description || null,
    cover_url: form.cover_url || null,
    published_year: form.published_year === '' ? null : Number(form.published_year),
  };
}
