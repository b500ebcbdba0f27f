import { zodResolver } from '@hookform/resolvers/zod';
import { useQuery } from '@tanstack/react-query';
import { useState, type ReactElement } from 'react';
import { useForm } from 'react-hook-form';
import { z } from 'zod/mini';
import { Button } from '../../components/button';
import { Field } from '../../components/field';
import { ErrorNote, Loading } from '../../components/states';
import { admin, body } from '../../lib/api/client';
import { hasCode, type ApiError } from '../../lib/api/errors';
import { tieToFields } from '../../lib/form-errors';
import { dateTime } from '../../lib/format';
import { notify } from '../../lib/notices';
import { changed, movementsQuery, type Movement, type StockRow } from './queries';
import { since, StockConflict, type StockNow } from './stock-conflict';

const whole = (least: number, message: string) =>
  z.string().check(
    z.trim(),
    z.refine((text) => /^\d{1,7}$/.test(text) && Number(text) >= least && Number(text) <= 1_000_000, message),
  );
const setSchema = z.object({
  quantity: whole(0, 'Enter a whole number from 0 to 1,000,000.'),
  low_stock_threshold: whole(0, 'Enter a whole number from 0 to 1,000,000.'),
});
const adjustSchema = z.object({
  delta: z.string().check(
    z.trim(),
    z.refine(
      (text) => /^[+-]?\d{1,7}$/.test(text) && Number(text) !== 0,
      'Enter a whole number other than 0, such as -2 or 10.',
    ),
  ),
  reason: z
    .string()
    .check(z.trim(), z.minLength(1, 'Enter a reason.'), z.maxLength(255, 'Enter at most 255 characters.')),
});

/** What is on the screen is what is there: nothing of it counts as typed. */
const TAKEN = { keepDirtyValues: false };

export function StockEditor({ row, onClose }: { row: StockRow; onClose: () => void }): ReactElement {
  return (
    <div className="stock-editor">
      <p className="hint">
        {row.quantity ?? 0} on the shelf, {row.reserved ?? 0} reserved, {row.available ?? 0} available
      </p>
      <div className="fields">
        <SetForm row={row} />
        <AdjustForm row={row} />
      </div>
      <Movements id={row.book_id} />
      <div className="row row-end">
        <button type="button" className="button button-quiet" onClick={onClose}>
          Close
        </button>
      </div>
    </div>
  );
}

function nowOf({ problem }: ApiError): StockNow | null {
  const { version, quantity, reserved, low_stock_threshold: threshold } = problem;
  if (version === undefined || quantity === undefined || reserved === undefined) return null;
  return { version, quantity, reserved, low_stock_threshold: threshold ?? 5 };
}

/** Why the stock is another one; null if that cannot be told, which is no reason to tell nothing. */
async function changesSince(id: string, before: StockRow, now: StockNow): Promise<Movement[] | null> {
  try {
    const page = await body(
      admin().GET('/admin/stock/{book_id}/movements', {
        params: { path: { book_id: id }, query: { page: 1, size: 100 } },
      }),
    );
    return since(page.items, before, now);
  } catch {
    return null;
  }
}

