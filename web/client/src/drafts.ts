// The unfinished text of each room, kept across reloads. Pure but for the Storage it is given.

import type { KeyValue } from "./unsent.js";

export class Drafts {
  constructor(private readonly storage: KeyValue, private readonly user: number) {}

  read(room: number): string {
    return this.storage.getItem(this.#key(room)) ?? "";
  }

  write(room: number, text: string): void {
    try {
      if (text === "") this.storage.removeItem(this.#key(room));
      else this.storage.setItem(this.#key(room), text);
    } catch {
      // A full storage: the text is still in its box.
    }
  }

  #key(room: number): string {
    return `roomcast:${this.user}:draft:${room}`;
  }
}
