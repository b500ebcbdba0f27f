import { z } from 'zod/mini';
import { COUNTRIES } from './countries';

const text = (name: string, most: number) =>
  z
    .string()
    .check(z.trim(), z.minLength(1, `Enter ${name}.`), z.maxLength(most, `Enter at most ${String(most)} characters.`));

/** The address as E-13 takes it. The service asks of a country what it asks of a city, a length; here it is one of the list. */
export const shippingSchema = z.object({
  name: text('the name on the parcel', 100),
  line1: text('street and number', 255),
  line2: z.string().check(z.trim(), z.maxLength(255, 'Enter at most 255 characters.')),
  city: text('the city', 100),
  postal_code: text('the postal code', 20),
  country: z.string().check(z.refine((name) => COUNTRIES.includes(name), 'Choose the country.')),
});
export type Shipping = z.infer<typeof shippingSchema>;
export const FIELDS = ['name', 'line1', 'line2', 'city', 'postal_code', 'country'] as const;
