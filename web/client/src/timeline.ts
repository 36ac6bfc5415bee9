// The timeline on screen: rows into elements, and where the reader stands. Knows the DOM, not the network.
//
// At the bottom it sticks; elsewhere the message under the reader's eyes stays where it is, whatever is added or
// removed above and below.

import { avatar } from "./avatar.js";
import { byId, h, keep, type Keyed } from "./dom.js";
import { linkify } from "./links.js";
import { quietWords, type Row } from "./rows.js";
import type { Message } from "./types.js";
import type { Unsent } from "./unsent.js";
import { clockTime, dayWords, fullDate, plural } from "./words.js";

export const BOTTOM_PX = 40;

export interface TimelineEvents {
  /** The reader comes near the top, or near the end of what is loaded. */
  readonly nearTop: () => void;
  readonly nearEnd: () => void;
  readonly scrolled: () => void;
  readonly toNewest: () => void;
  readonly retry: (clientId: string) => void;
  readonly discard: (clientId: string) => void;
}

export class TimelineView {
  readonly #scroller = byId("timeline");
  readonly #list = byId("lines");
  readonly #pill = byId<HTMLButtonElement>("pill");
  #me = 0;
  #roomName = "";

  constructor(private readonly events: TimelineEvents) {
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#pill.addEventListener("click", () => events.toNewest());
    let height = this.#scroller.clientHeight;
    let stuck = true;
    this.#scroller.addEventListener("scroll", () => { stuck = this.atBottom; }, { passive: true });
    // The box below grows, a keyboard opens, the window turns: who was at the bottom stays there.
    new ResizeObserver(() => {
      if (this.#scroller.clientHeight !== height && stuck) this.toBottom();
      height = this.#scroller.clientHeight;
    }).observe(this.#scroller);
  }

  get atBottom(): boolean {
    return this.#distance <= BOTTOM_PX;
  }

  get #distance(): number {
    return this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight;
  }

  /** Forgets the room that was shown. */
  open(me: number, roomName: string): void {
    this.#me = me;
    this.#roomName = roomName;
    this.#list.replaceChildren();
    this.#list.dataset["live"] = "";
    this.#scroller.scrollTop = 0;
  }

  get skeletonPlace(): HTMLElement {
    return this.#list;
  }

  /** Shows the rows. `stick`: stay at the bottom if the reader is there. */
  render(rows: readonly Row[], stick: boolean): void {
    const sticky = stick && this.atBottom;
    const anchor = sticky ? null : this.#anchor();
    keep(this.#list, rows.map((row) => this.#keyed(row)));
    if (sticky) this.toBottom();
    else if (anchor !== null) this.#restore(anchor);
  }

  /** Tells a screen reader nothing of what is being added: it is old. */
  quietly(work: () => void): void {
    this.#list.setAttribute("aria-live", "off");
    work();
    setTimeout(() => this.#list.setAttribute("aria-live", "polite"), 500);
  }

  /** True when the reader is in the upper half of what is loaded. */
  get inUpperHalf(): boolean {
    return this.#scroller.scrollTop < (this.#scroller.scrollHeight - this.#scroller.clientHeight) / 2;
  }

  toBottom(): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Puts the unread line into the upper part of the view, if there is one; else goes to the bottom. */
  toUnread(): void {
    const line = this.#list.querySelector<HTMLElement>(".unread");
    if (line === null) this.toBottom();
    else this.#scroller.scrollTop = line.offsetTop - this.#scroller.clientHeight / 4;
  }

  pill(fresh: number, endIsLoaded: boolean): void {
    const away = !endIsLoaded || this.#distance > this.#scroller.clientHeight * 1.5;
    const words = fresh > 0 ? plural(fresh, "new message") : "Newest messages";
    this.#pill.hidden = (fresh === 0 && !away) || (endIsLoaded && this.atBottom);
    this.#pill.classList.toggle("pill-fresh", fresh > 0);
    const place = this.#pill.querySelector("span");
    if (place !== null && place.textContent !== words) place.textContent = words;
  }

  /** Asks for more where little is left; also after rendering a page that fills no screen. */
  checkEdges(): void {
    const near = this.#scroller.clientHeight * 1.5;
    if (this.#scroller.scrollTop < near) this.events.nearTop();
    if (this.#distance < near) this.events.nearEnd();
  }

  #onScroll(): void {
    this.checkEdges();
    this.events.scrolled();
  }

  /** The first line in view that will still be there, and how far below the upper edge it is. */
  #anchor(): { key: string; offset: number } | null {
    const top = this.#scroller.scrollTop;
    for (const child of this.#list.children as HTMLCollectionOf<HTMLElement>) {
      const isMessage = child.dataset["version"] !== undefined || child.dataset["clientId"] !== undefined;
      if (isMessage && child.offsetTop + child.offsetHeight > top) {
        return { key: child.dataset["key"] ?? "", offset: child.offsetTop - top };
      }
    }
    return null;
  }

  #restore(anchor: { key: string; offset: number }): void {
    const line = this.#list.querySelector<HTMLElement>(`[data-key="${CSS.escape(anchor.key)}"]`);
    if (line === null) return;
    const top = line.offsetTop - anchor.offset;
    if (Math.abs(top - this.#scroller.scrollTop) >= 1) this.#scroller.scrollTop = top;
  }

  #keyed(row: Row): Keyed {
    switch (row.kind) {
      case "start":
        return { key: row.key, signature: this.#roomName, make: () => this.#start() };
      case "day":
        return { key: row.key, signature: dayWords(row.at, new Date()), make: () => day(row.at) };
      case "unread":
        return { key: row.key, signature: "", make: unreadLine };
      case "quiet":
        return { key: row.key, signature: String(row.lines.at(-1)?.version), make: () => quiet(row.lines, this.#me) };
      case "message":
        return {
          key: row.key,
          signature: `${row.first}${row.last}${row.newest}${row.named}`,
          make: () => message(row, row.message.author.id === this.#me),
        };
      case "unsent":
        return {
          key: row.key,
          signature: `${row.unsent.state}${row.unsent.reason}${row.first}`,
          make: () => this.#unsent(row.unsent, row.first),
        };
    }
  }

  #start(): HTMLElement {
    return h("div", { class: "start" },
      h("h2", {}, this.#roomName),
      h("p", {}, "This is the beginning of the room. Say hello: everybody in it sees it at once."));
  }

  #unsent(unsent: Unsent, first: boolean): HTMLElement {
    const failed = unsent.state === "failed" || unsent.state === "waiting";
    const line = h("div", {
      class: `message own last newest${first ? " first" : ""} ${unsent.state}`,
      "data-client-id": unsent.clientId,
      "data-state": unsent.state,
    });
    line.append(
      h("div", { class: "line" },
        h("span", { class: "meta" }, state(unsent.state)),
        h("div", { class: "bubble" }, body(unsent.text))),
    );
    if (failed) {
      line.append(h("div", { class: "failure" },
        h("span", {}, unsent.reason),
        h("button", { class: "link-button", type: "button", onclick: () => this.events.retry(unsent.clientId) }, unsent.state === "failed" ? "Retry" : "Retry now"),
        h("button", { class: "link-button", type: "button", onclick: () => this.events.discard(unsent.clientId) }, "Delete")));
    }
    return line;
  }
}

function message({ message: line, first, last, newest, named }: Extract<Row, { kind: "message" }>, own: boolean): HTMLElement {
  const time = h("time", { datetime: line.created_at, title: fullDate(line.created_at) }, clockTime(line.created_at));
  const element = h("div", {
    class: `message ${own ? "own" : "other"}${first ? " first" : ""}${last ? " last" : ""}${newest ? " newest" : ""}`,
    "data-version": line.version,
    "data-client-id": line.client_id,
    "data-state": own ? "delivered" : undefined,
  });
  const bubble = h("div", { class: "bubble" }, body(line.text));
  if (own) {
    element.append(h("div", { class: "line" }, h("span", { class: "meta" }, time, state("delivered")), way(line.mode, named), bubble));
    return element;
  }
  if (first) {
    const face = h("span", { class: "face" });
    face.append(avatar(line.author.id, line.author.name));
    element.append(face, h("div", { class: "by" }, h("strong", {}, line.author.name), time));
    element.append(h("div", { class: "line" }, bubble, way(line.mode, named)));
  } else {
    element.append(h("div", { class: "line" }, h("span", { class: "sr-only" }, `${line.author.name}: `), bubble, way(line.mode, named), h("span", { class: "meta late" }, time)));
  }
  return element;
}

/** By which mode it came: a dot in the mode's colour, with its word where it changes (and always read aloud). */
function way(mode: string, named: boolean): HTMLElement {
  return h("span", { class: `way${named ? " way-named" : ""}`, "data-mode": mode, title: `Travelled by ${mode}` },
    h("span", { class: "sr-only" }, "by "), h("span", { class: "way-word" }, mode));
}

const STATES = {
  sending: ["◌", "sending"],
  saved: ["✓", "saved"],
  delivered: ["✓✓", "delivered"],
  waiting: ["◌", "waiting"],
  failed: ["!", "not sent"],
} as const;

function state(name: keyof typeof STATES): HTMLElement {
  const [glyph, word] = STATES[name];
  return h("span", { class: `state state-${name}` }, h("span", { "aria-hidden": "true" }, glyph), h("span", { class: "state-word" }, ` ${word}`));
}

/** What a person wrote: text and links, nothing else. */
export function body(text: string): HTMLElement {
  return h("p", { class: "text", dir: "auto" }, ...linkify(text).map((piece) =>
    "href" in piece ? h("a", { href: piece.href, target: "_blank", rel: "noopener noreferrer nofollow" }, piece.text) : piece.text));
}

function day(at: string): HTMLElement {
  return h("div", { class: "day", role: "separator" }, h("span", { title: fullDate(at) }, dayWords(at, new Date())));
}

function unreadLine(): HTMLElement {
  return h("div", { class: "unread", role: "separator" }, h("span", {}, "New since you were here"));
}

function quiet(lines: readonly Message[], me: number): HTMLElement {
  const last = lines.at(-1);
  return h("p", { class: "quiet", "data-version": last?.version, title: last && fullDate(last.created_at) }, quietWords(lines, me));
}
