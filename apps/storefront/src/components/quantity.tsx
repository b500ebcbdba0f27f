import { useEffect, useId, useState, type ReactElement } from 'react';

interface Props {
  label: string;
  value: number;
  onChange: (value: number) => void;
  /** Lowest that minus gives; 0 lets a line be removed. */
  min?: number;
  max?: number;
  disabled?: boolean;
}

/** Copies of a book: minus, a field, plus. The field takes 1 to `max`; what is typed counts when it is left or Enter is pressed. */
export function Quantity({ label, value, onChange, min = 1, max = 99, disabled = false }: Props): ReactElement {
  const id = useId();
  const [text, setText] = useState(String(value));
  useEffect(() => { setText(String(value)); }, [value]);
  const wrong = !/^\d{1,2}$/.test(text.trim()) || Number(text) < 1 || Number(text) > max;
  const commit = () => {
    if (wrong) setText(String(value));
    else if (Number(text) !== value) onChange(Number(text));
  };
  const step = (by: number) => {
    onChange(Math.min(max, Math.max(min, value + by)));
  };
  return (
    <div className="quantity" role="group" aria-label={label}>
      <button type="button" aria-label="One less" disabled={disabled || value <= min} onClick={() => { step(-1); }}>−</button>
      <input
        id={id} aria-label={label} inputMode="numeric" autoComplete="off" value={text} disabled={disabled} aria-invalid={wrong}
        onChange={(event) => { setText(event.target.value); }}
        onBlur={commit}
        onKeyDown={(event) => { if (event.key === 'Enter') { event.preventDefault(); commit(); } }}
      />
      <button type="button" aria-label="One more" disabled={disabled || value >= max} onClick={() => { step(1); }}>+</button>
    </div>
  );
}
