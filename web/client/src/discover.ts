// Finding rooms: search, join, leave.

import { reasonOf, type Api } from "./api.js";
import { byId, h, skeletonAfterAWhile } from "./dom.js";
import { withSeat } from "./seat.js";
import { toast } from "./toasts.js";
import type { Room } from "./types.js";
import { plural } from "./words.js";

export interface DiscoverEvents {
  readonly join: (room: number) => Promise<void>;
  readonly leave: (room: number) => Promise<void>;
  readonly isMember: (room: number) => boolean;
}

export class DiscoverView {
  readonly #list = byId("found");
  readonly #search = byId<HTMLInputElement>("search");
  readonly #note = byId("found-note");
  #rooms: Room[] = [];
  #cursor = "";
  #asked = 0;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly api: Api, private readonly seat: string | null, private readonly events: DiscoverEvents) {
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => void this.load(), 200);
    });
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.load();
    });
  }

  focus(): void {
    this.#search.focus({ preventScroll: true });
  }

  async load(): Promise<void> {
    const asked = ++this.#asked;
    const query = this.#search.value.trim();
    // What is found already stays until there is better: nothing jumps, and the focus stays where it is.
    const ready = this.#list.childElementCount > 0 ? () => undefined : skeletonAfterAWhile(this.#list, 6);
    try {
      const { rooms, next_cursor: cursor } = await this.api.discover(query, "");
      if (asked !== this.#asked) return;
      this.#rooms = [...rooms];
      this.#cursor = cursor ?? "";
      ready();
      this.render();
      this.#note.textContent = rooms.length > 0 ? ""
        : query === "" ? "There is no room yet. Create the first one with the button above the list of rooms."
        : `No room is called “${query}”. Try fewer letters, or create it with the button above the list of rooms.`;
    } catch (error) {
      ready();
      if (asked === this.#asked) this.#note.textContent = `${reasonOf(error)} Change the search to try again.`;
    }
  }

  /** Membership may have changed in another tab. */
  render(): void {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement?.closest<HTMLElement>("[data-room]")?.dataset["room"] : undefined;
    this.#list.replaceChildren(...this.#rooms.map((room) => this.#item(room)));
    if (this.#cursor !== "") {
      this.#list.append(h("li", { class: "more" }, h("button", { class: "button", type: "button", onclick: () => void this.#more() }, "Show more rooms")));
    }
    if (focused !== undefined) this.#focusOn(focused);
  }

  async #more(): Promise<void> {
    try {
      const { rooms, next_cursor: cursor } = await this.api.discover(this.#search.value.trim(), this.#cursor);
      this.#rooms.push(...rooms);
      this.#cursor = cursor ?? "";
      this.render();
    } catch (error) {
      toast(`More rooms could not be loaded. ${reasonOf(error)} Try again.`, { tone: "error" });
    }
  }

  #item(room: Room): HTMLElement {
    const member = this.events.isMember(room.id);
    const href = withSeat(`/rooms/${room.id}`, this.seat);
    const name = member ? h("a", { class: "found-name", href, "data-nav": true }, room.name) : h("span", { class: "found-name" }, room.name);
    const act = h("button", {
      class: member ? "button button-quiet" : "button button-primary",
      type: "button",
      "aria-label": `${member ? "Leave" : "Join"} ${room.name}`,
      onclick: () => void this.#act(room, member, act),
    }, member ? "Leave" : "Join");
    return h("li", { class: "found", "data-room": room.id },
      h("span", { class: "room-mark", "aria-hidden": "true" }, [...room.name.trim()][0]?.toUpperCase() ?? "#"),
      h("span", { class: "found-words" }, name, h("span", { class: "muted" }, plural(room.member_count, "member"), member && " · you are in")),
      act);
  }

  async #act(room: Room, member: boolean, button: HTMLButtonElement): Promise<void> {
    button.disabled = true;
    try {
      await (member ? this.events.leave(room.id) : this.events.join(room.id));
      const change = member ? -1 : 1;
      this.#rooms = this.#rooms.map((known) => (known.id === room.id ? { ...known, member_count: known.member_count + change } : known));
    } catch (error) {
      toast(`${member ? "Leaving" : "Joining"} ${room.name} did not work. ${reasonOf(error)} Nothing changed; try again.`, { tone: "error" });
    }
    this.render();
    this.#focusOn(String(room.id));
  }

  /** The line's button was made anew; who goes by keyboard stays at it. */
  #focusOn(room: string): void {
    this.#list.querySelector<HTMLElement>(`[data-room="${room}"] button`)?.focus();
  }
}
