// The mode that the side-by-side view chooses for one side's next messages: told by the frame around the chat.

import { MODES, type Mode } from "./modes.js";

interface Choice {
  readonly nextMessagesBy: Mode | null;
}

/** For the chat: what the view around it chose last; null: everybody's mode. */
export function chosenMode(): () => Mode | null {
  let chosen: Mode | null = null;
  addEventListener("message", ({ source, origin, data }: MessageEvent<Partial<Choice> | null>) => {
    if (source !== parent || parent === window || origin !== location.origin) return;
    chosen = MODES.find((mode) => mode === data?.nextMessagesBy) ?? null;
  });
  return () => chosen;
}

/** For the view: tells the chat in a frame. */
export function chooseMode(frame: HTMLIFrameElement, chosen: string): void {
  const choice: Choice = { nextMessagesBy: MODES.find((mode) => mode === chosen) ?? null };
  frame.contentWindow?.postMessage(choice, location.origin);
}
