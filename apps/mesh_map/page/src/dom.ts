/** Elements are made here only: texts of others become text nodes, never markup. */

type Child = Node | string | number | null | undefined | false;
type Attributes = Record<string, string | number | boolean | undefined>;

const SVG = 'http://www.w3.org/2000/svg';

function fill(element: Element, attributes: Attributes, children: Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

export function s<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  fill(element, attributes, children);
  return element;
}

export function button(label: string, attributes: Attributes, pressed: () => void): HTMLButtonElement {
  const element = h('button', { type: 'button', ...attributes }, label);
  element.addEventListener('click', pressed);
  return element;
}

/** Puts new content in place of the old, and the focus back to where it was: elements say by data-key which they are. */
export function replace(place: Element, ...content: Node[]): void {
  const focused = document.activeElement;
  const key = focused && place.contains(focused) ? focused.getAttribute('data-key') : null;
  const [left, top] = [place.scrollLeft, place.scrollTop];
  place.replaceChildren(...content);
  place.scrollLeft = left;
  place.scrollTop = top;
  if (key === null) return;
  for (const element of place.querySelectorAll<HTMLElement | SVGElement>('[data-key]')) {
    if (element.getAttribute('data-key') === key) {
      element.focus({ preventScroll: true });
      return;
    }
  }
}
