// Two people side by side in one window. Each side is a whole page with its own seat, that is, its own session.

import { Api, reasonOf } from "./api.js";
import { byId, h } from "./dom.js";
import { chooseMode } from "./modechoice.js";
import type { Offer } from "./modes.js";
import { withSeat } from "./seat.js";
import { startThemeToggle } from "./theme.js";
import type { Room } from "./types.js";

const MODES_AGE_MS = 5000;

const password = document.body.dataset["password"] ?? "";
const sides = [...document.querySelectorAll<HTMLElement>("[data-side]")].map((side) => ({
  select: side.querySelector("[data-person]") as HTMLSelectElement,
  by: side.querySelector("[data-by]") as HTMLSelectElement,
  frame: side.querySelector("iframe") as HTMLIFrameElement,
}));

/** Signs a person in on a seat of their own and tells their rooms. */
async function seated(username: string): Promise<readonly Room[]> {
  const api = new Api(username);
  await api.login(username, password);
  return (await api.rooms("", "")).rooms;
}

async function seatBoth(): Promise<void> {
  const note = byId("demo-note");
  note.textContent = "";
  try {
    const people = sides.map(({ select }) => select.value);
    const rooms = await Promise.all(people.map(seated));
    const shared = rooms[0]?.find((room) => rooms.every((theirs) => theirs.some(({ id }) => id === room.id)));
    sides.forEach(({ frame, select }, index) => {
      frame.src = withSeat(shared === undefined ? "/" : `/rooms/${shared.id}`, people[index] ?? "");
      frame.title = `The chat as ${select.selectedOptions[0]?.textContent ?? select.value} sees it`;
    });
  } catch (error) {
    note.textContent = `${reasonOf(error)} Reload the page to try again.`;
  }
}

/** Which modes a message can name for itself, if it can: a carrier may come or go while one looks. */
async function askModes(): Promise<void> {
  const { choice, available } = await new Api(sides[0]?.select.value ?? null).modes();
  for (const { by } of sides) {
    by.closest("label")?.toggleAttribute("hidden", !choice);
    for (const offer of available) showOffer(by, offer);
  }
}

function showOffer(by: HTMLSelectElement, { mode, ready, reason }: Offer): void {
  const known = [...by.options].find(({ value }) => value === mode);
  const option = known ?? h("option", { value: mode }, mode);
  if (known === undefined) by.append(option);
  option.disabled = !ready;
  option.title = ready ? "" : `Cannot be had: ${reason ?? "nobody carries it at present"}.`;
}

/** The same person twice would share one seat. */
function distinct(changed: number): void {
  const other = sides[1 - changed];
  const chosen = sides[changed]?.select.value;
  if (other === undefined || other.select.value !== chosen) return;
  const free = [...other.select.options].find((option) => option.value !== chosen);
  if (free !== undefined) other.select.value = free.value;
}

startThemeToggle();
sides.forEach(({ select, by, frame }, index) => {
  select.addEventListener("change", () => {
    distinct(index);
    void seatBoth();
  });
  const choose = () => {
    by.parentElement?.setAttribute("data-mode", by.value);
    chooseMode(frame, by.value);
  };
  by.addEventListener("change", choose);
  frame.addEventListener("load", choose);
});
void seatBoth().then(refreshModes);

function refreshModes(): void {
  // What is not known shows when it is.
  void askModes().catch(() => undefined).finally(() => setTimeout(refreshModes, MODES_AGE_MS));
}
