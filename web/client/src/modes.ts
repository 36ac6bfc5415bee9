// The broadcast modes: what each does with a message, in a line for people. Their colours stand in styles/tokens.css.

export const MODES = ["api", "outbox", "cdc", "api_cdc", "message", "wal"] as const;

export type Mode = (typeof MODES)[number];

const WORDS: Readonly<Record<Mode, string>> = {
  api: "The server publishes after the commit; a crash loses the news.",
  outbox: "A row beside the message; the relay carries and deletes it.",
  cdc: "A row; Debezium reads it from the log, Kafka carries it.",
  api_cdc: "By api and by cdc at once; what comes second is dropped.",
  message: "A note in the log, no table; Debezium and Kafka carry it.",
  wal: "A row; the relay itself reads it from the log, no Kafka.",
};

/** What it does, in a line; nothing for a mode that this page does not know yet. */
export function modeWords(mode: string): string {
  return (WORDS as Readonly<Record<string, string>>)[mode] ?? "";
}

/** The mode from a moment on. */
export interface ModeChange {
  readonly mode: Mode;
  readonly changed_at: string;
}

/** Whether a mode can be had, and if not, why. */
export interface Offer {
  readonly mode: Mode;
  readonly ready: boolean;
  readonly reason?: string;
}

/** How it stands, as the API tells it. */
export interface Modes extends ModeChange {
  readonly available: readonly Offer[];
  /** Whether a message may name a mode for itself. */
  readonly choice: boolean;
}
