// The socket: one connection on the official SDK that carries every room of the user. Knows channels and offsets, and
// nothing of the page.
//
// The server subscribes: all rooms and `user:<id>` arrive with the connect reply, later ones as pushes. The SDK keeps
// (epoch, offset) of each and recovers from there. The waiting between tries is done here, not in the SDK, so that the
// page can say when the next one is and make it at once when the network or the reader comes back.

import { Centrifuge, State, UnauthorizedError } from "centrifuge";
import { Refused } from "./api.js";
import { delayBefore } from "./backoff.js";
import type { ModeChange } from "./modes.js";
import type { ChatEvent, Message, Read } from "./types.js";
import type { ConnectionState } from "./words.js";

/** Where a room's channel stands, as the subscription told. */
export interface Standing {
  readonly version: number;
  readonly epoch: string;
  /** True when everything missed follows by itself. */
  readonly recovered: boolean;
}

export interface ConnectionEvents {
  readonly state: (state: ConnectionState) => void;
  /** `live`: it comes as it happens, not after an absence. */
  readonly message: (message: Message, live: boolean) => void;
  readonly read: (read: Read) => void;
  readonly mode: (change: ModeChange) => void;
  readonly subscribed: (room: number, standing: Standing | null) => void;
  readonly unsubscribed: (room: number) => void;
  /** Connected, and all that the reply carried has been told. */
  readonly settled: () => void;
  readonly signedOut: () => void;
}

const SIGNED_OUT_CODES = new Set([1, 3500]);

export class Connection {
  readonly #client: Centrifuge;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #live = false;

  constructor(url: string, token: () => Promise<string>, private readonly events: ConnectionEvents) {
    this.#client = new Centrifuge(url, {
      name: "roomcast",
      getToken: async () => {
        try {
          return await token();
        } catch (error) {
          if (error instanceof Refused && error.status === 401) throw new UnauthorizedError("signed out");
          throw error;
        }
      },
    });
    this.#listen();
  }

  start(): void {
    this.#try();
    addEventListener("online", () => this.retryNow());
    addEventListener("offline", () => this.#tellOffline());
    addEventListener("pageshow", () => this.retryNow());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.retryNow();
    });
  }

  /** Ends the waiting, if it waits. */
  retryNow(): void {
    if (this.#timer !== null) this.#try();
  }

  stop(): void {
    this.#clearTimer();
    this.#client.disconnect();
  }

  #listen(): void {
    this.#client
      .on("connected", () => {
        this.#attempt = 0;
        this.#live = false;
        this.events.state({ kind: "connected" });
        // The SDK tells the subscriptions and what was recovered in this same turn.
        setTimeout(() => {
          this.#live = true;
          if (this.#client.state === State.Connected) this.events.settled();
        }, 0);
      })
      .on("connecting", ({ code }) => {
        if (code !== 0) this.#lost();
      })
      .on("error", () => {
        if (this.#client.state === State.Connecting) this.#lost();
      })
      .on("disconnected", ({ code, reason }) => {
        if (code === 0) return;
        if (SIGNED_OUT_CODES.has(code)) this.events.signedOut();
        else this.events.state({ kind: "closed", reason });
      })
      .on("subscribed", ({ channel, streamPosition, recovered }) => {
        const room = roomOf(channel);
        if (room === null) return;
        const standing = streamPosition && { version: streamPosition.offset, epoch: streamPosition.epoch, recovered };
        this.events.subscribed(room, standing ?? null);
      })
      .on("unsubscribed", ({ channel }) => {
        const room = roomOf(channel);
        if (room !== null) this.events.unsubscribed(room);
      })
      .on("publication", ({ data }) => this.#publication(data as ChatEvent));
  }

  #publication(event: ChatEvent): void {
    // A type that is not known yet is skipped: it never stops the ones that are.
    if (event.type === "message") this.events.message(event, this.#live);
    else if (event.type === "read") this.events.read(event);
    else if (event.type === "mode") this.events.mode(event);
  }

  /** The positions stay in the SDK: the next connect recovers from them. */
  #lost(): void {
    this.#client.disconnect();
    this.#clearTimer();
    const delay = delayBefore(this.#attempt, Math.random());
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#try(), delay);
    this.events.state({ kind: "waiting", nextTryAt: Date.now() + delay, online: navigator.onLine });
  }

  #tellOffline(): void {
    if (this.#timer !== null) this.events.state({ kind: "waiting", nextTryAt: Date.now(), online: false });
  }

  #try(): void {
    this.#clearTimer();
    this.events.state({ kind: "connecting" });
    this.#client.connect();
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

function roomOf(channel: string): number | null {
  const id = /^room:(\d+)$/.exec(channel)?.[1];
  return id === undefined ? null : Number(id);
}
