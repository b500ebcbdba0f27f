import { expect, test } from 'vitest';
import { COUNTRIES } from './countries';
import { shippingSchema } from './schema';

const ADDRESS = {
  name: 'Ada Reader',
  line1: '1 Shelf Road',
  line2: '',
  city: 'Springfield',
  postal_code: '1',
  country: 'United States',
};
const faults = (country: string) =>
  (shippingSchema.safeParse({ ...ADDRESS, country }).error?.issues ?? []).map(
    (one) => `${one.path.join('.')}: ${one.message}`,
  );

test('a country is one of the list, under one name', () => {
  expect(faults('United States')).toEqual([]);
  for (const wrong of ['', 'US', 'usa', 'united states', 'Utopia'])
    expect(faults(wrong)).toEqual(['country: Choose the country.']);
});

test('the list has every country once, by name, as the service takes it', () => {
  expect(new Set(COUNTRIES).size).toBe(COUNTRIES.length);
  expect(COUNTRIES).toHaveLength(250);
  expect(COUNTRIES).toEqual(expect.arrayContaining(['Germany', 'India', 'Japan', 'Kenya', 'Brazil', 'Kosovo']));
  expect(COUNTRIES.filter((name) => name.length < 4 || name.length > 60)).toEqual([]);
  expect(COUNTRIES.indexOf('Åland Islands')).toBeLessThan(COUNTRIES.indexOf('Albania'));
});
