// The loaded part of one room's timeline: contiguous versions, each once. Pure; knows neither the DOM nor the network.
//
// Versions are gapless, so a missing one is seen at once. `accept` takes what the socket brings, in any order and any
// number of times; what is early waits until the hole before it is filled from the API.

import type { Message, Page } from "./types.js";

export type Verdict = "appended" | "repeat" | "early" | "beyond";

export class Thread {
  #messages: Message[] = [];
  #early = new Map<number, Message>();
  #newest = 0;
  #hasOlder = false;

  constructor(page: Page) {
    this.reset(page);
  }

  /** Starts over from the newest page. */
  reset(page: Page): void {
    this.#messages = [...page.messages];
    this.#hasOlder = page.has_more;
    this.#newest = Math.max(this.#newest, this.top);
    this.#takeEarly();
  }

  get messages(): readonly Message[] {
    return this.#messages;
  }

  /** The last version of the loaded part. */
  get top(): number {
    return this.#messages.at(-1)?.version ?? 0;
  }

  get first(): number {
    return this.#messages[0]?.version ?? 0;
  }

  /** The highest version known to exist. */
  get newest(): number {
    return this.#newest;
  }

  get hasOlder(): boolean {
    return this.#hasOlder;
  }

  /** True when nothing newer than the loaded part is known. */
  get complete(): boolean {
    return this.top >= this.#newest;
  }

  /** Takes one line from the socket. "early": a hole must be filled. "beyond": the end is not loaded, scrolled away. */
  accept(message: Message, following: boolean): Verdict {
    if (message.version <= this.top || this.#early.has(message.version)) return "repeat";
    const wasComplete = this.complete;
    this.#newest = Math.max(this.#newest, message.version);
    if (message.version === this.top + 1) {
      this.#messages.push(message);
      this.#takeEarly();
      return "appended";
    }
    if (!following && !wasComplete) return "beyond";
    this.#early.set(message.version, message);
    return "early";
  }

  /** The truth says that this version exists. */
  knowNewest(version: number): void {
    this.#newest = Math.max(this.#newest, version);
  }

  /** Adds a page of lines before the loaded part. */
  prepend(page: Page): void {
    const first = this.#messages.length > 0 ? this.first : Number.POSITIVE_INFINITY;
    this.#messages.unshift(...page.messages.filter((message) => message.version < first));
    this.#hasOlder = page.has_more;
  }

  /** Adds a page of lines after the loaded part. */
  append(page: Page): void {
    for (const message of page.messages) {
      if (message.version === this.top + 1 || this.#messages.length === 0) this.#messages.push(message);
    }
    this.#newest = Math.max(this.#newest, this.top);
    this.#takeEarly();
  }

  /** Forgets the oldest lines beyond `keep`. */
  trimOldest(keep: number): void {
    if (this.#messages.length <= keep) return;
    this.#messages.splice(0, this.#messages.length - keep);
    this.#hasOlder = true;
  }

  /** Forgets the newest lines beyond `keep`: the reader is far up. */
  trimNewest(keep: number): void {
    this.#messages.length = Math.min(this.#messages.length, keep);
    this.#early.clear();
  }

  #takeEarly(): void {
    for (;;) {
      const next = this.#early.get(this.top + 1);
      if (next === undefined) break;
      this.#early.delete(next.version);
      this.#messages.push(next);
    }
    for (const version of this.#early.keys()) if (version <= this.top) this.#early.delete(version);
  }
}
