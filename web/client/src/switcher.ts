// Ctrl+K: jump to a room by a few letters of its name.

import { byId, h } from "./dom.js";
import { unread, type Entry } from "./directory.js";

const SHOWN = 12;

export class Switcher {
  readonly #dialog = byId<HTMLDialogElement>("switcher");
  readonly #input = byId<HTMLInputElement>("switcher-text");
  readonly #list = byId("switcher-list");
  #found: Entry[] = [];
  #at = 0;

  constructor(private readonly rooms: () => readonly Entry[], private readonly go: (room: number) => void) {
    byId("jump").addEventListener("click", () => this.open());
    this.#input.addEventListener("input", () => this.#filter());
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        this.open();
      }
    });
  }

  open(): void {
    if (this.#dialog.open) return;
    this.#input.value = "";
    this.#dialog.showModal();
    this.#filter();
  }

  #filter(): void {
    const wanted = this.#input.value.trim().toLocaleLowerCase();
    this.#found = match(this.rooms(), wanted).slice(0, SHOWN);
    this.#at = 0;
    this.#render();
  }

  #render(): void {
    this.#list.replaceChildren(...this.#found.map((entry, index) =>
      h("li", {
        role: "option",
        id: `jump-${entry.id}`,
        "aria-selected": index === this.#at ? "true" : "false",
        onclick: () => this.#choose(entry),
      }, h("span", {}, entry.name), unread(entry) > 0 && h("span", { class: "badge" }, String(unread(entry))))));
    if (this.#found.length === 0) this.#list.replaceChildren(h("li", { class: "empty-note" }, "No room of yours has this name. Look for others in Discover."));
    const current = this.#found[this.#at];
    this.#input.setAttribute("aria-activedescendant", current === undefined ? "" : `jump-${current.id}`);
    this.#list.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }

  #key(event: KeyboardEvent): void {
    const current = this.#found[this.#at];
    if (event.key === "Enter" && current !== undefined) this.#choose(current);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#at = (this.#at + step + this.#found.length) % Math.max(1, this.#found.length);
      this.#render();
    } else return;
    event.preventDefault();
  }

  #choose(entry: Entry): void {
    this.#dialog.close();
    this.go(entry.id);
  }
}

/** Names that begin with the letters come first, then those that contain them; each in the order of activity. */
export function match<T extends { readonly name: string }>(rooms: readonly T[], wanted: string): T[] {
  const named = rooms.map((room) => ({ room, at: room.name.toLocaleLowerCase().indexOf(wanted) })).filter(({ at }) => at >= 0);
  return [...named.filter(({ at }) => at === 0), ...named.filter(({ at }) => at > 0)].map(({ room }) => room);
}
