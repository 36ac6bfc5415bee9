// The room that is open: joins what is loaded (thread), what waits (unsent) and what is on screen (view).

import { reasonOf, type Api } from "./api.js";
import type { Directory } from "./directory.js";
import { skeletonAfterAWhile } from "./dom.js";
import { rows } from "./rows.js";
import { Thread } from "./thread.js";
import type { TimelineView } from "./timeline.js";
import { toast } from "./toasts.js";
import type { Message, Page } from "./types.js";
import type { UnsentQueue } from "./unsent.js";
import { dayOf } from "./words.js";

const PAGE = 80;
/** Lines kept in the page: a few hundred, not thousands. */
const MOST = 400;
const KEPT = 300;
/** More missed than this and the newest page is loaded instead; the rest loads on scrolling up. */
const FAR_BEHIND = 300;
const READ_AFTER_MS = 250;

export class Conversation {
  #room: number | null = null;
  #thread: Thread | null = null;
  #opened = 0;
  #unreadFrom: number | null = null;
  /** Texts of the room when its end was last in view: the pill counts from here. */
  #seenTexts = 0;
  #loadingOlder = false;
  #loadingEnd = false;
  #frame = false;
  #readTimers = new Map<number, ReturnType<typeof setTimeout>>();
  #confirmedRead = new Map<number, number>();

  constructor(
    private readonly me: number,
    private readonly api: Api,
    private readonly directory: Directory,
    private readonly unsent: UnsentQueue,
    private readonly view: TimelineView,
    private readonly counted: () => void,
  ) {
    document.addEventListener("visibilitychange", () => this.markRead());
  }

  get room(): number | null {
    return this.#room;
  }

  close(): void {
    this.#opened += 1;
    this.#room = null;
    this.#thread = null;
  }

