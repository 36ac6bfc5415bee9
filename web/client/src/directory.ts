// The rooms a person is in: order, last line, unread. Pure.
//
// Events carry absolute numbers (members, texts), so a lost or repeated one cannot spoil a count:
// unread = texts now − texts at the read position.

import type { Message, Read, Room } from "./types.js";

export interface Entry {
  readonly id: number;
  readonly name: string;
  readonly epoch: string;
  readonly version: number;
  readonly texts: number;
  readonly readTexts: number;
  readonly readVersion: number;
  readonly members: number;
  readonly bumpedAt: string;
  readonly last: Message | null;
}

export function unread(entry: Entry): number {
  return Math.max(0, entry.texts - entry.readTexts);
}

export class Directory {
  #entries = new Map<number, Entry>();

  constructor(rooms: readonly Room[]) {
    this.reset(rooms);
  }

  /** The truth as the API told it; what the socket told since is newer and stays. */
  reset(rooms: readonly Room[]): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const room of rooms) this.#entries.set(room.id, newer(before.get(room.id), entryOf(room)));
  }

  put(room: Room): void {
    this.#entries.set(room.id, newer(this.#entries.get(room.id), entryOf(room)));
  }

  remove(room: number): Entry | undefined {
    const entry = this.#entries.get(room);
    this.#entries.delete(room);
    return entry;
  }

  get(room: number): Entry | undefined {
    return this.#entries.get(room);
  }

  /** Latest activity first. */
  get sorted(): Entry[] {
    return [...this.#entries.values()].sort((a, b) => Date.parse(b.bumpedAt) - Date.parse(a.bumpedAt) || b.id - a.id);
  }

  get unreadTotal(): number {
    return [...this.#entries.values()].reduce((sum, entry) => sum + unread(entry), 0);
  }

  /** All texts of all rooms: the difference over time tells how many were missed. */
  get texts(): ReadonlyMap<number, number> {
    return new Map([...this.#entries.values()].map((entry) => [entry.id, entry.texts]));
  }

  /** Takes a line of the timeline, `own` if the reader wrote it; false for a repeat or a room that is not mine. */
  accept(message: Message, own: boolean): boolean {
    const entry = this.#entries.get(message.room);
    if (entry === undefined || message.version <= entry.version) return false;
    // As the server counts, which tells nobody: who had read everything has read what they wrote themselves.
    const hasRead = own && message.kind === "text" && entry.readTexts === message.texts - 1;
    this.#entries.set(entry.id, {
      ...entry,
      version: message.version,
      texts: message.texts,
      members: message.members,
      bumpedAt: message.created_at,
      last: message,
      ...(hasRead ? { readVersion: message.version, readTexts: message.texts } : {}),
    });
    return true;
  }

  /** A read position moved, here or in another tab; it never moves back. `texts`: texts up to that version, if known. */
  read(read: Read, texts?: number): boolean {
    const entry = this.#entries.get(read.room);
    if (entry === undefined || read.read_version <= entry.readVersion) return false;
    const readTexts = texts ?? entry.texts - read.unread;
    this.#entries.set(entry.id, { ...entry, readVersion: read.read_version, readTexts: Math.max(entry.readTexts, readTexts) });
    return true;
  }
}

function entryOf(room: Room): Entry {
  return {
    id: room.id,
    name: room.name,
    epoch: room.epoch,
    version: room.version,
    texts: room.texts,
    readTexts: room.texts - (room.unread ?? 0),
    readVersion: room.read_version ?? 0,
    members: room.member_count,
    bumpedAt: room.bumped_at,
    last: room.last_message ?? null,
  };
}

function newer(before: Entry | undefined, now: Entry): Entry {
  if (before === undefined || before.epoch !== now.epoch) return now;
  const read = before.readVersion > now.readVersion ? before : now;
  const live = before.version > now.version ? before : now;
  return { ...live, readVersion: read.readVersion, readTexts: read.readTexts };
}
