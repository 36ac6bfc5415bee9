import assert from "node:assert/strict";
import { test } from "node:test";
import { hue, initials } from "../src/avatar.js";
import { delayBefore } from "../src/backoff.js";
import { Latency } from "../src/latency.js";
import { caughtUpWords, connectionWords, dayWords, latencyWords, parseMicroseconds, plural } from "../src/words.js";

test("the connection says what it does and when it tries next", () => {
  assert.equal(connectionWords({ kind: "connected" }, 0), "Connected");
  assert.equal(connectionWords({ kind: "waiting", nextTryAt: 3100, online: true }, 0), "Reconnecting, next try in 4 s");
  assert.equal(connectionWords({ kind: "waiting", nextTryAt: 3100, online: true }, 3100), "Reconnecting…");
  assert.equal(connectionWords({ kind: "waiting", nextTryAt: 3100, online: false }, 0), "Offline, comes back by itself");
  assert.equal(caughtUpWords(12), "Caught up 12 messages");
  assert.equal(caughtUpWords(1), "Caught up 1 message");
});

test("waits grow to ten seconds and are never two at the same time", () => {
  assert.ok(delayBefore(0, 0) >= 200 && delayBefore(0, 0.999) <= 400);
  assert.ok(delayBefore(50, 0.999) <= 10_000 && delayBefore(50, 0) >= 5000);
});

test("latencies keep the digits that matter", () => {
  assert.deepEqual([0.02, 0.62, 9.94, 12.4, 340.2, 1234].map(latencyWords), ["0.1 ms", "0.6 ms", "9.9 ms", "12 ms", "340 ms", "1.2 s"]);
});

test("the microseconds of a timestamp count", () => {
  const time = parseMicroseconds("2026-11-22T10:00:00.123456Z");
  assert.ok(Math.abs(time - (Date.UTC(2026, 10, 22, 10, 0, 0, 123) + 0.456)) < 0.001);
  assert.equal(parseMicroseconds("2026-11-22T10:00:00Z"), Date.UTC(2026, 10, 22, 10));
  assert.ok(Math.abs(parseMicroseconds("2026-11-22T12:00:00.5+02:00") - Date.UTC(2026, 10, 22, 10, 0, 0, 500)) < 0.001);
});

test("the figure is the middle of the last ones, and clocks that disagree give none", () => {
  const latency = new Latency();
  latency.add("outbox", -3);
  latency.add("outbox", 90_000);
  assert.equal(latency.median("outbox"), null);
  for (const ms of [0.5, 0.6, 40]) latency.add("outbox", ms);
  assert.equal(latency.median("outbox"), 0.6);
  assert.equal(latency.median("wal"), null, "each mode has its own");
});

test("days read as people say them", () => {
  const now = new Date(2026, 10, 22, 9);
  assert.equal(dayWords(new Date(2026, 10, 22, 1).toISOString(), now), "Today");
  assert.equal(dayWords(new Date(2026, 10, 21, 23).toISOString(), now), "Yesterday");
  assert.equal(dayWords(new Date(2026, 10, 18, 12).toISOString(), now), "Wednesday");
  assert.equal(dayWords(new Date(2026, 2, 3, 12).toISOString(), now), "3 March");
  assert.equal(dayWords(new Date(2024, 2, 3, 12).toISOString(), now), "3 March 2024");
});

test("numbers and names", () => {
  assert.equal(plural(1, "member"), "1 member");
  assert.equal(plural(1200, "member"), "1,200 members");
  assert.deepEqual(["Ada Lovelace", "bob", "  ", "Élodie du Pont", "李 雷"].map(initials), ["AL", "B", "?", "ÉP", "李雷"]);
  assert.equal(hue(1), 138);
});
