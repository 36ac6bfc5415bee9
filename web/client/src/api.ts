// The HTTP API: one function a call, one kind of error for each thing a caller can do about it.

import type { Mode, Modes } from "./modes.js";
import type { Message, Page, Room, Rooms, Unread, User } from "./types.js";

/** The server answered, and said no. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly fields: Readonly<Record<string, string>>,
    /** When the server asks to come back; 0: whenever. */
    readonly waitMs = 0,
  ) {
    super(detail);
  }

  /** Trying the same again may help: later, or after signing in again. */
  get passing(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408 || this.status === 401;
  }
}

/** Nothing is known to have arrived. */
export class Unreachable extends Error {}

const TIMEOUT_MS = 15_000;

export class Api {
  /** `seat`: which of several people in this browser, for the side-by-side view. */
  constructor(readonly seat: string | null, private readonly signedOut: () => void = () => undefined) {}

  login(username: string, password: string): Promise<{ user: User }> {
    return this.#call("POST", "/api/login", { username, password });
  }

  register(username: string, name: string, password: string): Promise<{ user: User }> {
    return this.#call("POST", "/api/register", { username, name, password });
  }

  logout(): Promise<void> {
    return this.#call("POST", "/api/logout");
  }

  async token(): Promise<string> {
    return (await this.#call<{ token: string }>("GET", "/api/token")).token;
  }

  /** A page of my rooms, latest activity first; `q`: part of the name. */
  rooms(q: string, cursor: string): Promise<Rooms> {
    return this.#call("GET", `/api/rooms${query({ q, limit: "100", cursor })}`);
  }

  /** Unread texts of all my rooms. */
  async unread(): Promise<Unread> {
    return (await this.#call<{ rooms: Unread }>("GET", "/api/rooms/unread")).rooms;
  }

  discover(q: string, cursor: string): Promise<Rooms> {
    return this.#call("GET", `/api/rooms/discover${query({ q, cursor })}`);
  }

  room(room: number): Promise<Room> {
    return this.#call("GET", `/api/rooms/${room}`);
  }

  createRoom(name: string): Promise<Room> {
    return this.#call("POST", "/api/rooms", { name });
  }

  join(room: number): Promise<Room> {
    return this.#call("POST", `/api/rooms/${room}/join`);
  }

  leave(room: number): Promise<void> {
    return this.#call("POST", `/api/rooms/${room}/leave`);
  }

  members(room: number, after: string): Promise<{ members: User[]; next_cursor?: string | number | null }> {
    return this.#call("GET", `/api/rooms/${room}/members${query({ after, limit: "100" })}`);
  }

  newest(room: number, limit: number): Promise<Page> {
    return this.#call("GET", `/api/rooms/${room}/messages?limit=${limit}`);
  }

  before(room: number, version: number, limit: number): Promise<Page> {
    return this.#call("GET", `/api/rooms/${room}/messages?before=${version}&limit=${limit}`);
  }

  after(room: number, version: number, limit: number): Promise<Page> {
    return this.#call("GET", `/api/rooms/${room}/messages?after=${version}&limit=${limit}`);
  }

  /** `mode`: by which way its news shall travel, where the deployment lets a message say so. */
  post(room: number, text: string, clientId: string, mode: Mode | null): Promise<Message> {
    return this.#call("POST", `/api/rooms/${room}/messages`, { text, client_id: clientId, ...(mode !== null && { mode }) });
  }

  read(room: number, version: number): Promise<{ read_version: number; unread: number }> {
    return this.#call("PUT", `/api/rooms/${room}/read`, { version });
  }

  modes(): Promise<Modes> {
    return this.#call("GET", "/api/settings/broadcast-mode");
  }

  /** For administrators. When it answers, no message of the old mode is still to be written. */
  switchMode(mode: Mode): Promise<Modes> {
    return this.#call("PUT", "/api/settings/broadcast-mode", { mode });
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (this.seat !== null) headers["Roomcast-Seat"] = this.seat;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response: Response;
    let text: string;
    try {
      response = await fetch(path, {
        method,
        headers,
        credentials: "same-origin",
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch {
      throw new Unreachable("the server cannot be reached");
    }
    if (response.ok) return (text === "" ? undefined : JSON.parse(text)) as T;
    if (response.status === 401 && path !== "/api/login") this.signedOut();
    throw refusal(response, text);
  }
}

function refusal({ status, headers }: Response, text: string): Refused {
  let problem: { code?: string; title?: string; detail?: string; errors?: unknown } = {};
  try {
    problem = JSON.parse(text) as typeof problem;
  } catch {
    // A proxy's page: the status says enough.
  }
  const words = problem.detail ?? problem.title ?? `the server answered with status ${status}`;
  const wait = Number(headers.get("Retry-After") ?? "0") * 1000;
  return new Refused(status, problem.code ?? String(status), words, fields(problem.errors), Number.isFinite(wait) ? wait : 0);
}

function fields(errors: unknown): Record<string, string> {
  if (Array.isArray(errors)) {
    return Object.fromEntries(errors.map((error: { field?: string; detail?: string; message?: string }) =>
      [error.field ?? "", error.detail ?? error.message ?? ""]));
  }
  return typeof errors === "object" && errors !== null
    ? Object.fromEntries(Object.entries(errors).map(([field, words]) => [field, String(words)]))
    : {};
}

function query(values: Record<string, string>): string {
  const parts = Object.entries(values).filter(([, value]) => value !== "");
  return parts.length === 0 ? "" : `?${new URLSearchParams(parts)}`;
}

/** What happened, in words for a person. */
export function reasonOf(error: unknown): string {
  if (error instanceof Unreachable) return "The server cannot be reached.";
  const words = error instanceof Error ? error.message : String(error);
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}
