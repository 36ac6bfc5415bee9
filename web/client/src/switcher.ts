// Ctrl+K: jump to a room by a few letters of its name, also to one that the list has not loaded.

import { byId, h } from "./dom.js";
import { unread, type Entry } from "./directory.js";

const SHOWN = 12;
const PAUSE_MS = 120;

/** All rooms of the reader: those that are known here at once, the others by asking. */
export interface Mine {
  readonly known: () => readonly Entry[];
  /** Whether no others are there. */
  readonly complete: () => boolean;
  readonly search: (wanted: string) => Promise<readonly Entry[]>;
}

export class Switcher {
  readonly #dialog = byId<HTMLDialogElement>("switcher");
  readonly #input = byId<HTMLInputElement>("switcher-text");
  readonly #list = byId("switcher-list");
  #found: Entry[] = [];
  #at = 0;
  #note = NOTHING;
  #asked = 0;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly mine: Mine, private readonly go: (room: number) => void) {
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
    this.#found = match(this.mine.known(), wanted).slice(0, SHOWN);
    this.#at = 0;
    clearTimeout(this.#typing);
    const asked = ++this.#asked;
    const asks = wanted !== "" && !this.mine.complete();
    this.#note = asks ? "Looking through all your rooms…" : NOTHING;
    if (asks) this.#typing = setTimeout(() => void this.#ask(wanted, asked), PAUSE_MS);
    this.#render();
  }

  /** What is chosen stays chosen when the answer comes. */
  async #ask(wanted: string, asked: number): Promise<void> {
    let others: readonly Entry[] = [];
    this.#note = NOTHING;
    try {
      others = await this.mine.search(wanted);
    } catch {
      this.#note = "Not all your rooms could be looked through. Change the letters to try again.";
    }
    if (asked !== this.#asked) return;
    const chosen = this.#found[this.#at]?.id;
    const all = new Map([...this.mine.known(), ...others].map((entry) => [entry.id, entry]));
    this.#found = match([...all.values()], wanted).slice(0, SHOWN);
    this.#at = this.#at === 0 ? 0 : Math.max(0, this.#found.findIndex((entry) => entry.id === chosen));
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
    if (this.#found.length === 0) this.#list.replaceChildren(h("li", { class: "empty-note" }, this.#note));
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

const NOTHING = "No room of yours has this name. Look for others in Discover.";

/** Names that begin with the letters come first, then those that contain them; each in the order of activity. */
export function match<T extends { readonly name: string }>(rooms: readonly T[], wanted: string): T[] {
  const named = rooms.map((room) => ({ room, at: room.name.toLocaleLowerCase().indexOf(wanted) })).filter(({ at }) => at >= 0);
  return [...named.filter(({ at }) => at === 0), ...named.filter(({ at }) => at > 0)].map(({ room }) => room);
}
