import { useEffect, useId, useState, type ReactElement } from 'react';
import { Button } from './button';

interface Props {
  label: string;
  value: number;
  onChange: (value: number) => void;
  /** Lowest that minus gives; 0 lets a line be removed. */
  min?: number;
  max?: number;
  /** Nothing can be chosen. */
  disabled?: boolean;
  /** The change of before is under way. */
  busy?: boolean;
  /** Whether what stands in the field is a quantity. */
  onValid?: (valid: boolean) => void;
}

/** Copies of a book: minus, a field, plus. What is typed counts when the field is left or Enter is pressed, if it is 1 to `max`. */
export function Quantity({
  label,
  value,
  onChange,
  min = 1,
  max = 99,
  disabled = false,
  busy = false,
  onValid,
}: Props): ReactElement {
  const id = useId();
  const [text, setText] = useState(String(value));
  const [told, setTold] = useState(false);
  useEffect(() => {
    setText(String(value));
  }, [value]);
  const wrong = !/^\d+$/.test(text.trim()) || Number(text) < 1 || Number(text) > max;
  useEffect(() => {
    onValid?.(!wrong);
  }, [wrong, onValid]);
  const commit = () => {
    setTold(wrong);
    if (!wrong && Number(text) !== value) onChange(Number(text));
  };
  const step = (by: number) => {
    const next = Math.min(max, Math.max(min, value + by));
    setText(String(next));
    if (next !== value) onChange(next);
  };
  const undo = () => {
    setText(String(value));
  };
  return (
    <div className="quantity-box">
      <div className="quantity" role="group" aria-label={label}>
        <Button
          className=""
          aria-label="One less"
          off={disabled || busy || value <= min}
          onClick={() => {
            step(-1);
          }}
        >
          −
        </Button>
        <input
          id={id}
          aria-label={label}
          inputMode="numeric"
          autoComplete="off"
          value={text}
          disabled={disabled}
          readOnly={busy}
          aria-invalid={wrong}
          aria-describedby={told && wrong ? `${id}-error` : undefined}
          onChange={(event) => {
            setText(event.target.value);
          }}
          onBlur={commit}
          onKeyDown={(event) => {
            if (event.key === 'Escape') undo();
            if (event.key !== 'Enter') return;
            event.preventDefault();
            if (!busy) commit();
          }}
        />
        <Button
          className=""
          aria-label="One more"
          off={disabled || busy || value >= max}
          onClick={() => {
            step(1);
          }}
        >
          +
        </Button>
      </div>
      {told && wrong ? (
        <p className="field-error" id={`${id}-error`} role="alert">
          Enter 1 to {max}
        </p>
      ) : null}
    </div>
  );
}
