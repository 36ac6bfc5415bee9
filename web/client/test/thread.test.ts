import assert from "node:assert/strict";
import { test } from "node:test";
import { Thread } from "../src/thread.js";
import { line, page } from "./lines.js";

const versions = (thread: Thread) => thread.messages.map((message) => message.version);

test("what follows is appended, what repeats is dropped", () => {
  const thread = new Thread(page(1, 3));
  assert.equal(thread.accept(line(4), true), "appended");
  assert.equal(thread.accept(line(4), true), "repeat");
  assert.equal(thread.accept(line(2), true), "repeat");
  assert.deepEqual(versions(thread), [1, 2, 3, 4]);
});

test("a hole is seen, and closed by the page that fills it", () => {
  const thread = new Thread(page(1, 3));
  assert.equal(thread.accept(line(6), true), "early");
  assert.equal(thread.accept(line(7), true), "early");
  assert.equal(thread.accept(line(6), true), "repeat");
  assert.deepEqual(versions(thread), [1, 2, 3]);
  assert.equal(thread.complete, false);
  thread.append(page(4, 5));
  assert.deepEqual(versions(thread), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(thread.complete, true);
});

test("lines that come in any order, any number of times, end in order and once", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const thread = new Thread(page(1, 2));
    let state = seed;
    const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
    const arrivals = Array.from({ length: 60 }, () => 3 + Math.floor(random() * 12));
    for (const version of arrivals) thread.accept(line(version), true);
    while (!thread.complete) thread.append(page(thread.top + 1, thread.newest));
    const expected = Array.from({ length: thread.newest }, (_, index) => index + 1);
    assert.deepEqual(versions(thread), expected, `seed ${seed}`);
  }
});

test("a page overlapping what is loaded adds only what is new", () => {
  const thread = new Thread(page(1, 3));
  thread.append(page(2, 5));
  assert.deepEqual(versions(thread), [1, 2, 3, 4, 5]);
  const later = new Thread(page(10, 12, true));
  later.prepend(page(7, 11, false));
  assert.deepEqual(versions(later), [7, 8, 9, 10, 11, 12]);
  assert.equal(later.hasOlder, false);
});

test("an empty room takes its first line", () => {
  const thread = new Thread({ messages: [], has_more: false });
  assert.equal(thread.accept(line(1), true), "appended");
  assert.deepEqual(versions(thread), [1]);
});

test("far up, new lines are known but not loaded", () => {
  const thread = new Thread(page(1, 50));
  thread.trimNewest(30);
  assert.equal(thread.complete, false);
  assert.equal(thread.accept(line(51), false), "beyond");
  assert.equal(thread.newest, 51);
  thread.append(page(31, 51));
  assert.equal(thread.complete, true);
  assert.equal(thread.top, 51);
});

test("trimming the oldest leaves more to load above", () => {
  const thread = new Thread(page(1, 50));
  thread.trimOldest(20);
  assert.equal(thread.first, 31);
  assert.equal(thread.hasOlder, true);
  thread.prepend(page(11, 30, true));
  assert.equal(thread.first, 11);
});
