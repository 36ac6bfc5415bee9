// Lines of a timeline for the tests.

import type { Kind, Message, Page } from "../src/types.js";

export function line(version: number, more: Partial<Message> & { kind?: Kind } = {}): Message {
  return {
    room: 1,
    version,
    kind: "text",
    author: { id: 2, name: "Bob" },
    text: `line ${version}`,
    members: 2,
    texts: version,
    mode: "outbox",
    created_at: new Date(Date.UTC(2026, 10, 22, 12, 0, version)).toISOString(),
    ...more,
  };
}

export function page(from: number, to: number, hasMore = from > 1): Page {
  return { messages: Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => line(from + index)), has_more: hasMore };
}

/** A Storage in memory. */
export class Memory {
  #values = new Map<string, string>();
  get length(): number {
    return this.#values.size;
  }
  key(index: number): string | null {
    return [...this.#values.keys()][index] ?? null;
  }
  getItem(key: string): string | null {
    return this.#values.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.#values.set(key, value);
  }
  removeItem(key: string): void {
    this.#values.delete(key);
  }
}