  /** Opens a room of mine; `page` when the server sent it along. */
  async open(room: number, page: Page | null): Promise<void> {
    const opened = ++this.#opened;
    const entry = this.directory.get(room);
    this.#room = room;
    this.#thread = null;
    this.view.open(this.me, entry?.name ?? "");
    const ready = skeletonAfterAWhile(this.view.skeletonPlace, 8);
    try {
      const first = page ?? (await this.api.newest(room, PAGE));
      if (opened !== this.#opened) return;
      this.#start(room, first);
    } catch (error) {
      if (opened !== this.#opened) return;
      toast(`The messages could not be loaded. ${reasonOf(error)}`, {
        tone: "error",
        action: { words: "Try again", run: () => void this.open(room, null) },
      });
    } finally {
      ready();
    }
  }

  #start(room: number, page: Page): void {
    const entry = this.directory.get(room);
    this.#thread = new Thread(page);
    // What came while the page was on its way is not in it.
    this.#thread.knowNewest(entry?.version ?? 0);
    const isUnread = entry !== undefined && entry.texts > entry.readTexts;
    this.#unreadFrom = isUnread ? entry.readVersion + 1 : null;
    this.#seenTexts = entry?.texts ?? 0;
    for (const message of page.messages) this.#arrived(message);
    this.view.quietly(() => this.#render());
    this.view.toUnread();
    this.view.checkEdges();
    this.#afterScroll();
    if (!this.#thread.complete) void this.#loadEnd();
  }

  /** A line from the socket, of the open room. */
  accept(message: Message): void {
    const thread = this.#thread;
    if (thread === null) return;
    const reading = this.view.atBottom && document.visibilityState === "visible";
    const entry = this.directory.get(message.room);
    if (!reading && message.author.id !== this.me && message.kind === "text" && entry !== undefined && entry.readVersion + 1 === message.version) {
      this.#unreadFrom = message.version;
    }
    if (thread.accept(message, this.view.atBottom) === "early") void this.#loadEnd();
    this.#trim();
    this.schedule();
  }

  /** The truth has more than is loaded (after an absence), or is another sequence altogether. */
  behind(sameEpoch: boolean): void {
    const room = this.#room;
    if (room === null) return;
    if (!sameEpoch) {
      void this.open(room, null);
      return;
    }
    this.#thread?.knowNewest(this.directory.get(room)?.version ?? 0);
    if (this.#thread?.complete === false) void this.#loadEnd();
    this.schedule();
  }

  /** Shows one's own new line wherever one was reading. */
  wrote(): void {
    this.#unreadFrom = null;
    void this.toNewest();
  }

  async toNewest(): Promise<void> {
    const thread = this.#thread;
    const room = this.#room;
    if (thread === null || room === null) return;
    if (thread.newest - thread.top > PAGE) await this.#reload(room, thread);
    this.#render();
    this.view.toBottom();
    this.#afterScroll();
    if (!thread.complete) await this.#loadEnd();
  }

  nearTop(): void {
    if (this.#thread?.hasOlder === true && !this.#loadingOlder) void this.#loadOlder(this.#thread);
  }

  nearEnd(): void {
    if (this.#thread?.complete === false) void this.#loadEnd();
  }

  scrolled(): void {
    this.#afterScroll();
  }

  /** Draws in the next frame, once for all that arrived until then. */
  schedule(): void {
    if (this.#frame) return;
    this.#frame = true;
    const draw = () => {
      this.#frame = false;
      this.#render();
    };
    // A hidden page has no frames.
    if (document.visibilityState === "hidden") setTimeout(draw, 50);
    else requestAnimationFrame(draw);
  }

  markRead(): void {
    const room = this.#room;
    const thread = this.#thread;
    if (room === null || thread === null || !thread.complete || !this.view.atBottom || document.visibilityState !== "visible") return;
    const entry = this.directory.get(room);
    if (entry === undefined || thread.top === 0) return;
    if (this.directory.read({ room, read_version: thread.top, unread: 0 }, entry.texts)) this.counted();
    clearTimeout(this.#readTimers.get(room));
    this.#readTimers.set(room, setTimeout(() => void this.#tellRead(room), READ_AFTER_MS));
  }

  async #tellRead(room: number): Promise<void> {
    const version = this.directory.get(room)?.readVersion ?? 0;
    if (version <= (this.#confirmedRead.get(room) ?? 0)) return;
    try {
      const { read_version: confirmed } = await this.api.read(room, version);
      this.#confirmedRead.set(room, confirmed);
    } catch {
      // The position only ever grows: the next message or the next visit tells it again.
    }
  }

  async #loadOlder(thread: Thread): Promise<void> {
    const room = this.#room;
    if (room === null) return;
    this.#loadingOlder = true;
    try {
      const page = await this.api.before(room, thread.first, PAGE);
      if (thread !== this.#thread) return;
      thread.prepend(page);
      if (thread.messages.length > MOST) thread.trimNewest(KEPT);
      this.view.quietly(() => this.#render());
    } catch (error) {
      if (thread === this.#thread) toast(`Older messages could not be loaded. ${reasonOf(error)} Scroll up to try again.`, { tone: "error" });
    } finally {
      this.#loadingOlder = false;
    }
    if (thread === this.#thread) this.view.checkEdges();
  }

  /** Loads what is missing after the loaded part: all of it for who reads the end, else a page at a time. */
  async #loadEnd(): Promise<void> {
    const thread = this.#thread;
    const room = this.#room;
    if (thread === null || room === null || this.#loadingEnd) return;
    this.#loadingEnd = true;
    try {
      if (this.view.atBottom && thread.newest - thread.top > FAR_BEHIND) await this.#reload(room, thread);
      while (thread === this.#thread && !thread.complete) {
        const before = thread.top;
        const page = await this.api.after(room, before, PAGE);
        if (thread !== this.#thread) return;
        thread.append(page);
        for (const message of page.messages) this.#arrived(message);
        this.#trim();
        this.#render();
        if (thread.top === before || !this.view.atBottom) break;
      }
    } catch {
      // The hole is still there: the next line, the next reconnect or this timer fills it.
      setTimeout(() => { if (thread === this.#thread && !thread.complete) void this.#loadEnd(); }, 2000);
    } finally {
      this.#loadingEnd = false;
    }
  }

  async #reload(room: number, thread: Thread): Promise<void> {
    const page = await this.api.newest(room, PAGE);
    if (thread !== this.#thread) return;
    thread.reset(page);
    for (const message of page.messages) this.#arrived(message);
  }

  /** One's own line is in the timeline: it no longer waits. */
  #arrived(message: Message): void {
    if (message.author.id === this.me && message.client_id !== undefined) this.unsent.remove(message.client_id);
  }

  #trim(): void {
    const thread = this.#thread;
    if (thread === null || thread.messages.length <= MOST) return;
    if (this.view.atBottom || !this.view.inUpperHalf) thread.trimOldest(KEPT);
    else thread.trimNewest(KEPT);
  }

  #render(): void {
    const thread = this.#thread;
    const room = this.#room;
    if (thread === null || room === null) return;
    this.view.render(rows({
      messages: thread.messages,
      unsent: thread.complete ? this.unsent.of(room) : [],
      fromStart: !thread.hasOlder,
      unreadFrom: this.#unreadFrom,
      me: this.me,
      dayOf,
    }), true);
    this.#afterScroll();
  }

  #afterScroll(): void {
    const thread = this.#thread;
    const entry = this.#room === null ? undefined : this.directory.get(this.#room);
    if (thread === null || entry === undefined) return;
    if (thread.complete && this.view.atBottom) this.#seenTexts = entry.texts;
    this.view.pill(Math.max(0, entry.texts - this.#seenTexts), thread.complete);
    this.markRead();
  }
}
