// The connection in words, wherever the page has a place for it, with the seconds counting down.

import { byId } from "./dom.js";
import { connectionWords, type ConnectionState } from "./words.js";

const NOTE_MS = 5000;

/** For those who hear the page. */
function announce(words: string): void {
  byId("announcer").textContent = words;
}

export class Status {
  #state: ConnectionState = { kind: "connecting" };
  #note: string | null = null;
  #noteTimer: ReturnType<typeof setTimeout> | undefined;
  #tick: ReturnType<typeof setInterval> | undefined;

  show(state: ConnectionState): void {
    const changed = state.kind !== this.#state.kind;
    this.#state = state;
    if (state.kind !== "connected") this.#note = null;
    clearInterval(this.#tick);
    if (state.kind === "waiting") this.#tick = setInterval(() => this.#render(), 250);
    this.#render();
    // Once for each change, not for each second of the countdown.
    if (changed && state.kind !== "connecting") announce(state.kind === "waiting" ? "Connection lost, reconnecting" : this.#words);
  }

  /** Says something for a moment in the place of "Connected". */
  note(words: string): void {
    this.#note = words;
    clearTimeout(this.#noteTimer);
    this.#noteTimer = setTimeout(() => {
      this.#note = null;
      this.#render();
    }, NOTE_MS);
    this.#render();
    announce(words);
  }

  get #words(): string {
    return this.#note ?? connectionWords(this.#state, Date.now());
  }

  #render(): void {
    const words = this.#words;
    for (const place of document.querySelectorAll<HTMLElement>("[data-status]")) {
      place.dataset["status"] = this.#state.kind;
      const text = place.querySelector("[data-status-words]");
      if (text !== null && text.textContent !== words) text.textContent = words;
    }
    document.documentElement.dataset["connection"] = this.#state.kind;
  }
}
