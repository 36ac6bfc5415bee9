// Makes elements, and keeps a list of them in step with a list of things. Text becomes text nodes, never markup.

type Value = string | number | boolean | null | undefined | EventListener;
type Child = Node | string | null | undefined | false;

/** An element with attributes (`class`, `data-…`, `aria-…`) and listeners (`onclick`). */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, Value> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element with this id, which the server rendered. */
export function byId<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element as T;
}

/** One of the icons that the page carries. */
export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** What a keyed list shows for one item; `signature` changes when the element must be made anew. */
export interface Keyed {
  readonly key: string;
  readonly signature: string;
  readonly make: () => HTMLElement;
}

/** Makes the children of `parent` be `items`, in order, touching only what changed. */
export function keep(parent: HTMLElement, items: readonly Keyed[]): void {
  const wanted = new Set(items.map((item) => item.key));
  const focused = parent.contains(document.activeElement) ? (document.activeElement as HTMLElement) : null;
  const focusedKey = focused?.closest<HTMLElement>("[data-key]")?.dataset["key"] ?? "";
  const known = new Map<string, HTMLElement>();
  for (const child of [...parent.children] as HTMLElement[]) {
    const key = child.dataset["key"];
    if (key === undefined || !wanted.has(key) || known.has(key)) child.remove();
    else known.set(key, child);
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const before = known.get(item.key);
    let element = before;
    if (element === undefined || element.dataset["signature"] !== item.signature) {
      element = made(item);
      if (before !== undefined) {
        before.replaceWith(element);
        if (place === before) place = element;
      }
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  // What is moved or made anew loses the focus, and who goes by keyboard would start over.
  if (focused === null || document.activeElement === focused) return;
  const again = focused.isConnected ? focused : parent.querySelector<HTMLElement>(`[data-key="${CSS.escape(focusedKey)}"] ${focused.tagName}`);
  again?.focus({ preventScroll: true });
}

function made(item: Keyed): HTMLElement {
  const element = item.make();
  element.dataset["key"] = item.key;
  element.dataset["signature"] = item.signature;
  return element;
}

/** Shows the shape of what comes, but only where waiting is noticeable. Returns the end of waiting. */
export function skeletonAfterAWhile(parent: HTMLElement, lines: number): () => void {
  const timer = setTimeout(() => {
    parent.replaceChildren(...Array.from({ length: lines }, () => h("div", { class: "skeleton", "aria-hidden": "true" })));
    parent.setAttribute("aria-busy", "true");
  }, 150);
  return () => {
    clearTimeout(timer);
    parent.removeAttribute("aria-busy");
  };
}
