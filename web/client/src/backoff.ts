// When to try again: exponential with full jitter, so that a thousand browsers do not return in the same moment. Pure.

const FIRST_MS = 400;
const MOST_MS = 10_000;

/** Milliseconds until try number `attempt` (0 is the first). `random` is in [0, 1). */
export function delayBefore(attempt: number, random: number): number {
  const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}
