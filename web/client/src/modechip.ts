// The chip that says by which mode messages travel, and what opens from it: every mode with its colour, its words and
// its latency; for administrators it is the switch.

import { reasonOf, type Api } from "./api.js";
import { byId, h } from "./dom.js";
import type { Latency } from "./latency.js";
import { MODES, modeWords, type Mode, type ModeChange, type Offer } from "./modes.js";
import { toast } from "./toasts.js";
import { latencyWords, parseMicroseconds } from "./words.js";

const STEPS: Readonly<Record<string, (at: number, count: number) => number>> = {
  ArrowDown: (at, count) => (at + 1) % count,
  ArrowUp: (at, count) => (at - 1 + count) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
};

export class ModeChip {
  readonly #chip = byId<HTMLButtonElement>("mode-chip");
  readonly #panel = byId("mode-panel");
  readonly #list = byId("modes");
  #offers: readonly Offer[] = MODES.map((mode) => ({ mode, ready: false, reason: "whether it can be had is not known yet" }));
  #drawn = "";

  constructor(
    private readonly api: Pick<Api, "modes" | "switchMode">,
    private readonly latency: Latency,
    private readonly isAdmin: boolean,
    private current: ModeChange,
  ) {
    this.#chip.addEventListener("click", () => (this.isOpen ? this.close() : this.#open()));
    this.#panel.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("click", (event) => this.#choose((event.target as Element).closest<HTMLElement>("[role=option]")));
    document.addEventListener("pointerdown", (event) => this.#leave(event.target));
    this.#panel.addEventListener("focusout", (event) => this.#leave(event.relatedTarget));
    this.render();
  }

  get isOpen(): boolean {
    return !this.#panel.hidden;
  }

  /** Asks how it stands: a switch is told once, and whoever was away has not heard it. */
  async ask(): Promise<void> {
    try {
      const { available, ...change } = await this.api.modes();
      this.#offers = available;
      this.take(change);
    } catch {
      // The chip shows what was known last; the next connection and the next opening ask again.
    }
    this.render();
  }

  /** The news of a switch, in whatever order it comes. */
  take({ mode, changed_at }: ModeChange): void {
    if (parseMicroseconds(changed_at) <= parseMicroseconds(this.current.changed_at)) return;
    const before = this.current.mode;
    this.current = { mode, changed_at };
    this.render();
    if (mode !== before) toast(`Messages travel by ${mode} from now on.`, { about: "mode", mode });
  }

  close(): void {
    if (!this.isOpen) return;
    const inside = this.#panel.contains(document.activeElement);
    this.#panel.hidden = true;
    this.#chip.setAttribute("aria-expanded", "false");
    if (inside) this.#chip.focus();
  }

  render(): void {
    const { mode } = this.current;
    const median = this.latency.median(mode);
    this.#chip.dataset["mode"] = mode;
    byId("mode-name").textContent = mode;
    byId("mode-latency").textContent = median === null ? "" : ` · ${latencyWords(median)}`;
    if (this.isOpen) this.#renderList();
  }

  #open(): void {
    this.#panel.hidden = false;
    this.#chip.setAttribute("aria-expanded", "true");
    this.render();
    if (this.isAdmin) this.#focus(this.current.mode);
    else this.#panel.focus();
    void this.ask();
  }

  #renderList(): void {
    const latencies = this.#offers.map(({ mode }) => this.latency.median(mode));
    const drawn = JSON.stringify([this.current.mode, this.#offers, latencies]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused = this.#list.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset["mode"] : undefined;
    this.#list.replaceChildren(...this.#offers.map((offer, index) => this.#item(offer, latencies[index] ?? null)));
    if (focused !== undefined) this.#focus(focused);
  }

  #item({ mode, ready, reason }: Offer, latency: number | null): HTMLElement {
    const isCurrent = mode === this.current.mode;
    const missing = !ready && !isCurrent;
    const option = this.isAdmin && {
      role: "option",
      tabindex: -1,
      "aria-selected": String(isCurrent),
      "aria-disabled": missing ? "true" : undefined,
    };
    return h("li", { class: "mode", "data-mode": mode, "data-current": isCurrent, "data-missing": missing, ...option },
      h("span", { class: "mode-line" },
        h("strong", {}, mode, " "),
        isCurrent && h("span", { class: "mode-now" }, "now"), " ",
        latency !== null && h("span", { class: "mode-latency" }, latencyWords(latency)), " "),
      h("span", { class: "mode-words" }, modeWords(mode),
        missing && missingWords(reason ?? "nobody carries it at present")));
  }

  #focus(mode: string): void {
    for (const item of this.#list.children as HTMLCollectionOf<HTMLElement>) {
      const wanted = item.dataset["mode"] === mode;
      item.tabIndex = wanted ? 0 : -1;
      if (wanted) item.focus();
    }
  }

  #key(event: KeyboardEvent): void {
    const items = [...this.#list.children] as HTMLElement[];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const step = STEPS[event.key];
    if (event.key === "Escape") this.close();
    else if (at >= 0 && step !== undefined) this.#focus(items[step(at, items.length)]?.dataset["mode"] ?? "");
    else if (at >= 0 && (event.key === "Enter" || event.key === " ")) this.#choose(items[at] ?? null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The reader turned to something else. */
  #leave(to: EventTarget | null): void {
    if (this.isOpen && to instanceof Node && !this.#panel.contains(to) && !this.#chip.contains(to)) this.close();
  }

  #choose(item: HTMLElement | null): void {
    const offer = this.#offers.find(({ mode }) => mode === item?.dataset["mode"]);
    if (offer === undefined || item?.ariaDisabled === "true") return;
    this.close();
    if (offer.mode !== this.current.mode) void this.#switch(offer.mode);
  }

  async #switch(mode: Mode): Promise<void> {
    try {
      const { available, ...change } = await this.api.switchMode(mode);
      this.#offers = available;
      this.take(change);
    } catch (error) {
      toast(`The switch to ${mode} did not work. ${reasonOf(error)} Messages travel by ${this.current.mode} as before.`, { tone: "error" });
    }
  }
}

/** What is missing; what it would take shows on the item that has the focus. */
function missingWords(reason: string): HTMLElement {
  const [what, ...rest] = reason.split(/(?=;)/);
  return h("span", { class: "mode-missing" }, ` Cannot be had: ${what}`, h("span", { class: "mode-rest" }, rest.join("")), ".");
}
