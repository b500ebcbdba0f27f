import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState, type ReactElement } from 'react';
import { ErrorNote, Loading, Panel, useTitle } from '../../components/states';
import { NetworkError } from '../../lib/api/errors';
import { ready, signIn } from '../../lib/auth/session';
import { safeReturnPath } from '../../lib/return-path';

/** Goes to Keycloak's page at once; it stays to be seen only if something went wrong. */
export function LoginPage(): ReactElement {
  const { return: back, failed, register } = useSearch({ from: '/login' });
  const navigate = useNavigate();
  const path = safeReturnPath(back);
  const [error, setError] = useState<unknown>(null);
  const begun = useRef(false);
  useTitle('Sign in');
  const go = async (asNew: boolean) => {
    setError(null);
    try {
      if ((await ready()).status === 'signed-in') await navigate({ href: path, replace: true });
      else await signIn(path, asNew);
    } catch {
      setError(new NetworkError('sign-in'));
    }
  };
  useEffect(() => {
    if (begun.current || failed !== undefined) return;
    begun.current = true;
    void go(register !== undefined);
  });
  if (failed === undefined && error === null) return <Loading level="h1" label="Going to the sign-in page" />;
  return (
    <Panel title="You are not signed in" level="h1" mark="→">
      <p>
        {failed === undefined
          ? 'The sign-in page cannot be reached.'
          : 'The sign-in was not finished, or took too long. Nothing is lost: your cart is kept.'}
      </p>
      <ErrorNote error={error} />
      <p className="row">
        <button type="button" className="button" onClick={() => void go(false)}>
          Sign in
        </button>
        <Link className="button button-quiet" to="/">
          Browse as a guest
        </Link>
      </p>
    </Panel>
  );
}
