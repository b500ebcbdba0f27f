import { Link, type ErrorComponentProps } from '@tanstack/react-router';
import type { ReactElement } from 'react';
import { Panel, useTitle } from '../components/states';

/** A page that failed while drawing, or whose files could not be fetched. The rest of the shop stays usable. */
export function CrashPage({ reset }: ErrorComponentProps): ReactElement {
  useTitle('Something went wrong');
  return (
    <div role="alert">
      <Panel title="This page could not be shown" level="h1" mark="!">
        <p>
          {navigator.onLine
            ? 'Something went wrong on our side. Your cart is safe.'
            : 'You are offline. It will work again once you are connected.'}
        </p>
        <p className="row">
          <button
            type="button"
            className="button"
            onClick={() => {
              reset();
              window.location.reload();
            }}
          >
            Reload the page
          </button>
          <Link className="button button-quiet" to="/">
            Browse the catalogue
          </Link>
        </p>
      </Panel>
    </div>
  );
}
