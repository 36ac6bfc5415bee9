// What a person wrote and the server has not answered for. Pure but for the Storage it is given.
//
// Promise: a text stays until the server has it or the person deletes it, across failures and reloads. Each keeps its
// client_id, by which the server recognises a repeat; so trying again is always safe. One storage key per message,
// so that two tabs never overwrite each other's.

/** waiting: it failed for want of a connection and goes out by itself; failed: its author must decide. */
export type UnsentState = "sending" | "saved" | "waiting" | "failed";

export interface Unsent {
  readonly clientId: string;
  readonly room: number;
  readonly text: string;
  readonly writtenAt: number;
  readonly state: UnsentState;
  /** Why it waits or failed, in words. */
  readonly reason: string;
}

export type KeyValue = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

export class UnsentQueue {
  #items = new Map<string, Unsent>();
  readonly #prefix: string;

  constructor(private readonly storage: KeyValue, user: number) {
    this.#prefix = `roomcast:${user}:unsent:`;
    const found: Unsent[] = [];
    for (let index = 0; index < storage.length; index += 1) {
      const key = storage.key(index);
      if (key?.startsWith(this.#prefix)) {
        const unsent = parse(storage.getItem(key));
        if (unsent !== null) found.push(unsent);
      }
    }
    // What was on its way when the page closed may have arrived: it waits to be sent again under the same id.
    for (const unsent of found.sort((a, b) => a.writtenAt - b.writtenAt)) {
      this.#items.set(unsent.clientId, unsent.state === "failed" ? unsent : { ...unsent, state: "sending", reason: "" });
    }
  }

  /** Of one room, in the order written. */
  of(room: number): Unsent[] {
    return [...this.#items.values()].filter((unsent) => unsent.room === room);
  }

  get(clientId: string): Unsent | undefined {
    return this.#items.get(clientId);
  }

  /** The rooms that have something to send. */
  get rooms(): number[] {
    const open = [...this.#items.values()].filter((unsent) => unsent.state !== "saved");
    return [...new Set(open.map((unsent) => unsent.room))];
  }

  add(room: number, text: string, clientId: string, now: number): Unsent {
    const unsent: Unsent = { clientId, room, text, writtenAt: now, state: "sending", reason: "" };
    this.#put(unsent);
    return unsent;
  }

  /** The next to send in a room: one at a time, so that they arrive in the order written. */
  next(room: number): Unsent | undefined {
    return this.of(room).find((unsent) => unsent.state === "sending" || unsent.state === "waiting");
  }

  /** The server answered for it; it stays on screen until the socket brings it. */
  saved(clientId: string): void {
    const unsent = this.#items.get(clientId);
    if (unsent === undefined) return;
    this.#items.set(clientId, { ...unsent, state: "saved", reason: "" });
    this.storage.removeItem(this.#prefix + clientId);
  }

  /** It did not arrive, nor will what was written after it: all of the room wait, so that the order is kept. */
  wait(room: number, reason: string): void {
    for (const unsent of this.of(room)) {
      if (unsent.state === "sending") this.#put({ ...unsent, state: "waiting", reason });
    }
  }

  /** The server refused it. */
  failed(clientId: string, reason: string): void {
    const unsent = this.#items.get(clientId);
    if (unsent !== undefined) this.#put({ ...unsent, state: "failed", reason });
  }

  /** Its author wants it sent again. */
  retry(clientId: string): Unsent | undefined {
    const unsent = this.#items.get(clientId);
    if (unsent?.state !== "failed" && unsent?.state !== "waiting") return undefined;
    this.#put({ ...unsent, state: "sending", reason: "" });
    return this.#items.get(clientId);
  }

  /** It arrived in the timeline, or its author deleted it. */
  remove(clientId: string): Unsent | undefined {
    const unsent = this.#items.get(clientId);
    this.#items.delete(clientId);
    this.storage.removeItem(this.#prefix + clientId);
    return unsent;
  }

  #put(unsent: Unsent): void {
    this.#items.set(unsent.clientId, unsent);
    try {
      this.storage.setItem(this.#prefix + unsent.clientId, JSON.stringify(unsent));
    } catch {
      // A full storage costs the reload, not the message: it is still in memory and on screen.
    }
  }
}

function parse(json: string | null): Unsent | null {
  try {
    const value = JSON.parse(json ?? "null") as Partial<Unsent> | null;
    const valid = typeof value?.clientId === "string" && typeof value.room === "number" && typeof value.text === "string"
      && typeof value.writtenAt === "number";
    return valid ? { state: "sending", reason: "", ...value } as Unsent : null;
  } catch {
    return null;
  }
}
