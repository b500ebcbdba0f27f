import { expect, test } from 'vitest';
import { differences } from './book-conflict';
import { EMPTY } from './book-schema';

const book = { ...EMPTY, title: 'Dune', author: 'Frank Herbert', price: '10.00' };

test('only what would be stored differently is shown', () => {
  expect(differences({ ...book, price: '10', isbn: '978-0-14-143951-8' }, { ...book, isbn: '9780141439518' })).toEqual(
    [],
  );
  const found = differences({ ...book, price: '11', active: false }, { ...book, genre: 'Classics' });
  expect(new Set(found)).toEqual(
    new Set([
      ['Price', '11.00', '10.00'],
      ['Genre', '–', 'Classics'],
      ['On sale', 'no', 'yes'],
    ]),
  );
});
