import assert from "node:assert/strict";
import { test } from "node:test";
import { keyOf, quietWords, rows, type RowsInput } from "../src/rows.js";
import { line } from "./lines.js";

const alice = { id: 1, name: "Alice" };
const carol = { id: 3, name: "Carol" };
const at = (time: string) => `2026-11-22T${time}Z`;
const input = (more: Partial<RowsInput>): RowsInput => ({
  messages: [], unsent: [], fromStart: false, unreadFrom: null, me: 1, dayOf: (time) => time.slice(0, 10), ...more,
});
const shape = (more: Partial<RowsInput>) => rows(input(more)).map((row) =>
  row.kind === "message" ? `${row.message.version}${row.first ? " first" : ""}${row.last ? " last" : ""}` : row.kind);

test("messages of one author within five minutes are one group", () => {
  const messages = [
    line(1, { created_at: at("12:00:00") }), line(2, { created_at: at("12:04:59") }),
    line(3, { created_at: at("12:10:00") }), line(4, { created_at: at("12:10:01"), author: alice }),
  ];
  assert.deepEqual(shape({ messages }), ["day", "1 first", "2 last", "3 first last", "4 first last"]);
});

test("a new day begins a new group under its own line", () => {
  const messages = [line(1, { created_at: "2026-11-22T23:59:59Z" }), line(2, { created_at: "2026-11-23T00:00:01Z" })];
  assert.deepEqual(shape({ messages }), ["day", "1 first last", "day", "2 first last"]);
});

test("the unread line stands before the first line that was not read", () => {
  assert.deepEqual(shape({ messages: [line(1), line(2), line(3)], unreadFrom: 3 }), ["day", "1 first", "2 last", "unread", "3 first last"]);
  assert.deepEqual(shape({ messages: [line(7)], unreadFrom: 3 }), ["day", "unread", "7 first last"]);
});

test("runs of joined and left fold into one line", () => {
  const messages = [line(1, { kind: "created", author: alice }), line(2, { kind: "joined" }), line(3, { kind: "joined", author: carol }), line(4)];
  assert.deepEqual(shape({ messages, fromStart: true }), ["start", "day", "quiet", "4 first last"]);
  assert.equal(quietWords(messages.slice(0, 3), 1), "You created the room · Bob and Carol joined");
  assert.equal(quietWords([line(1, { kind: "joined" }), line(2, { kind: "joined", author: alice })], 1), "You and Bob joined");
  assert.equal(quietWords([line(1, { kind: "joined" }), line(2, { kind: "left" }), line(3, { kind: "joined" })], 1), "Bob joined, left and came back");
});

test("a mode is named where it changes, whatever stands between the lines", () => {
  const messages = [
    line(1), line(2, { mode: "wal" }), line(3, { kind: "joined", author: carol, mode: "api" }), line(4, { mode: "wal" }), line(5),
  ];
  const named = rows(input({ messages })).flatMap((row) => (row.kind === "message" && row.named ? [row.message.version] : []));
  assert.deepEqual(named, [1, 2, 5]);
});

test("the unsent stand at the end, and keep their key when they arrive", () => {
  const unsent = { clientId: "abc", room: 1, text: "hi", writtenAt: 0, state: "sending", reason: "" } as const;
  const before = rows(input({ messages: [line(1)], unsent: [unsent] }));
  const arrived = line(2, { author: alice, client_id: "abc" });
  const after = rows(input({ messages: [line(1), arrived] }));
  assert.equal(before.at(-1)?.key, after.at(-1)?.key);
});

test("somebody else's client_id is not mistaken for mine", () => {
  assert.notEqual(keyOf(line(5, { client_id: "abc" }), 1), keyOf(line(6, { client_id: "abc", author: alice }), 1));
});
