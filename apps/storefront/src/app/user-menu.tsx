import { Link, useLocation } from '@tanstack/react-router';
import { useEffect, useRef, useState, type ReactElement } from 'react';
import { signOut } from '../lib/auth/session';
import { bare } from '../lib/format';

/** A disclosure with the signed-in visitor's links: a button and a list, no roles that would promise a menu's arrow keys. */
export function UserMenu({ name }: { name: string }): ReactElement {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const path = useLocation({ select: (location) => location.href });
  useEffect(() => {
    setOpen(false);
  }, [path]);
  useEffect(() => {
    if (!open) return undefined;
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      setOpen(false);
      button.current?.focus();
    };
    document.addEventListener('pointerdown', outside);
    document.addEventListener('focusin', outside);
    document.addEventListener('keydown', escape);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('focusin', outside);
      document.removeEventListener('keydown', escape);
    };
  }, [open]);
  return (
    <div className="user-menu" ref={box}>
      <button
        type="button"
        ref={button}
        aria-expanded={open}
        aria-controls="user-menu"
        aria-label={`Account: ${bare(name)}`}
        onClick={() => {
          setOpen(!open);
        }}
      >
        <span className="avatar" aria-hidden="true">
          {name.slice(0, 1).toUpperCase()}
        </span>
        <bdi className="user-name">{name}</bdi>
      </button>
      <ul id="user-menu" hidden={!open}>
        <li>
          <Link to="/orders">Your orders</Link>
        </li>
        <li>
          <button type="button" onClick={() => void signOut()}>
            Sign out
          </button>
        </li>
      </ul>
    </div>
  );
}
