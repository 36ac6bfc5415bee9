// How times, counts and states read. Pure; every function takes the present as an argument where it matters.

export type ConnectionState =
  | { readonly kind: "connecting" }
  | { readonly kind: "connected" }
  | { readonly kind: "waiting"; readonly nextTryAt: number; readonly online: boolean }
  | { readonly kind: "closed"; readonly reason: string };

/** The state of the connection as people read it. */
export function connectionWords(state: ConnectionState, now: number): string {
  switch (state.kind) {
    case "connecting":
      return "Connecting…";
    case "connected":
      return "Connected";
    case "closed":
      return `Disconnected: ${state.reason}`;
    case "waiting": {
      if (!state.online) return "Offline, comes back by itself";
      const seconds = Math.ceil((state.nextTryAt - now) / 1000);
      return seconds > 0 ? `Reconnecting, next try in ${seconds} s` : "Reconnecting…";
    }
  }
}

export function caughtUpWords(messages: number): string {
  return messages === 0 ? "Connected again" : `Caught up ${plural(messages, "message")}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** 0.6 ms, 12 ms, 340 ms, 1.2 s: enough digits to compare, few enough to stay calm. */
export function latencyWords(milliseconds: number): string {
  if (milliseconds < 10) return `${Math.max(0.1, milliseconds).toFixed(1)} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Milliseconds since 1970 with the microseconds that Date.parse drops. */
export function parseMicroseconds(time: string): number {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? "";
  return Date.parse(time.replace(/\.\d+/, "")) + Number(`0.${fraction || "0"}`) * 1000;
}

export function clockTime(time: string): string {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

export function fullDate(time: string): string {
  return new Date(time).toLocaleString([], { dateStyle: "full", timeStyle: "medium" });
}

/** The local day, for grouping. */
export function dayOf(time: string): string {
  const date = new Date(time);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
}

/** "Today", "Yesterday", "Friday", "3 March", "3 March 2024". */
export function dayWords(time: string, now: Date): string {
  const date = new Date(time);
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return date.toLocaleDateString("en", { weekday: "long" });
  const sameYear = date.getFullYear() === now.getFullYear();
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "long", ...(sameYear ? {} : { year: "numeric" }) });
}

/** For the list of rooms: the clock today, else the day. */
export function listTime(time: string, now: Date): string {
  const words = dayWords(time, now);
  if (words === "Today") return clockTime(time);
  if (words === "Yesterday") return words;
  const date = new Date(time);
  return words.endsWith("day")
    ? date.toLocaleDateString("en", { weekday: "short" })
    : date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

function midnight(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