export function SetForm({ row }: { row: StockRow }): ReactElement {
  const [failure, setFailure] = useState<unknown>(null);
  const [conflict, setConflict] = useState<{ now: StockNow; changes: Movement[] | null } | null>(null);
  const form = useForm<z.infer<typeof setSchema>>({
    resolver: zodResolver(setSchema),
    // The row is fetched anew now and then: what is typed stays, what is not follows.
    values: { quantity: String(row.quantity ?? 0), low_stock_threshold: String(row.low_stock_threshold ?? 5) },
    resetOptions: { keepDirtyValues: true },
  });
  const { errors, dirtyFields, isSubmitting } = form.formState;
  // What is typed rests on the row that was seen when typing began, not on one that came since.
  const [seen, setSeen] = useState(row);
  const typed = Object.values(dirtyFields).some(Boolean);
  if (!typed && row.version > seen.version) setSeen(row);
  const save = async (values: z.infer<typeof setSchema>, over: number) => {
    setFailure(null);
    try {
      const { data } = await admin().PUT('/admin/stock/{book_id}', {
        params: { path: { book_id: row.book_id }, header: { 'If-Match': `"${String(over)}"` } },
        body: { quantity: Number(values.quantity), low_stock_threshold: Number(values.low_stock_threshold) },
      });
      setConflict(null);
      if (data) setSeen({ ...row, ...data });
      form.reset(values, TAKEN);
      notify('Stock is set.');
      await changed();
    } catch (error) {
      const now = hasCode(error, 'stale_version') ? nowOf(error) : null;
      if (now) setConflict({ now, changes: await changesSince(row.book_id, seen, now) });
      else if (hasCode(error, 'below_reserved'))
        form.setError(
          'quantity',
          {
            message: `Orders have reserved ${String(error.problem.reserved ?? row.reserved ?? 0)} copies; enter at least as many.`,
          },
          { shouldFocus: true },
        );
      else setFailure(tieToFields(error, ['quantity', 'low_stock_threshold'], form.setError));
      if (!now) setConflict(null);
    }
  };
  const submit = form.handleSubmit((values) => save(values, seen.version));
  const latest = () => {
    if (conflict) {
      setSeen({ ...row, ...conflict.now });
      form.reset(
        { quantity: String(conflict.now.quantity), low_stock_threshold: String(conflict.now.low_stock_threshold) },
        TAKEN,
      );
    }
    setConflict(null);
    void changed();
  };
  return (
    <form className="form" noValidate aria-label="Set stock" onSubmit={(event) => void submit(event)}>
      <h3>Set</h3>
      <Field
        label="Copies on the shelf"
        inputMode="numeric"
        {...form.register('quantity')}
        error={errors.quantity?.message}
      />
      <Field
        label="Low-stock threshold"
        inputMode="numeric"
        {...form.register('low_stock_threshold')}
        error={errors.low_stock_threshold?.message}
      />
      <ErrorNote error={failure} />
      <Button type="submit" off={isSubmitting}>
        Set stock
      </Button>
      <StockConflict
        before={seen}
        mine={form.getValues()}
        now={conflict?.now ?? null}
        changes={conflict?.changes ?? null}
        busy={isSubmitting}
        onClose={() => {
          setConflict(null);
        }}
        onLatest={latest}
        onOver={(version) => void form.handleSubmit((values) => save(values, version))()}
      />
    </form>
  );
}

function AdjustForm({ row }: { row: StockRow }): ReactElement {
  const [failure, setFailure] = useState<unknown>(null);
  const form = useForm<z.infer<typeof adjustSchema>>({
    resolver: zodResolver(adjustSchema),
    defaultValues: { delta: '', reason: '' },
  });
  const { errors, isSubmitting } = form.formState;
  const submit = form.handleSubmit(async (values) => {
    setFailure(null);
    try {
      await admin().POST('/admin/stock/{book_id}/adjust', {
        params: { path: { book_id: row.book_id } },
        body: { delta: Number(values.delta), reason: values.reason },
      });
      form.reset();
      notify('Stock is adjusted.');
      await changed();
    } catch (error) {
      if (hasCode(error, 'below_reserved'))
        form.setError(
          'delta',
          { message: 'Fewer copies would be left than orders have reserved.' },
          { shouldFocus: true },
        );
      else setFailure(tieToFields(error, ['delta', 'reason'], form.setError));
    }
  });
  return (
    <form className="form" noValidate aria-label="Adjust stock" onSubmit={(event) => void submit(event)}>
      <h3>Adjust</h3>
      <Field
        label="Add or remove copies"
        inputMode="text"
        placeholder="-2"
        {...form.register('delta')}
        error={errors.delta?.message}
      />
      <Field label="Reason" maxLength={255} {...form.register('reason')} error={errors.reason?.message} />
      <ErrorNote error={failure} />
      <Button type="submit" off={isSubmitting}>
        Adjust stock
      </Button>
    </form>
  );
}

function Movements({ id }: { id: string }): ReactElement {
  const [page, setPage] = useState(1);
  const { data, error } = useQuery(movementsQuery(id, page));
  return (
    <section aria-label="Movements">
      <h3>Movements</h3>
      <ErrorNote error={data ? null : error} />
      {!data && !error ? <Loading /> : null}
      {data?.items.length === 0 ? <p className="hint">None yet.</p> : null}
      <ul className="movements">
        {(data?.items ?? []).map((one) => (
          <li key={one.id}>
            <strong>{one.delta > 0 ? `+${String(one.delta)}` : String(one.delta)}</strong>
            <span>
              <bdi>{one.reason}</bdi>
              {one.reserved_delta
                ? ` (reserved ${one.reserved_delta > 0 ? '+' : ''}${String(one.reserved_delta)})`
                : ''}
            </span>
            <time dateTime={one.created_at}>{dateTime(one.created_at)}</time>
          </li>
        ))}
      </ul>
      {data && data.pages > 1 ? (
        <div className="row">
          <Button
            className="link-button"
            off={page <= 1}
            onClick={() => {
              setPage(page - 1);
            }}
          >
            Newer
          </Button>
          <span className="hint">
            {page} of {data.pages}
          </span>
          <Button
            className="link-button"
            off={page >= data.pages}
            onClick={() => {
              setPage(page + 1);
            }}
          >
            Older
          </Button>
        </div>
      ) : null}
    </section>
  );
}
