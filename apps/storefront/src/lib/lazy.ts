/**
 * Parts of the shop that are fetched when they are needed. A failed fetch is not kept: it is tried once more at once, and again at the
 * next use. If it still fails though the shop answers, the file is gone (a new version was deployed) or the browser remembers the
 * failure; only a reload of the page helps against both, and it happens once for each part, so never in a circle.
 */
const AGAIN_MS = 800;
const KEY = 'bookstore_reloaded.';

export class PartError extends Error {
  override name = 'PartError';
}

/** What tests put in its place. */
export const page = {
  reload: (): void => {
    window.location.reload();
  },
};

export interface Use {
  /** Nobody waits for this part, and whoever is typing must not be disturbed: never reload. */
  quietly?: boolean;
}

export function fetched<T>(name: string, load: () => Promise<T>): (use?: Use) => Promise<T> {
  let part: Promise<T> | undefined;
  return async ({ quietly = false } = {}) => {
    const mine = (part ??= twice(load));
    try {
      const found = await mine;
      forget(name);
      return found;
    } catch (error) {
      if (part === mine) part = undefined;
      // The page goes away: nobody is told anything any more.
      if (!quietly && (await shopAnswers()) && reloadOnce(name)) return new Promise<T>(() => undefined);
      throw new PartError(name, { cause: error });
    }
  };
}

async function twice<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch {
    await new Promise((resolve) => {
      setTimeout(resolve, AGAIN_MS);
    });
    return load();
  }
}

async function shopAnswers(): Promise<boolean> {
  try {
    return (await fetch('/config.json', { cache: 'no-store' })).ok;
  } catch {
    return false;
  }
}

/** Without a place to remember it there is no reload, rather than many. */
function reloadOnce(name: string): boolean {
  try {
    if (sessionStorage.getItem(KEY + name) !== null) return false;
    sessionStorage.setItem(KEY + name, '1');
  } catch {
    return false;
  }
  page.reload();
  return true;
}

function forget(name: string): void {
  try {
    sessionStorage.removeItem(KEY + name);
  } catch {
    // Storage may be forbidden: nothing was kept there.
  }
}
