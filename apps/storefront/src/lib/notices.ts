import { createStore } from './store';

export interface Notice {
  id: number;
  text: string;
  kind: 'good' | 'bad';
  /** The page that says the same by itself. */
  about?: string | undefined;
}

export const notices = createStore<Notice[]>([]);
const SHOWN_MS = 7000;
let next = 0;

/** Tell something in passing; bad news stays until it is dismissed, for it may be told nowhere else. */
export function notify(text: string, kind: Notice['kind'] = 'good', about?: string): void {
  next += 1;
  const id = next;
  const others = notices.get().filter((one) => one.text !== text);
  const good = others.filter((one) => one.kind === 'good').slice(-2);
  notices.set([...others.filter((one) => one.kind === 'bad' || good.includes(one)), { id, text, kind, about }]);
  if (kind === 'good')
    setTimeout(() => {
      dismiss(id);
    }, SHOWN_MS);
}

export function dismiss(id: number): void {
  notices.set(notices.get().filter((notice) => notice.id !== id));
}

/** Good news of what is on this page now needs no words. */
export function dismissAbout(path: string): void {
  notices.set(notices.get().filter(({ kind, about }) => kind === 'bad' || about !== path));
}
