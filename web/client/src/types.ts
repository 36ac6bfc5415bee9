// What the API and the publications say, as in protocol/src/event.rs and the OpenAPI description.

import type { Mode, ModeChange } from "./modes.js";

export type Kind = "text" | "joined" | "left" | "created";

/** One line of a room's timeline. Versions of a room are gapless from 1. */
export interface Message {
  readonly room: number;
  readonly version: number;
  readonly kind: Kind;
  readonly author: { readonly id: number; readonly name: string };
  readonly text: string;
  readonly client_id?: string;
  /** Members of the room after this line. */
  readonly members: number;
  /** How many lines of the room up to this one are texts. */
  readonly texts: number;
  /** By which way the news of it came. */
  readonly mode: Mode;
  readonly created_at: string;
}

export interface User {
  readonly id: number;
  readonly username: string;
  readonly name: string;
}

export interface Room {
  readonly id: number;
  readonly name: string;
  readonly version: number;
  readonly epoch: string;
  readonly texts: number;
  readonly member_count: number;
  readonly bumped_at: string;
  readonly is_member: boolean;
  readonly read_version?: number | null;
  readonly unread?: number | null;
  readonly last_message?: Message | null;
}

/** A page of a list of rooms. */
export interface Rooms {
  readonly rooms: readonly Room[];
  /** Where the next page begins; absent on the last. */
  readonly next_cursor?: string | null;
}

/** Unread texts by the room's id, of all my rooms; rooms without any are left out. */
export type Unread = Readonly<Record<string, number>>;

export interface Page {
  readonly messages: readonly Message[];
  readonly has_more: boolean;
}

export interface Read {
  readonly room: number;
  readonly read_version: number;
  readonly unread: number;
}

export type ChatEvent =
  | ({ readonly type: "message" } & Message)
  | ({ readonly type: "read" } & Read)
  | ({ readonly type: "mode" } & ModeChange);

/** What the server rendered into the page, for the client to start from. */
export interface PageState {
  readonly me: User & { readonly is_admin: boolean };
  readonly seat: string | null;
  readonly hub_url: string | null;
  readonly mode: ModeChange;
  /** The first page of my rooms, or a later one. */
  readonly rooms: readonly Room[];
  readonly next_rooms: string | null;
  readonly unread: Unread;
  readonly room: Room | null;
  readonly page: Page | null;
}
