// How long one's own messages take from the database's clock to this window, by mode: the middle of the last few. Pure.

const KEPT = 7;
/** Beyond this the two clocks disagree, or the window slept: no figure is better than a wrong one. */
const CREDIBLE_MS = 30_000;

export class Latency {
  #last = new Map<string, number[]>();

  add(mode: string, milliseconds: number): void {
    if (milliseconds <= 0 || milliseconds > CREDIBLE_MS) return;
    this.#last.set(mode, [...(this.#last.get(mode) ?? []), milliseconds].slice(-KEPT));
  }

  median(mode: string): number | null {
    const sorted = [...(this.#last.get(mode) ?? [])].sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
  }
}
