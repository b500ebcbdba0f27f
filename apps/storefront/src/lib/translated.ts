/**
 * Keeps the page working while a translator of the browser changes it. Such a translator puts `<font>` elements around text, or in its
 * place; React still holds the text nodes that it made, and would fail to remove them or to insert before them, and the page would be
 * lost with everything that was typed. What cannot be found where React left it is looked for where the translator put it.
 *
 * Why here and not in the components: text nodes that come and go are everywhere, also in libraries; a rule for our own markup would
 * leave those. And a text node that was replaced would no longer show what React writes into it, such as a new total, without failing.
 */
// Called with a parent each time.
/* eslint-disable-next-line @typescript-eslint/unbound-method */
const { appendChild, insertBefore, removeChild } = Node.prototype;

/** What a translator put in the place of a text node. */
const standIns = new WeakMap<Node, Element>();
let observer: MutationObserver | undefined;

const isFont = (node: Node | null | undefined): node is HTMLElement =>
  node instanceof HTMLElement && node.tagName === 'FONT';

function learn(records: MutationRecord[]): void {
  for (const record of records) {
    for (const node of record.removedNodes) {
      // Moved into the font, which is the usual case of wrapping, it is found through its parents.
      if (!(node instanceof Text) || node.isConnected) continue;
      const font = [...record.addedNodes, record.previousSibling, record.nextSibling].find(isFont);
      if (font !== undefined) standIns.set(node, font);
    }
  }
}

/** React wrote into a text that is not on the page any more: it takes its place back, and is translated anew. */
function restore(text: Node): void {
  const font = standIns.get(text);
  if (font === undefined || text.parentNode !== null) return;
  standIns.delete(text);
  if (font.parentNode !== null) {
    insertBefore.call(font.parentNode, text, font);
    removeChild.call(font.parentNode, font);
  }
}

/** What has just happened, before the observer is called. */
const pending = (): void => {
  learn(observer?.takeRecords() ?? []);
};

/** The child of `parent` that is, contains or replaces `node`. */
function placeOf(parent: Node, node: Node): Node | null {
  let found: Node | null = node.parentNode === null ? (standIns.get(node) ?? null) : node;
  while (found !== null && found.parentNode !== parent) found = found.parentNode;
  return found;
}

/** A text that is put somewhere again leaves no translation of it behind. */
function clear(node: Node): void {
  const font = standIns.get(node);
  if (font === undefined) return;
  standIns.delete(node);
  if (font.parentNode !== null) removeChild.call(font.parentNode, font);
}

/** Called once, before anything is drawn. */
export function bearTranslators(): void {
  if (observer !== undefined) return;
  observer = new MutationObserver(learn);
  observer.observe(document.documentElement, { childList: true, subtree: true });
  const nodeValue = Object.getOwnPropertyDescriptor(Node.prototype, 'nodeValue');
  Object.defineProperty(Node.prototype, 'nodeValue', {
    ...nodeValue,
    set(this: Node, value: string | null) {
      nodeValue?.set?.call(this, value);
      if (this.parentNode !== null || !(this instanceof Text)) return;
      pending();
      restore(this);
    },
  });
  Node.prototype.removeChild = function <T extends Node>(this: Node, child: T): T {
    if (child.parentNode === this) return removeChild.call(this, child) as T;
    pending();
    let gone = placeOf(this, child);
    // A wrapper with other things in it stays.
    while (gone !== null && gone.contains(child) && gone !== child && gone.childNodes.length > 1)
      gone = [...gone.childNodes].find((one) => one.contains(child)) ?? null;
    gone ??= child;
    standIns.delete(child);
    if (gone.parentNode !== null) removeChild.call(gone.parentNode, gone);
    return child;
  };
  Node.prototype.insertBefore = function <T extends Node>(this: Node, node: T, before: Node | null): T {
    if (before !== null && before.parentNode !== this) {
      pending();
      // What is nowhere gives no place: the end is better than no page.
      before = placeOf(this, before);
    }
    insertBefore.call(this, node, before);
    clear(node);
    return node;
  };
  Node.prototype.appendChild = function <T extends Node>(this: Node, node: T): T {
    appendChild.call(this, node);
    clear(node);
    return node;
  };
}
