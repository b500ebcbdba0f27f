import { z } from 'zod/mini';

const text = (name: string, most: number, least = 1) =>
  z.string().check(
    z.trim(),
    z.minLength(1, `Enter ${name}.`),
    ...(least > 1 ? [z.minLength(least, `Enter at least ${String(least)} letters.`)] : []),
    z.maxLength(most, `Enter at most ${String(most)} characters.`),
  );

/** The address as E-13 takes it: lengths only, because the shop delivers anywhere. */
export const shippingSchema = z.object({
  name: text('the name on the parcel', 100),
  line1: text('street and number', 255),
  line2: z.string().check(z.trim(), z.maxLength(255, 'Enter at most 255 characters.')),
  city: text('the city', 100),
  postal_code: text('the postal code', 20),
  country: text('the country', 60, 2),
});
export type Shipping = z.infer<typeof shippingSchema>;
export const FIELDS = ['name', 'line1', 'line2', 'city', 'postal_code', 'country'] as const;
