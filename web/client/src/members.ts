// The panel beside the timeline that says who is in the room.

import type { Api } from "./api.js";
import { reasonOf } from "./api.js";
import { avatar } from "./avatar.js";
import { byId, h, skeletonAfterAWhile } from "./dom.js";
import type { User } from "./types.js";

export class MembersPanel {
  readonly #panel = byId("panel");
  readonly #list = byId("members");
  readonly #button = byId<HTMLButtonElement>("members-button");
  #room: number | null = null;
  #asked = 0;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly api: Api, private readonly me: number) {
    this.#button.addEventListener("click", () => (this.isOpen ? this.close() : this.#open()));
    byId("panel-close").addEventListener("click", () => this.close());
  }

  get isOpen(): boolean {
    return !this.#panel.hidden;
  }

  /** Follows to another room. */
  show(room: number): void {
    const other = this.#room !== room;
    this.#room = room;
    if (other && this.isOpen) void this.#load(true);
  }

  /** Somebody joined or left. */
  changed(): void {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => { if (this.isOpen) void this.#load(false); }, 200);
  }

  close(): void {
    if (!this.isOpen) return;
    const inside = this.#panel.contains(document.activeElement);
    this.#panel.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
    if (inside) this.#button.focus();
  }

  #open(): void {
    this.#panel.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    byId("panel-close").focus();
    void this.#load(true);
  }

  async #load(anew: boolean): Promise<void> {
    const room = this.#room;
    if (room === null) return;
    const asked = ++this.#asked;
    if (anew) this.#list.replaceChildren();
    const ready = anew ? skeletonAfterAWhile(this.#list, 5) : () => undefined;
    try {
      const { members, next_cursor: more } = await this.api.members(room, "");
      if (asked !== this.#asked) return;
      ready();
      this.#list.replaceChildren(...members.map((member) => this.#item(member)));
      this.#moreButton(room, more);
    } catch (error) {
      ready();
      if (asked === this.#asked) this.#list.replaceChildren(h("li", { class: "empty-note" }, `${reasonOf(error)} Close the panel and open it again.`));
    }
  }

  #moreButton(room: number, cursor: string | number | null | undefined): void {
    if (cursor === null || cursor === undefined || cursor === "") return;
    const item = h("li", {}, h("button", { class: "button", type: "button", onclick: () => void this.#loadMore(room, String(cursor), item) }, "Show more"));
    this.#list.append(item);
  }

  async #loadMore(room: number, cursor: string, button: HTMLElement): Promise<void> {
    const { members, next_cursor: more } = await this.api.members(room, cursor);
    if (room !== this.#room) return;
    button.remove();
    this.#list.append(...members.map((member) => this.#item(member)));
    this.#moreButton(room, more);
  }

  #item(member: User): HTMLElement {
    const item = h("li", { class: "member" });
    item.append(avatar(member.id, member.name), h("span", { class: "member-name" }, member.name, member.id === this.me && h("span", { class: "muted" }, " (you)")),
      h("span", { class: "member-username" }, `@${member.username}`));
    return item;
  }
}
