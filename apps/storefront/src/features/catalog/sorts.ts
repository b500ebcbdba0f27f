/** In which orders the catalogue can be read: as the API and the address name them, and in words. */
export const SORTS = [
  ['title', 'Title, A to Z'],
  ['-title', 'Title, Z to A'],
  ['price', 'Price, low to high'],
  ['-price', 'Price, high to low'],
  ['-published_year', 'Published, newest first'],
  ['published_year', 'Published, oldest first'],
  ['-created_at', 'New in the shop'],
] as const;
export type Sort = (typeof SORTS)[number][0];
