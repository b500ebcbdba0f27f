import { createStore } from './store';

export interface Notice {
  id: number;
  text: string;
  kind: 'good' | 'bad';
}

export const notices = createStore<Notice[]>([]);
const SHOWN_MS = 7000;
let next = 0;

/** Tell something in passing; what matters is also shown where it happened. */
export function notify(text: string, kind: Notice['kind'] = 'good'): void {
  next += 1;
  const id = next;
  notices.set([...notices.get().slice(-2), { id, text, kind }]);
  setTimeout(() => { dismiss(id); }, SHOWN_MS);
}

export function dismiss(id: number): void {
  notices.set(notices.get().filter((notice) => notice.id !== id));
}
