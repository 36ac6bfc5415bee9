// The list of rooms: latest activity first, last line, time, unread badge. It asks for more before its end is reached.

import { byId, h, keep } from "./dom.js";
import { unread, type Entry } from "./directory.js";
import { quietWords } from "./rows.js";
import { withSeat } from "./seat.js";
import { listTime } from "./words.js";

export class RoomsView {
  readonly #list = byId("rooms");

  readonly #more = byId("more-rooms");

  /** `more`: brings the next rooms, if there are. */
  constructor(private readonly me: number, private readonly seat: string | null, private readonly more: () => Promise<void>) {
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.#more.addEventListener("click", (event) => {
      event.preventDefault();
      void this.#onward(this.#list.childElementCount);
    });
    // The list is whole from its beginning soon; the link to it is for who has no JavaScript.
    document.getElementById("first-rooms")?.remove();
    new IntersectionObserver((seen) => {
      if (seen.some((entry) => entry.isIntersecting)) void this.more();
    }, { root: this.#list.parentElement, rootMargin: "600px 0px" }).observe(this.#more);
  }

  render(entries: readonly Entry[], complete: boolean, open: number | null, drafts: (room: number) => string, unsent: ReadonlySet<number>): void {
    const now = new Date();
    keep(this.#list, entries.map((entry) => {
      const count = unread(entry);
      const draft = entry.id === open ? "" : drafts(entry.id);
      const words = lastWords(entry, this.me, draft, unsent.has(entry.id));
      const time = listTime(entry.bumpedAt, now);
      return {
        key: String(entry.id),
        signature: [entry.name, words, time, count, entry.id === open].join("\u0000"),
        make: () => this.#item(entry, words, time, count, entry.id === open),
      };
    }));
    byId("no-rooms").hidden = entries.length > 0 || !complete;
    this.#more.hidden = complete;
  }

  #item(entry: Entry, words: string, time: string, count: number, open: boolean): HTMLElement {
    return h("li", {},
      h("a", {
        class: `room${count > 0 ? " room-unread" : ""}`,
        href: withSeat(`/rooms/${entry.id}`, this.seat),
        "data-nav": true,
        "data-room": entry.id,
        "aria-current": open ? "page" : undefined,
      },
        h("span", { class: "room-mark", "aria-hidden": "true" }, [...entry.name.trim()][0]?.toUpperCase() ?? "#"),
        h("span", { class: "room-name" }, entry.name),
        h("time", { class: "room-time", datetime: entry.bumpedAt }, time),
        h("span", { class: "room-last" }, words),
        count > 0 && h("span", { class: "badge" }, count > 99 ? "99+" : String(count), h("span", { class: "sr-only" }, " unread"))));
  }

  /** Up and down move through the list. */
  #move(event: KeyboardEvent): void {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const links = [...this.#list.querySelectorAll<HTMLElement>("a")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    const next = links[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next === undefined && (event.key === "ArrowUp" || this.#more.hidden)) return;
    event.preventDefault();
    if (next === undefined) void this.#onward(links.length);
    else next.focus();
  }

  /** The next rooms, with the focus on the first of them. */
  async #onward(from: number): Promise<void> {
    await this.more();
    this.#list.children[from]?.querySelector("a")?.focus();
  }
}

function lastWords(entry: Entry, me: number, draft: string, unsent: boolean): string {
  if (unsent) return "Not sent yet";
  if (draft.trim() !== "") return `Draft: ${oneLine(draft)}`;
  const { last } = entry;
  if (last === null) return "No message yet";
  if (last.kind !== "text") return quietWords([last], me);
  return `${last.author.id === me ? "You" : last.author.name}: ${oneLine(last.text)}`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/gu, " ").slice(0, 120);
}

