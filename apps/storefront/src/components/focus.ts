import { useEffect, useLayoutEffect, useRef, type RefObject } from 'react';

const FOCUSABLE = 'a[href]:not([tabindex="-1"]), button, input';

/**
 * When an element goes away and the focus with it (`holds`: though it is elsewhere, as in a window that the element opened), the
 * focus goes to the rest of its row, to the next row, or to the page's content, instead of nowhere.
 */
export function useFocusHeir(ref: RefObject<HTMLElement | null>, holds = false): void {
  const held = useRef(holds);
  useEffect(() => {
    held.current = holds;
  }, [holds]);
  useLayoutEffect(() => {
    const node = ref.current;
    const holder = held;
    return () => {
      if (node === null || !(holder.current || node.contains(document.activeElement))) return;
      const row = node.closest('li, tr');
      const heirs = [row, row?.nextElementSibling, row?.previousElementSibling];
      // Once everything that goes is gone.
      requestAnimationFrame(() => {
        if (document.activeElement !== null && document.activeElement !== document.body) return;
        const found = heirs.find((one) => one?.isConnected)?.querySelector<HTMLElement>(FOCUSABLE);
        (found ?? document.getElementById('main'))?.focus();
      });
    };
  }, [ref]);
}
