// Two people side by side in one window. Each side is a whole page with its own seat, that is, its own session.

import { Api, reasonOf } from "./api.js";
import { byId } from "./dom.js";
import { withSeat } from "./seat.js";
import { startThemeToggle } from "./theme.js";
import type { Room } from "./types.js";

const password = document.body.dataset["password"] ?? "";
const sides = [...document.querySelectorAll<HTMLElement>("[data-side]")].map((side) => ({
  select: side.querySelector("select") as HTMLSelectElement,
  frame: side.querySelector("iframe") as HTMLIFrameElement,
}));

/** Signs a person in on a seat of their own and tells their rooms. */
async function seated(username: string): Promise<Room[]> {
  const api = new Api(username);
  await api.login(username, password);
  return api.rooms();
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

/** The same person twice would share one seat. */
function distinct(changed: number): void {
  const other = sides[1 - changed];
  const chosen = sides[changed]?.select.value;
  if (other === undefined || other.select.value !== chosen) return;
  const free = [...other.select.options].find((option) => option.value !== chosen);
  if (free !== undefined) other.select.value = free.value;
}

startThemeToggle();
sides.forEach(({ select }, index) => select.addEventListener("change", () => {
  distinct(index);
  void seatBoth();
}));
void seatBoth();
