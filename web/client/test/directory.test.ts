import assert from "node:assert/strict";
import { test } from "node:test";
import { Directory, unread } from "../src/directory.js";
import { match } from "../src/switcher.js";
import type { Room } from "../src/types.js";
import { line } from "./lines.js";

const room = (id: number, more: Partial<Room> = {}): Room => ({
  id, name: `room ${id}`, version: 10, epoch: "e", texts: 8, member_count: 2, bumped_at: `2026-11-22T10:00:0${id}Z`,
  created_at: "2026-11-01T00:00:00Z", is_member: true, read_version: 10, unread: 0, ...more,
} as Room);
const unreadOf = (directory: Directory, id: number) => unread(directory.get(id) ?? assert.fail("no room"));

test("a new line raises unread by the texts it stands for, once", () => {
  const directory = new Directory([room(1)]);
  assert.equal(directory.accept(line(11, { texts: 9 }), false), true);
  assert.equal(directory.accept(line(11, { texts: 9 }), false), false);
  assert.equal(unreadOf(directory, 1), 1);
  directory.accept(line(15, { texts: 12 }), false);
  assert.equal(unreadOf(directory, 1), 4, "the texts of the hole count as well");
});

test("the room with the latest line comes first, as in the API's order", () => {
  const directory = new Directory([room(1), room(2)]);
  assert.deepEqual(directory.sorted.map(({ id }) => id), [2, 1]);
  directory.accept(line(11, { kind: "joined", created_at: "2026-11-22T11:00:00Z" }), false);
  assert.deepEqual(directory.sorted.map(({ id }) => id), [1, 2]);
});

test("a read position only grows, whichever tab told it", () => {
  const directory = new Directory([room(1)]);
  directory.accept(line(11, { texts: 9 }), false);
  directory.accept(line(12, { texts: 10 }), false);
  assert.equal(directory.read({ room: 1, read_version: 12, unread: 0 }), true);
  assert.equal(unreadOf(directory, 1), 0);
  assert.equal(directory.read({ room: 1, read_version: 11, unread: 1 }), false);
  assert.equal(unreadOf(directory, 1), 0);
});

test("what one writes oneself is read, unless something before it is not", () => {
  const directory = new Directory([room(1), room(2, { unread: 1 })]);
  directory.accept(line(11, { texts: 9 }), true);
  assert.equal(unreadOf(directory, 1), 0);
  assert.equal(directory.get(1)?.readVersion, 11);
  directory.accept({ ...line(11, { texts: 9 }), room: 2 }, true);
  assert.equal(unreadOf(directory, 2), 2);
});

test("an older answer of the API does not undo what the socket told", () => {
  const directory = new Directory([room(1)]);
  directory.accept(line(12, { texts: 10 }), false);
  directory.reset([room(1, { version: 11, texts: 9 })]);
  assert.equal(directory.get(1)?.version, 12);
  directory.reset([room(1, { epoch: "another", version: 3, texts: 2 })]);
  assert.equal(directory.get(1)?.version, 3);
});

test("jumping finds names that begin with the letters first", () => {
  const names = [{ name: "Regeneral" }, { name: "General" }, { name: "Random" }];
  assert.deepEqual(match(names, "gen").map(({ name }) => name), ["General", "Regeneral"]);
});

test("what is unread counts in all rooms, also in those that are not loaded", () => {
  const directory = new Directory([room(1, { unread: 2 })], { 1: 2, 7: 3, 8: 4 });
  assert.equal(directory.unreadTotal, 9);
  directory.put(room(7, { unread: 4 }));
  assert.equal(directory.unreadTotal, 10, "a room that is loaded counts once");
  assert.equal(directory.read({ room: 8, read_version: 9, unread: 1 }), true);
  assert.equal(directory.unreadTotal, 7);
  assert.equal(directory.read({ room: 8, read_version: 10, unread: 0 }), true);
  directory.remove(7);
  assert.equal(directory.unreadTotal, 2);
});

test("a list made anew keeps what it does not reach only where it is told to", () => {
  const directory = new Directory([room(1), room(2), room(3, { unread: 5 })]);
  directory.reset([room(1)], { 3: 6 }, ({ id }) => id === 2);
  assert.deepEqual(directory.sorted.map(({ id }) => id), [2, 1]);
  assert.equal(directory.unreadTotal, 6);
});

test("what came during an absence is counted in rooms that are not loaded as well", () => {
  const directory = new Directory([room(1)], { 7: 3 });
  const before = directory.count;
  directory.reset([room(1, { version: 12, texts: 10, unread: 2 }), room(7, { unread: 4 })], { 1: 2, 7: 4, 8: 5 });
  assert.equal(directory.since(before), 2 + 1 + 5);
});
