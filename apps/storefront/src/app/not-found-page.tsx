import { Link, type NotFoundRouteProps } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Panel, useTitle } from '../components/states';

/** Why a guard let nobody through: signed in, but not allowed. */
export const DENIED = 'denied';

export function NotFoundPage({ data }: NotFoundRouteProps): ReactElement {
  return data === DENIED ? <AccessDenied /> : <Missing />;
}

function Missing(): ReactElement {
  useTitle('Page not found');
  return (
    <Panel title="Page not found" level="h1" mark="404">
      <p>There is nothing at this address. It may have been moved, or mistyped.</p>
      <p>
        <Link className="button" to="/">
          Browse the catalogue
        </Link>
      </p>
    </Panel>
  );
}

function AccessDenied(): ReactElement {
  useTitle('Access denied');
  return (
    <Panel title="Access denied" level="h1" mark="403">
      <p>This part of the shop is for its staff. Your account is a customer’s.</p>
      <p>
        <Link className="button" to="/">
          Back to the catalogue
        </Link>
      </p>
    </Panel>
  );
}
