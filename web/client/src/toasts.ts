// Short notices: what happened, what was kept, what to try. They leave by themselves unless they are pointed at.

import { byId, h, icon } from "./dom.js";

export interface Action {
  readonly words: string;
  readonly run: () => void;
}

const SHOWN_MS = 7000;
const MOST = 3;

export interface Options {
  readonly tone?: "error" | "plain";
  readonly action?: Action;
  /** Takes the place of what was said about the same before. */
  readonly about?: string;
  /** Shows the mode's colour. */
  readonly mode?: string;
}

export function toast(words: string, options: Options = {}): void {
  const list = byId("toasts");
  // The same twice is once, and lasts longer.
  const about = options.about ?? words;
  for (const shown of list.querySelectorAll<HTMLElement>("[data-about]")) if (shown.dataset["about"] === about) shown.remove();
  while (list.children.length >= MOST) list.firstElementChild?.remove();
  const tone = options.tone ?? "plain";
  const { action } = options;
  const item = h("div", { class: `toast toast-${tone}`, role: tone === "error" ? "alert" : "status", "data-about": about, "data-mode": options.mode },
    h("p", {}, words),
    action && h("button", { class: "button button-quiet", type: "button", onclick: () => { item.remove(); action.run(); } }, action.words),
    h("button", { class: "icon-button", type: "button", "aria-label": "Close this notice", onclick: () => item.remove() }, icon("close")));
  list.append(item);
  const leave = () => {
    if (item.matches(":hover, :focus-within")) setTimeout(leave, 1000);
    else item.remove();
  };
  setTimeout(leave, SHOWN_MS);
}
