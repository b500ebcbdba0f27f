import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState, useSyncExternalStore, type ReactElement, type SubmitEvent } from 'react';
import { useFocusHeir } from '../components/focus';
import { SignInLink } from '../components/sign-in-link';
import { useSession, waiting } from '../lib/auth/session';
import { useCartCount } from '../lib/cart/cart';
import { dismiss, dismissAbout, notices, type Notice } from '../lib/notices';
import { useStore } from '../lib/store';
import { UserMenu } from './user-menu';

export function Layout(): ReactElement {
  const main = useRef<HTMLElement>(null);
  const path = useLocation({ select: (location) => location.pathname });
  const before = useRef(path);
  useEffect(() => {
    // Who hears the page instead of seeing it starts at its content after a change of page.
    if (before.current !== path) main.current?.focus({ preventScroll: true });
    before.current = path;
    dismissAbout(path);
  }, [path]);
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <Header />
      <Offline />
      <SessionEnded />
      <SessionWaiting />
      <main id="main" ref={main} tabIndex={-1}>
        <Outlet />
      </main>
      <footer className="footer">
        <p>Marginalia · books with room to think</p>
        <p>Pay on delivery. Prices in US dollars.</p>
      </footer>
      <Notices />
    </>
  );
}

function Header(): ReactElement {
  const session = useSession();
  const area = useLocation({ select: ({ pathname }) => /^\/admin(?:\/|$)/.test(pathname) });
  // Administrators have another search there; the shop's beside it would be a second of the same name.
  const inAdmin = area && session.status === 'signed-in' && session.admin;
  return (
    <header className="header">
      <nav className="bar" aria-label="Main">
        <Link to="/" className="brand" search={{}}>
          <BrandMark />
          Marginalia
        </Link>
        {inAdmin ? null : <SearchBox />}
        <div className="bar-end">
          <Account />
          <CartLink />
        </div>
      </nav>
    </header>
  );
}

const BrandMark = (): ReactElement => (
  <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" className="brand-mark">
    <path d="M8 5h12a4 4 0 0 1 4 4v18H12a4 4 0 0 1-4-4z" />
    <path className="brand-ribbon" d="M17 5h6v13l-3-2.700-3 2.700z" />
  </svg>
);

function SearchBox(): ReactElement {
  const navigate = useNavigate();
  const asked = useLocation({
    select: ({ pathname, search }) => (pathname === '/search' ? ((search as { q?: string }).q ?? '') : ''),
  });
  const [text, setText] = useState(asked);
  useEffect(() => {
    setText(asked);
  }, [asked]);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const q = text.trim();
    if (q !== '') void navigate({ to: '/search', search: { q } });
  };
  return (
    <form className="search" role="search" onSubmit={submit}>
      <input
        type="search"
        name="q"
        aria-label="Search books"
        placeholder="Title, author or ISBN"
        maxLength={100}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
        }}
      />
      <button type="submit" aria-label="Search">
        <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
          <circle cx="8.500" cy="8.500" r="5.500" />
          <path d="m13 13 4.500 4.500" />
        </svg>
      </button>
    </form>
  );
}

function Account(): ReactElement {
  const session = useSession();
  if (session.status === 'unknown') return <span className="account-waiting" aria-hidden="true" />;
  if (session.status === 'guest') return <SignInLink className="account-link">Sign in</SignInLink>;
  return (
    <>
      {session.admin ? (
        <Link className="admin-link" to="/admin">
          Admin
        </Link>
      ) : null}
      <UserMenu name={session.name} />
    </>
  );
}

function CartLink(): ReactElement {
  const count = useCartCount();
  const words = count === undefined ? 'Cart' : `Cart, ${String(count)} ${count === 1 ? 'item' : 'items'}`;
  return (
    <Link className="cart-link" to="/cart" aria-label={words}>
      <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
        <path d="M6 8h12l1 12H5z" />
        <path d="M9 10V6.500a3 3 0 0 1 6 0V10" />
      </svg>
      {count ? <span className="cart-count">{count}</span> : null}
    </Link>
  );
}

function useOnline(): boolean {
  return useSyncExternalStore(
    (listener) => {
      window.addEventListener('online', listener);
      window.addEventListener('offline', listener);
      return () => {
        window.removeEventListener('online', listener);
        window.removeEventListener('offline', listener);
      };
    },
    () => navigator.onLine,
  );
}

function Offline(): ReactElement {
  const online = useOnline();
  return (
    <div role="status">
      {online ? null : <p className="strip">You are offline. What you see may be out of date; your cart is kept.</p>}
    </div>
  );
}

function SessionEnded(): ReactElement | null {
  const session = useSession();
  const away = useLocation({ select: (location) => location.href.startsWith('/login') });
  if (session.status !== 'guest' || session.ended === undefined || away) return null;
  return (
    <div role="alert" className="strip">
      Your session has ended. <SignInLink>Sign in again</SignInLink> to go on where you are.
    </div>
  );
}

function SessionWaiting(): ReactElement {
  const stuck = useStore(waiting);
  return (
    <div role="status">
      {stuck ? (
        <p className="strip">The sign-in service does not answer. You stay signed in, and can go on shopping.</p>
      ) : null}
    </div>
  );
}

function Notices(): ReactElement {
  const shown = useStore(notices);
  return (
    // Over windows, too, and not hidden from whoever hears the page while one is open.
    <div className="notices" role="status" aria-live="polite" data-react-aria-top-layer="true">
      {shown.map((notice) => (
        <Note key={notice.id} notice={notice} />
      ))}
    </div>
  );
}

function Note({ notice: { id, text, kind } }: { notice: Notice }): ReactElement {
  const box = useRef<HTMLParagraphElement>(null);
  useFocusHeir(box);
  return (
    <p ref={box} className="notice" data-kind={kind}>
      {text}
      <button
        type="button"
        aria-label="Dismiss"
        onClick={() => {
          dismiss(id);
        }}
      >
        ×
      </button>
    </p>
  );
}
