// The chat page: reads what the server rendered, opens the socket and keeps both in step. The only module that knows
// the connection and the views.

import { Api, Refused, reasonOf } from "./api.js";
import { Connection, type Standing } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Composer } from "./composer.js";
import { Directory, entryOf, type Count, type Entry } from "./directory.js";
import { DiscoverView } from "./discover.js";
import { byId } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Latency } from "./latency.js";
import { MembersPanel } from "./members.js";
import { ModeChip } from "./modechip.js";
import { chosenMode } from "./modechoice.js";
import { startNewRoom } from "./newroom.js";
import { RoomsView } from "./rooms.js";
import { loginPath, withSeat } from "./seat.js";
import { Sender } from "./sender.js";
import { Status } from "./status.js";
import { Switcher } from "./switcher.js";
import { startThemeToggle } from "./theme.js";
import { TimelineView } from "./timeline.js";
import { toast } from "./toasts.js";
import type { Message, PageState, Read, Room } from "./types.js";
import { UnsentQueue } from "./unsent.js";
import { caughtUpWords, parseMicroseconds, plural, type ConnectionState } from "./words.js";

type Place = "welcome" | "room" | "stranger" | "discover";

/** As many rooms are asked for one by one. */
const FEW = 10;

const state = JSON.parse(byId("state").textContent ?? "") as PageState;

