import { useId, type ComponentProps, type ReactElement, type ReactNode } from 'react';

interface Common {
  label: string;
  error?: string | undefined;
  hint?: ReactNode;
  /** Shown beside the label of fields that may stay empty. */
  optional?: boolean;
}
type InputProps = Common & Omit<ComponentProps<'input'>, 'id'>;

function describedBy(id: string, error: unknown, hint: unknown): string | undefined {
  const ids = [hint ? `${id}-hint` : '', error ? `${id}-error` : ''].filter(Boolean);
  return ids.length > 0 ? ids.join(' ') : undefined;
}

function Frame({
  id,
  label,
  error,
  hint,
  optional,
  children,
}: Common & { id: string; children: ReactNode }): ReactElement {
  return (
    <div className="field">
      <label htmlFor={id}>
        {label}
        {optional ? <span className="optional"> (optional)</span> : null}
      </label>
      {children}
      {hint ? (
        <p className="hint" id={`${id}-hint`}>
          {hint}
        </p>
      ) : null}
      {error ? (
        <p className="field-error" id={`${id}-error`}>
          {error}
        </p>
      ) : null}
    </div>
  );
}

/** A labelled input whose hint and error are tied to it. */
export function Field({ label, error, hint, optional, ...input }: InputProps): ReactElement {
  const id = useId();
  return (
    <Frame {...{ id, label, error, hint }} optional={optional ?? false}>
      <input
        id={id}
        aria-invalid={Boolean(error)}
        aria-describedby={describedBy(id, error, hint)}
        required={!optional}
        {...input}
      />
    </Frame>
  );
}

export function TextArea({
  label,
  error,
  hint,
  optional,
  ...input
}: Common & Omit<ComponentProps<'textarea'>, 'id'>): ReactElement {
  const id = useId();
  return (
    <Frame {...{ id, label, error, hint }} optional={optional ?? false}>
      <textarea
        id={id}
        rows={5}
        aria-invalid={Boolean(error)}
        aria-describedby={describedBy(id, error, hint)}
        {...input}
      />
    </Frame>
  );
}

export function Select({
  label,
  error,
  hint,
  optional,
  children,
  ...select
}: Common & Omit<ComponentProps<'select'>, 'id'>): ReactElement {
  const id = useId();
  return (
    <Frame {...{ id, label, error, hint }} optional={optional ?? false}>
      <select id={id} aria-invalid={Boolean(error)} aria-describedby={describedBy(id, error, hint)} {...select}>
        {children}
      </select>
    </Frame>
  );
}
