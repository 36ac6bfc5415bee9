// Where one writes. Enter sends, Shift+Enter breaks the line, the box grows with the text.

import { byId } from "./dom.js";

const MOST_CHARACTERS = 4000;
const COUNTER_FROM = 3600;

export interface ComposerEvents {
  readonly send: (text: string) => void;
  readonly changed: (text: string) => void;
}

export class Composer {
  readonly #form = byId<HTMLFormElement>("composer");
  readonly #box = byId<HTMLTextAreaElement>("text");
  readonly #counter = byId("counter");
  readonly #button = byId<HTMLButtonElement>("send");

  constructor(private readonly events: ComposerEvents) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#box.addEventListener("keydown", (event) => {
      // A key that ends the composing of a character (Japanese, Chinese) is not a send.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#box.addEventListener("input", () => {
      this.#fit();
      events.changed(this.#box.value);
    });
  }

  open(roomName: string, draft: string): void {
    this.#box.disabled = false;
    this.#box.placeholder = `Write to ${roomName}`;
    this.#box.setAttribute("aria-label", `Write to ${roomName}`);
    this.#box.value = draft;
    this.#fit();
    // On a phone the keyboard would cover what one came to read.
    if (matchMedia("(pointer: fine)").matches) this.#box.focus({ preventScroll: true });
  }

  focus(): void {
    this.#box.focus({ preventScroll: true });
  }

  #send(): void {
    const text = this.#box.value.trim();
    if (text === "" || length(text) > MOST_CHARACTERS) return;
    this.#box.value = "";
    this.#fit();
    this.events.changed("");
    this.events.send(text);
    this.#box.focus({ preventScroll: true });
  }

  #fit(): void {
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
    const left = MOST_CHARACTERS - length(this.#box.value.trim());
    this.#counter.hidden = left > MOST_CHARACTERS - COUNTER_FROM;
    this.#counter.textContent = left >= 0 ? `${left} left` : `${-left} too many`;
    this.#counter.classList.toggle("too-many", left < 0);
    this.#button.disabled = left < 0 || left === MOST_CHARACTERS;
  }
}

/** As the server counts: characters, not UTF-16 units. */
function length(text: string): number {
  return [...text].length;
}