class Chat {
  readonly #me = state.me.id;
  readonly #api = new Api(state.seat, () => this.#signedOut());
  readonly #directory = new Directory(state.room?.is_member === true ? [...state.rooms, state.room] : state.rooms, state.unread);
  readonly #unsent = new UnsentQueue(localStorage, this.#me);
  readonly #drafts = new Drafts(localStorage, this.#me);
  readonly #latency = new Latency();
  readonly #modeChip = new ModeChip(this.#api, this.#latency, state.me.is_admin, state.mode);
  readonly #status = new Status();
  readonly #roomsView = new RoomsView(this.#me, state.seat, () => this.#moreRooms());
  readonly #sender = new Sender(this.#api, this.#unsent, (room) => this.#unsentChanged(room), chosenMode());
  readonly #members = new MembersPanel(this.#api, this.#me);
  readonly #view = new TimelineView({
    nearTop: () => this.#conversation.nearTop(),
    nearEnd: () => this.#conversation.nearEnd(),
    scrolled: () => this.#conversation.scrolled(),
    toNewest: () => void this.#conversation.toNewest(),
    retry: (clientId) => this.#sender.retry(clientId),
    discard: (clientId) => this.#discard(clientId),
  });
  readonly #conversation = new Conversation(this.#me, this.#api, this.#directory, this.#unsent, this.#view, () => this.#renderRooms());
  readonly #composer = new Composer({
    send: (text) => this.#send(text),
    changed: (text) => { if (this.#conversation.room !== null) this.#drafts.write(this.#conversation.room, text); },
  });
  readonly #discover = new DiscoverView(this.#api, state.seat, {
    join: (room) => this.#join(room),
    leave: (room) => this.#leave(room),
    isMember: (room) => this.#directory.get(room) !== undefined || this.#subscriptions.has(room),
  });
  readonly #connection = new Connection(socketUrl(state.hub_url), () => this.#api.token(), {
    state: (state) => this.#connectionState(state),
    message: (message, live) => this.#message(message, live),
    read: (read) => this.#read(read),
    mode: (change) => this.#modeChip.take(change),
    subscribed: (room, standing) => this.#subscribed(room, standing),
    unsubscribed: (room) => this.#unsubscribed(room),
    settled: () => void this.#settled(),
    signedOut: () => this.#signedOut(),
  });

  /** Rooms that the connect reply named, and whether any of them is ahead of what is known here. */
  #subscriptions = new Set<number>();
  #behind = false;
  #settling = false;
  #settledOnce = false;
  #otherEpochs = new Set<number>();
  #countBefore: Count | null = null;
  /** One's own lines among those that came since: nobody misses what they wrote. */
  #ownSince = 0;
  /** The newest line of rooms whose entry is still on its way. */
  #ahead = new Map<number, Message>();
  #stranger: Room | null = null;
  /** Where the list of rooms goes on; empty when all are here. */
  #nextRooms = state.next_rooms ?? "";
  /** The page of rooms that is on its way. */
  #loadingRooms: Promise<void> | null = null;
  /** Rooms that were heard of and are not here yet. */
  #wanted = new Set<number>();
  #wanting: ReturnType<typeof setTimeout> | undefined;

  start(): void {
    startThemeToggle();
    new Switcher({
      known: () => this.#directory.sorted,
      complete: () => this.#nextRooms === "",
      search: (wanted) => this.#searchRooms(wanted),
    }, (room) => this.#go(`/rooms/${room}`));
    startNewRoom(this.#api, (room) => {
      this.#directory.put(room);
      this.#go(`/rooms/${room.id}`);
    });
    byId("leave").addEventListener("click", () => void this.#leaveOpen());
    byId("stranger-join").addEventListener("click", () => void this.#joinStranger());
    byId("logout").addEventListener("click", () => void this.#logout());
    document.addEventListener("click", (event) => this.#follow(event));
    addEventListener("popstate", () => this.#route(false));
    addEventListener("keydown", (event) => this.#key(event));
    this.#route(true);
    this.#connection.start();
    this.#sender.resume();
    // "Today" and the times in the list age.
    setInterval(() => this.#renderRooms(), 60_000);
  }

  // Where the page is ----------------------------------------------------------------------------------------------

  #follow(event: MouseEvent): void {
    const link = (event.target as Element).closest<HTMLAnchorElement>("a[data-nav]");
    if (link === null || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.#go(new URL(link.href).pathname);
  }

  #go(path: string): void {
    // The room is open already: one's place in it stays, and one step back leaves it.
    if (path === location.pathname && this.#conversation.room !== null) return;
    history.pushState(null, "", withSeat(path, state.seat));
    this.#route(false);
  }

  #route(first: boolean): void {
    const id = this.#pathRoom();
    if (id !== undefined) this.#openRoom(id, first);
    else this.#show(location.pathname === "/discover" ? "discover" : "welcome");
    if (id === undefined) this.#conversation.close();
    if (location.pathname === "/discover") {
      void this.#discover.load();
      if (!first) this.#discover.focus();
    }
    this.#renderRooms();
  }

  #pathRoom(): number | undefined {
    const id = /^\/rooms\/(\d+)$/.exec(location.pathname)?.[1];
    return id === undefined ? undefined : Number(id);
  }

  #openRoom(room: number, first: boolean): void {
    const entry = this.#directory.get(room);
    if (entry === undefined) {
      this.#conversation.close();
      void this.#openUnknown(room);
      return;
    }
    this.#show("room");
    byId("room-name").textContent = entry.name;
    this.#composer.open(entry.name, this.#drafts.read(room));
    this.#members.show(room);
    const page = first && state.room?.id === room ? state.page : null;
    void this.#conversation.open(room, page);
  }

  #show(place: Place): void {
    document.body.dataset["place"] = place;
    for (const name of ["welcome", "room", "stranger", "discover"]) byId(`place-${name}`).hidden = name !== place;
    this.#modeChip.close();
    if (place !== "room") this.#members.close();
  }

  /** One of mine that the list has not loaded, or a room to join. */
  async #openUnknown(id: number): Promise<void> {
    const known = state.room?.id === id && !state.room.is_member ? state.room : null;
    try {
      const room = known ?? (await this.#api.room(id));
      if (this.#pathRoom() !== id) return;
      if (room.is_member) {
        this.#put(room);
        if (this.#conversation.room !== id) this.#openRoom(id, false);
      } else {
        this.#showStranger(room);
      }
    } catch (error) {
      toast(`This room could not be opened. ${reasonOf(error)}`, { tone: "error" });
      this.#go("/");
    }
  }

  #showStranger(room: Room): void {
    this.#stranger = room;
    byId("stranger-name").textContent = room.name;
    byId("stranger-members").textContent = plural(room.member_count, "member");
    this.#show("stranger");
  }

  #key(event: KeyboardEvent): void {
    if (event.key !== "Escape" || document.querySelector("dialog[open]") !== null) return;
    if (this.#members.isOpen) this.#members.close();
    else if (document.body.dataset["place"] === "room") void this.#conversation.toNewest();
  }

  // What is shown --------------------------------------------------------------------------------------------------

  #renderRooms(): void {
    const open = this.#conversation.room;
    this.#roomsView.render(this.#directory.sorted, this.#nextRooms === "", open, (room) => this.#drafts.read(room), new Set(this.#unsent.rooms));
    const entry = open === null ? undefined : this.#directory.get(open);
    if (entry !== undefined) byId("room-members").textContent = plural(entry.members, "member");
    const place = entry?.name ?? (document.body.dataset["place"] === "discover" ? "Discover" : "Rooms");
    const count = this.#directory.unreadTotal;
    document.title = `${count > 0 ? `(${count > 99 ? "99+" : count}) ` : ""}${place} · Roomcast`;
  }

  #unsentChanged(room: number): void {
    if (room === this.#conversation.room) this.#conversation.schedule();
    this.#renderRooms();
  }

  // What the reader does -------------------------------------------------------------------------------------------

  #send(text: string): void {
    const room = this.#conversation.room;
    if (room === null) return;
    this.#sender.write(room, text);
    this.#conversation.wrote();
  }

  #discard(clientId: string): void {
    const unsent = this.#unsent.remove(clientId);
    if (unsent === undefined) return;
    this.#unsentChanged(unsent.room);
    toast("The message was deleted before it was sent.", {
      action: { words: "Undo", run: () => this.#sender.write(unsent.room, unsent.text) },
    });
  }

  async #join(room: number): Promise<void> {
    this.#put(await this.#api.join(room));
  }

  async #leave(room: number): Promise<void> {
    const name = this.#directory.get(room)?.name ?? "the room";
    await this.#api.leave(room);
    this.#unsubscribed(room);
    toast(`You left ${name}.`, {
      action: { words: "Join again", run: () => void this.#join(room).then(() => this.#go(`/rooms/${room}`), told("Joining")) },
    });
  }

  async #leaveOpen(): Promise<void> {
    if (this.#conversation.room !== null) await this.#leave(this.#conversation.room).catch(told("Leaving"));
  }

  async #joinStranger(): Promise<void> {
    const room = this.#stranger;
    if (room !== null) await this.#join(room.id).then(() => this.#route(false), told("Joining"));
  }

  async #logout(): Promise<void> {
    try {
      await this.#api.logout();
      this.#connection.stop();
      location.assign(loginPath(state.seat, "out"));
    } catch (error) {
      toast(`You are still signed in. ${reasonOf(error)} Try again.`, { tone: "error" });
    }
  }

  #signedOut(): void {
    this.#connection.stop();
    location.assign(loginPath(state.seat, "expired"));
  }

  // What the socket tells ------------------------------------------------------------------------------------------

  #connectionState(state: ConnectionState): void {
    if (state.kind === "connected") {
      this.#subscriptions.clear();
      this.#behind = false;
      this.#settling = true;
    } else if (this.#settledOnce) {
      this.#countBefore ??= this.#directory.count;
    }
    this.#status.show(state);
  }

  #subscribed(room: number, standing: Standing | null): void {
    this.#subscriptions.add(room);
    const entry = this.#directory.get(room);
    if (entry === undefined) {
      // Joined while away, or one that the list has not loaded: the list is asked for once, in the end. Joined in
      // another tab: at once.
      if (this.#settling) this.#behind = true;
      else void this.#fetchRoom(room);
      return;
    }
    if (standing === null) {
      this.#behind = true;
    } else if (standing.epoch !== entry.epoch) {
      this.#otherEpochs.add(room);
      this.#behind = true;
    } else if (!standing.recovered && standing.version > entry.version) {
      this.#behind = true;
    }
  }

  #unsubscribed(room: number): void {
    this.#subscriptions.delete(room);
    this.#directory.remove(room);
    if (this.#conversation.room === room) this.#go("/");
    if (document.body.dataset["place"] === "discover") this.#discover.render();
    this.#renderRooms();
  }

  /** Connected: whatever is not yet known here is asked for. */
  async #settled(): Promise<void> {
    this.#settling = false;
    const missing = this.#directory.sorted.some((entry) => !this.#subscriptions.has(entry.id));
    if (this.#behind || missing) await this.#refreshRooms();
    // What was read in another browser during the absence is told by no channel.
    else if (this.#directory.unreadTotal > 0) void this.#refreshRooms().then(() => this.#renderRooms());
    const open = this.#conversation.room;
    if (open !== null) this.#conversation.behind(!this.#otherEpochs.delete(open));
    this.#otherEpochs.clear();
    this.#sender.resume();
    void this.#modeChip.ask();
    this.#conversation.markRead();
    if (this.#countBefore !== null) this.#status.note(caughtUpWords(Math.max(0, this.#directory.since(this.#countBefore) - this.#ownSince)));
    this.#countBefore = null;
    this.#ownSince = 0;
    this.#settledOnce = true;
    this.#renderRooms();
  }

  /** The list anew, from its beginning and as far as it was loaded. */
  async #refreshRooms(): Promise<void> {
    try {
      const open = this.#conversation.room;
      const size = this.#directory.sorted.length;
      const rooms: Room[] = [];
      let next = "";
      do {
        const page = await this.#api.rooms("", next);
        rooms.push(...page.rooms);
        next = page.next_cursor ?? "";
      } while (next !== "" && rooms.length < size);
      const unread = await this.#api.unread();
      this.#nextRooms = next;
      // The pages miss a room that moved up between them, and the open one where it is further down.
      const last = rooms.at(-1);
      const reached = last === undefined || next === "" ? Infinity : entryOf(last).bumped;
      this.#directory.reset(rooms, unread, ({ id, bumped }) => this.#subscriptions.has(id) && next !== "" && (id === open || bumped >= reached));
      this.#takeAhead();
      if (open === null) return;
      if (this.#directory.get(open) === undefined) this.#go("/");
      else if (!rooms.some(({ id }) => id === open)) void this.#fetchRoom(open);
    } catch {
      // The socket is up and the API is not: its next line or the next reconnect brings the list up to date.
      setTimeout(() => void this.#refreshRooms().then(() => this.#conversation.behind(true)), 3000);
    }
  }

  /** Lines of rooms that are here now. Of the others the list will tell when the reader gets there. */
  #takeAhead(): void {
    for (const message of this.#ahead.values()) this.#directory.accept(message, message.author.id === this.#me);
    this.#ahead.clear();
  }

  /** The reader comes near the end of the list. */
  #moreRooms(): Promise<void> {
    this.#loadingRooms ??= this.#loadRooms().finally(() => { this.#loadingRooms = null; });
    return this.#loadingRooms;
  }

  async #loadRooms(): Promise<void> {
    const from = this.#nextRooms;
    if (from === "") return;
    try {
      const page = await this.#api.rooms("", from);
      // The list was made anew meanwhile, and goes on elsewhere.
      if (from !== this.#nextRooms) return;
      for (const room of page.rooms) this.#directory.put(room);
      this.#nextRooms = page.next_cursor ?? "";
      this.#renderRooms();
    } catch (error) {
      toast(`More rooms could not be loaded. ${reasonOf(error)} Scroll or press “Show more rooms” to try again.`, { tone: "error" });
    }
  }

  async #searchRooms(wanted: string): Promise<Entry[]> {
    return (await this.#api.rooms(wanted, "")).rooms.map(entryOf);
  }

  /** A room of mine that the list has not loaded was heard of: it comes to its place. */
  #want(room: number): void {
    this.#wanted.add(room);
    this.#wanting ??= setTimeout(() => {
      const wanted = [...this.#wanted];
      this.#wanted.clear();
      this.#wanting = undefined;
      // They are the newest: where there are many, the beginning of the list has them.
      if (wanted.length > FEW) void this.#refreshRooms().then(() => this.#renderRooms());
      else for (const room of wanted) void this.#fetchRoom(room);
    }, 50);
  }

  #message(message: Message, live: boolean): void {
    const own = message.author.id === this.#me;
    if (own && live) this.#latency.add(message.mode, clockNow() - parseMicroseconds(message.created_at));
    if (own && message.client_id !== undefined) this.#unsent.remove(message.client_id);
    if (this.#directory.get(message.room) === undefined) {
      this.#ahead.set(message.room, message);
      if (!this.#settling) this.#want(message.room);
      return;
    }
    const isNew = this.#directory.accept(message, own);
    if (isNew && own && message.kind === "text" && this.#countBefore !== null) this.#ownSince += 1;
    if (message.room === this.#conversation.room) {
      this.#conversation.accept(message);
      if (message.kind !== "text") this.#members.changed();
    }
    if (own && live) this.#modeChip.render();
    this.#renderRooms();
  }

  #read(read: Read): void {
    if (this.#directory.read(read)) this.#renderRooms();
  }

  async #fetchRoom(room: number): Promise<void> {
    try {
      const known = await this.#api.room(room);
      if (known.is_member) this.#put(known);
    } catch (error) {
      if (!(error instanceof Refused) || error.passing) setTimeout(() => this.#want(room), 3000);
    }
  }

  #put(room: Room): void {
    this.#directory.put(room);
    const ahead = this.#ahead.get(room.id);
    this.#ahead.delete(room.id);
    if (ahead !== undefined) this.#directory.accept(ahead, ahead.author.id === this.#me);
    if (document.body.dataset["place"] === "discover") this.#discover.render();
    if (document.body.dataset["place"] === "stranger" && this.#stranger?.id === room.id) this.#route(false);
    this.#renderRooms();
  }
}

function told(what: string): (error: unknown) => void {
  return (error) => toast(`${what} did not work. ${reasonOf(error)} Nothing changed; try again.`, { tone: "error" });
}

function socketUrl(hub: string | null): string {
  return hub ?? `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/connection/websocket`;
}

/** The clock with its microseconds, as far as the browser gives them; after a sleep the two clocks may disagree. */
function clockNow(): number {
  const fine = performance.timeOrigin + performance.now();
  return Math.abs(fine - Date.now()) < 5 ? fine : Date.now();
}

new Chat().start();
