import type { ComponentProps, ReactElement } from 'react';

interface Props extends Omit<ComponentProps<'button'>, 'disabled'> {
  /** It cannot be pressed now. */
  off?: boolean;
}

/** A button that keeps the focus while it cannot be pressed: a disabled one would drop it, and with it the keyboard's place. */
export function Button({ off = false, type = 'button', className = 'button', onClick, ...rest }: Props): ReactElement {
  return (
    <button
      {...rest}
      type={type}
      className={className}
      aria-disabled={off || undefined}
      onClick={(event) => {
        if (off) event.preventDefault();
        else onClick?.(event);
      }}
    />
  );
}
