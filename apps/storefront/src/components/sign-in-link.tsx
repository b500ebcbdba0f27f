import { Link, useLocation } from '@tanstack/react-router';
import type { ReactElement, ReactNode } from 'react';
import { keepDrafts } from '../lib/drafts';

/** Leads to the sign-in page and back here, with what was typed. */
export function SignInLink({ children, className }: { children: ReactNode; className?: string }): ReactElement {
  const here = useLocation({ select: (location) => location.href });
  return (
    <Link
      to="/login"
      search={{ return: here.startsWith('/login') ? '/' : here }}
      onClick={keepDrafts}
      {...(className ? { className } : {})}
    >
      {children}
    </Link>
  );
}
