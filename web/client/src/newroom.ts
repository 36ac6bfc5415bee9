// The dialog that creates a room.

import { Refused, reasonOf, type Api } from "./api.js";
import { byId } from "./dom.js";
import type { Room } from "./types.js";

export function startNewRoom(api: Api, created: (room: Room) => void): void {
  const dialog = byId<HTMLDialogElement>("new-room");
  const form = byId<HTMLFormElement>("new-room-form");
  const name = byId<HTMLInputElement>("new-room-name");
  const error = byId("new-room-error");
  const button = byId<HTMLButtonElement>("new-room-create");

  for (const opener of document.querySelectorAll("[data-new-room]")) {
    opener.addEventListener("click", () => {
      error.textContent = "";
      dialog.showModal();
      name.select();
    });
  }
  byId("new-room-cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void create();
  });

  async function create(): Promise<void> {
    button.disabled = true;
    error.textContent = "";
    try {
      const room = await api.createRoom(name.value.trim());
      name.value = "";
      dialog.close();
      created(room);
    } catch (failure) {
      error.textContent = failure instanceof Refused ? failure.fields["name"] ?? reasonOf(failure) : `${reasonOf(failure)} The name is kept; try again.`;
      name.focus();
    } finally {
      button.disabled = false;
    }
  }
}
