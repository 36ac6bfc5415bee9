// What the timeline shows, line by line: days, the unread line, messages grouped by author, folded joins and leaves.
// Pure: the same input gives the same rows with the same keys, so the view changes only what changed.

import type { Message } from "./types.js";
import type { Unsent } from "./unsent.js";

export const GROUP_MINUTES = 5;

export type Row =
  | { readonly kind: "start"; readonly key: string }
  | { readonly kind: "day"; readonly key: string; readonly at: string }
  | { readonly kind: "unread"; readonly key: string }
  | { readonly kind: "quiet"; readonly key: string; readonly lines: readonly Message[] }
  /** `named`: it came by another mode than the one before, so the mode's word stands beside its dot. */
  | { readonly kind: "message"; readonly key: string; readonly message: Message; readonly first: boolean; readonly last: boolean; readonly newest: boolean; readonly named: boolean }
  | { readonly kind: "unsent"; readonly key: string; readonly unsent: Unsent; readonly first: boolean };

export interface RowsInput {
  readonly messages: readonly Message[];
  readonly unsent: readonly Unsent[];
  /** True when the first line of the room is loaded. */
  readonly fromStart: boolean;
  /** The first version that had not been read, or null for no line. */
  readonly unreadFrom: number | null;
  readonly me: number;
  /** The local day of a time, for example "2026-11-22". */
  readonly dayOf: (time: string) => string;
}

export function rows(input: RowsInput): Row[] {
  const out: Row[] = input.fromStart ? [{ kind: "start", key: "start" }] : [];
  let day = "";
  let unreadShown = input.unreadFrom === null;
  let previous: Message | null = null;
  let quiet: Message[] | null = null;
  let mode = "";

  const newestOwn = input.messages.findLast((message) => message.kind === "text" && message.author.id === input.me);
  for (const message of input.messages) {
    const today = input.dayOf(message.created_at);
    if (today !== day) {
      day = today;
      previous = null;
      quiet = null;
      out.push({ kind: "day", key: `day-${today}`, at: message.created_at });
    }
    if (!unreadShown && input.unreadFrom !== null && message.version >= input.unreadFrom) {
      unreadShown = true;
      previous = null;
      quiet = null;
      out.push({ kind: "unread", key: "unread" });
    }
    if (message.kind !== "text") {
      previous = null;
      if (quiet === null) {
        quiet = [message];
        out.push({ kind: "quiet", key: `v${message.version}`, lines: quiet });
      } else {
        quiet.push(message);
      }
      continue;
    }
    quiet = null;
    const first = previous === null || !sameGroup(previous, message);
    out.push({ kind: "message", key: keyOf(message, input.me), message, first, last: true, newest: message === newestOwn, named: message.mode !== mode });
    if (!first) endGroup(out);
    previous = message;
    mode = message.mode;
  }
  appendUnsent(out, input, previous);
  return out;
}

/** One's own line keeps its key from the moment it is written, so that it changes in place when it is confirmed. */
export function keyOf(message: Message, me: number): string {
  // Only for one's own: a client_id is its author's choice, and somebody else may choose the same.
  const own = message.author.id === me && message.client_id !== undefined;
  return own ? `c${message.client_id}` : `v${message.version}`;
}

function sameGroup(previous: Message, message: Message): boolean {
  const minutes = (Date.parse(message.created_at) - Date.parse(previous.created_at)) / 60_000;
  return previous.author.id === message.author.id && minutes < GROUP_MINUTES;
}

/** The message before the newest row is no longer the last of its group. */
function endGroup(out: Row[]): void {
  const before = out.at(-2);
  if (before?.kind === "message") out[out.length - 2] = { ...before, last: false };
}

function appendUnsent(out: Row[], input: RowsInput, previous: Message | null): void {
  let first = previous?.author.id !== input.me;
  for (const unsent of input.unsent) {
    out.push({ kind: "unsent", key: `c${unsent.clientId}`, unsent, first });
    if (!first) endGroup(out);
    first = false;
  }
}

/** "Alice and Bob joined", "Carol left and came back": what a run of quiet lines amounts to. */
export function quietWords(lines: readonly Message[], me: number): string {
  const created = lines.find((line) => line.kind === "created");
  const people = new Map<number, { name: string; kinds: string[] }>();
  for (const line of lines) {
    if (line.kind === "created") continue;
    const person = people.get(line.author.id) ?? { name: nameOf(line, me), kinds: [] };
    person.kinds.push(line.kind);
    people.set(line.author.id, person);
  }
  const groups = new Map<string, string[]>();
  for (const { name, kinds } of people.values()) {
    const verb = verbOf(kinds);
    groups.set(verb, [...(groups.get(verb) ?? []), name]);
  }
  const words = [...groups].map(([verb, names]) => `${listed(names)} ${verb}`);
  if (created !== undefined) words.unshift(`${nameOf(created, me)} created the room`);
  return words.join(" · ");
}

function nameOf(line: Message, me: number): string {
  return line.author.id === me ? "You" : line.author.name;
}

function verbOf(kinds: readonly string[]): string {
  if (kinds.length === 1) return kinds[0] ?? "";
  return kinds[0] === "joined"
    ? kinds.at(-1) === "joined" ? "joined, left and came back" : "joined and left"
    : kinds.at(-1) === "joined" ? "left and came back" : "left, came back and left";
}

function listed(people: readonly string[]): string {
  const names = people.includes("You") ? ["You", ...people.filter((name) => name !== "You")] : people;
  if (names.length <= 1) return names[0] ?? "";
  if (names.length <= 3) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `${names.slice(0, 2).join(", ")} and ${names.length - 2} others`;
}
