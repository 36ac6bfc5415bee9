// The rooms a person is in: order, last line, unread. Pure.
//
// Events carry absolute numbers (members, texts), so a lost or repeated one cannot spoil a count:
// unread = texts now − texts at the read position.
//
// Of somebody with many rooms only some are known here, those with the latest activity. Of the others only how much is
// unread is known, so that the sum is right.

import type { Message, Read, Room, Unread } from "./types.js";
import { parseMicroseconds } from "./words.js";

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
  /** The same in milliseconds, with their fractions. */
  readonly bumped: number;
  readonly last: Message | null;
}

export function unread(entry: Entry): number {
  return Math.max(0, entry.texts - entry.readTexts);
}

/** What had been said, and what of it was unread where no more is known. */
export interface Count {
  readonly texts: ReadonlyMap<number, number>;
  readonly elsewhere: ReadonlyMap<number, number>;
}

export class Directory {
  #entries = new Map<number, Entry>();
  /** Unread texts of rooms that have no entry. */
  #elsewhere = new Map<number, number>();

  /** `unread` is of all rooms, also of those that are not among `rooms`. */
  constructor(rooms: readonly Room[], unread: Unread = {}) {
    this.reset(rooms, unread);
  }

  /**
   * The truth as the API told it; what the socket told since is newer and stays. So do rooms that the answer does not
   * reach, where `keeps` says so.
   */
  reset(rooms: readonly Room[], unread: Unread = {}, keeps: (entry: Entry) => boolean = () => false): void {
    const before = this.#entries;
    this.#entries = new Map([...before].filter(([, entry]) => keeps(entry)));
    for (const room of rooms) this.#entries.set(room.id, newer(before.get(room.id), entryOf(room)));
    this.#elsewhere = new Map(Object.entries(unread).map(([room, texts]) => [Number(room), texts]));
    for (const room of this.#entries.keys()) this.#elsewhere.delete(room);
  }

  put(room: Room): void {
    this.#entries.set(room.id, newer(this.#entries.get(room.id), entryOf(room)));
    this.#elsewhere.delete(room.id);
  }

  remove(room: number): Entry | undefined {
    const entry = this.#entries.get(room);
    this.#entries.delete(room);
    this.#elsewhere.delete(room);
    return entry;
  }

  get(room: number): Entry | undefined {
    return this.#entries.get(room);
  }

  /** Latest activity first. */
  get sorted(): Entry[] {
    return [...this.#entries.values()].sort((a, b) => b.bumped - a.bumped || b.id - a.id);
  }

  /** Of all rooms, known here or not. */
  get unreadTotal(): number {
    const here = [...this.#entries.values()].reduce((sum, entry) => sum + unread(entry), 0);
    return [...this.#elsewhere.values()].reduce((sum, texts) => sum + texts, here);
  }

  /** What {@link since} compares with. */
  get count(): Count {
    return { texts: new Map([...this.#entries.values()].map((entry) => [entry.id, entry.texts])), elsewhere: new Map(this.#elsewhere) };
  }

  /** How many texts came since; of rooms that were not known then, how many more are unread. */
  since({ texts, elsewhere }: Count): number {
    let sum = 0;
    for (const entry of this.#entries.values()) {
      const before = texts.get(entry.id);
      sum += before === undefined ? Math.max(0, unread(entry) - (elsewhere.get(entry.id) ?? 0)) : entry.texts - before;
    }
    for (const [room, now] of this.#elsewhere) sum += Math.max(0, now - (elsewhere.get(room) ?? 0));
    return Math.max(0, sum);
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
      bumped: parseMicroseconds(message.created_at),
      last: message,
      ...(hasRead ? { readVersion: message.version, readTexts: message.texts } : {}),
    });
    return true;
  }

  /** A read position moved, here or in another tab; it never moves back. `texts`: texts up to that version, if known. */
  read(read: Read, texts?: number): boolean {
    const entry = this.#entries.get(read.room);
    if (entry === undefined) return this.#readElsewhere(read);
    if (read.read_version <= entry.readVersion) return false;
    const readTexts = texts ?? entry.texts - read.unread;
    this.#entries.set(entry.id, { ...entry, readVersion: read.read_version, readTexts: Math.max(entry.readTexts, readTexts) });
    return true;
  }

  #readElsewhere(read: Read): boolean {
    if ((this.#elsewhere.get(read.room) ?? 0) === read.unread) return false;
    if (read.unread > 0) this.#elsewhere.set(read.room, read.unread);
    else this.#elsewhere.delete(read.room);
    return true;
  }
}

export function entryOf(room: Room): Entry {
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
    bumped: parseMicroseconds(room.bumped_at),
    last: room.last_message ?? null,
  };
}

function newer(before: Entry | undefined, now: Entry): Entry {
  if (before === undefined || before.epoch !== now.epoch) return now;
  const read = before.readVersion > now.readVersion ? before : now;
  const live = before.version > now.version ? before : now;
  return { ...live, readVersion: read.readVersion, readTexts: read.readTexts };
}
