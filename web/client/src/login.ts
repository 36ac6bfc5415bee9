// Signing in and registering without leaving the page on an error.

import { Api, Refused, reasonOf } from "./api.js";
import { byId } from "./dom.js";
import { withSeat } from "./seat.js";
import { startThemeToggle } from "./theme.js";

const query = new URLSearchParams(location.search);
const seat = query.get("seat");
const api = new Api(seat);

/** Only a path of this site: an address elsewhere would make the sign-in page a lure. */
function next(): string {
  const wanted = new URL(query.get("next") ?? "/", location.origin);
  return withSeat(wanted.origin === location.origin && !wanted.pathname.startsWith("/login") ? wanted.pathname : "/", seat);
}

async function enter(form: HTMLElement, work: () => Promise<unknown>): Promise<void> {
  const error = form.querySelector<HTMLElement>("[data-error]");
  const buttons = document.querySelectorAll<HTMLButtonElement>("button");
  if (error !== null) error.textContent = "";
  for (const button of buttons) button.disabled = true;
  try {
    await work();
    location.assign(next());
  } catch (failure) {
    for (const button of buttons) button.disabled = false;
    const fields = failure instanceof Refused ? Object.values(failure.fields).filter((words) => words !== "") : [];
    if (error !== null) error.textContent = fields.length > 0 ? fields.join(" ") : reasonOf(failure);
  }
}

function value(form: HTMLFormElement, name: string): string {
  return String(new FormData(form).get(name) ?? "");
}

startThemeToggle();

const login = byId<HTMLFormElement>("login");
login.addEventListener("submit", (event) => {
  event.preventDefault();
  void enter(login, () => api.login(value(login, "username").trim().toLowerCase(), value(login, "password")));
});

const register = byId<HTMLFormElement>("register");
register.addEventListener("submit", (event) => {
  event.preventDefault();
  const username = value(register, "username").trim().toLowerCase();
  void enter(register, () => api.register(username, value(register, "name").trim() || username, value(register, "password")));
});

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-become]")) {
  const { become = "", password = "" } = button.dataset;
  const place = button.closest<HTMLElement>("section") ?? button;
  button.addEventListener("click", () => void enter(place, () => api.login(become, password)));
}
