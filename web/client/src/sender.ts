// Sends what was written: one at a time in a room, in order, again and again where trying again can help.

import { Refused, reasonOf, type Api } from "./api.js";
import { delayBefore } from "./backoff.js";
import type { Mode } from "./modes.js";
import type { UnsentQueue } from "./unsent.js";

/** Later tries than the socket's: a post is heavier than a connect. */
const FIRST_ATTEMPT = 2;

export class Sender {
  #running = new Set<number>();
  #attempt = FIRST_ATTEMPT;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly api: Pick<Api, "post">,
    private readonly queue: UnsentQueue,
    private readonly changed: (room: number) => void,
    /** By which mode what is sent now travels; null: by everybody's. */
    private readonly mode: () => Mode | null = () => null,
  ) {}

  write(room: number, text: string): void {
    this.queue.add(room, text, crypto.randomUUID(), Date.now());
    this.changed(room);
    void this.pump(room);
  }

  retry(clientId: string): void {
    const unsent = this.queue.retry(clientId);
    if (unsent === undefined) return;
    this.changed(unsent.room);
    void this.pump(unsent.room);
  }

  /** The page opened or the connection is back: what waits goes out. */
  resume(): void {
    this.#attempt = FIRST_ATTEMPT;
    clearTimeout(this.#timer);
    for (const room of this.queue.rooms) void this.pump(room);
  }

  async pump(room: number): Promise<void> {
    if (this.#running.has(room)) return;
    this.#running.add(room);
    try {
      for (let unsent = this.queue.next(room); unsent !== undefined; unsent = this.queue.next(room)) {
        if (!(await this.#send(room, unsent.clientId, unsent.text))) break;
      }
    } finally {
      this.#running.delete(room);
    }
  }

  /** False when what follows has to wait as well. */
  async #send(room: number, clientId: string, text: string): Promise<boolean> {
    try {
      await this.api.post(room, text, clientId, this.mode());
      this.#attempt = FIRST_ATTEMPT;
      this.queue.saved(clientId);
      return true;
    } catch (error) {
      if (error instanceof Refused && !error.passing) {
        this.queue.failed(clientId, `${reasonOf(error)} Your text is kept.`);
        return true;
      }
      this.queue.wait(room, `${reasonOf(error)} Your text is kept and goes out by itself.`);
      this.#later(error instanceof Refused ? error.waitMs : 0);
      return false;
    } finally {
      this.changed(room);
    }
  }

  /** Not before the server asked for. */
  #later(waitMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      for (const room of this.queue.rooms) void this.pump(room);
    }, Math.max(waitMs, delayBefore(this.#attempt, Math.random())));
    this.#attempt += 1;
  }
}
