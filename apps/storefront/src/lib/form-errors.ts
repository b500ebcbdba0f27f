import type { FieldValues, Path, UseFormSetError } from 'react-hook-form';
import { ApiError } from './api/errors';

/** Tie a 422's errors to the form's fields; what belongs to none of them is returned, to be shown above the form. */
export function tieToFields<T extends FieldValues>(
  error: unknown,
  fields: readonly Path<T>[],
  setError: UseFormSetError<T>,
): unknown {
  if (!(error instanceof ApiError) || error.code !== 'validation_error' || error.problem.errors.length === 0)
    return error;
  const strays = error.problem.errors.filter(({ field, message }) => {
    const name = fields.find((one) => field === one || field.endsWith(`.${one}`));
    if (name !== undefined) setError(name, { type: 'server', message }, { shouldFocus: true });
    return name === undefined;
  });
  if (strays.length === 0) return null;
  return new ApiError({
    ...error.problem,
    title: 'Please check what you entered',
    code: 'form',
    detail: strays.map((one) => one.message).join(' '),
  });
}
