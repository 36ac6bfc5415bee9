import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused, Unreachable } from "../src/api.js";
import { Sender } from "../src/sender.js";
import type { Message } from "../src/types.js";
import { UnsentQueue } from "../src/unsent.js";
import { line, Memory } from "./lines.js";

/** An API that answers as told, and remembers what it was asked. */
class Answers {
  readonly asked: string[] = [];
  constructor(private readonly answer: (text: string) => Error | undefined) {}
  post(_room: number, text: string, clientId: string): Promise<Message> {
    this.asked.push(`${text} ${clientId}`);
    const error = this.answer(text);
    return error === undefined ? Promise.resolve(line(1)) : Promise.reject(error);
  }
}

const refused = (status: number) => new Refused(status, "no", "you are not a member of this room", {});
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("what is saved leaves the storage and stays on screen until the socket brings it", async () => {
  const storage = new Memory();
  const queue = new UnsentQueue(storage, 1);
  new Sender(new Answers(() => undefined), queue, () => undefined).write(7, "hello");
  await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["saved"]);
  assert.equal(storage.length, 0);
  queue.remove(queue.of(7)[0]?.clientId ?? "");
  assert.deepEqual(queue.of(7), []);
});

test("texts of a room go out one after the other, in the order written", async () => {
  const api = new Answers(() => undefined);
  const sender = new Sender(api, new UnsentQueue(new Memory(), 1), () => undefined);
  for (const text of ["a", "b", "c"]) sender.write(7, text);
  for (let turn = 0; turn < 4; turn += 1) await settle();
  assert.deepEqual(api.asked.map((asked) => asked[0]), ["a", "b", "c"]);
});

test("without a connection everything waits, and goes out again under the same client_id", async () => {
  let down = true;
  const api = new Answers(() => (down ? new Unreachable("down") : undefined));
  const queue = new UnsentQueue(new Memory(), 1);
  const sender = new Sender(api, queue, () => undefined);
  sender.write(7, "a");
  sender.write(7, "b");
  await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["waiting", "waiting"]);
  assert.equal(api.asked.length, 1, "b does not overtake a");
  down = false;
  sender.resume();
  for (let turn = 0; turn < 3; turn += 1) await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["saved", "saved"]);
  assert.equal(api.asked[0], api.asked[1], "the same text under the same id");
});

test("while the database refuses a text is kept, says why, and goes out when the server asked for it", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let full = true;
  const refusal = new Refused(503, "database_full", "The database has no room left on its disk.", {}, 5000);
  const api = new Answers(() => (full ? refusal : undefined));
  const queue = new UnsentQueue(new Memory(), 1);
  new Sender(api, queue, () => undefined).write(7, "a");
  await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["waiting"]);
  assert.match(queue.of(7)[0]?.reason ?? "", /no room left on its disk\. Your text is kept and goes out by itself\./);
  full = false;
  t.mock.timers.tick(4999);
  await settle();
  assert.equal(api.asked.length, 1, "not before the time");
  t.mock.timers.tick(1);
  await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["saved"]);
});

test("a refusal stops one text, not its neighbours, and waits for its author", async () => {
  let no = true;
  const api = new Answers((text) => (no && text === "bad" ? refused(403) : undefined));
  const queue = new UnsentQueue(new Memory(), 1);
  const sender = new Sender(api, queue, () => undefined);
  sender.write(7, "bad");
  sender.write(7, "good");
  for (let turn = 0; turn < 3; turn += 1) await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["failed", "saved"]);
  assert.match(queue.of(7)[0]?.reason ?? "", /not a member of this room\. Your text is kept\./);
  no = false;
  sender.retry(queue.of(7)[0]?.clientId ?? "");
  for (let turn = 0; turn < 3; turn += 1) await settle();
  assert.deepEqual(queue.of(7).map((unsent) => unsent.state), ["saved", "saved"]);
});

test("a reload keeps what was not answered, per person", () => {
  const storage = new Memory();
  const queue = new UnsentQueue(storage, 1);
  queue.add(7, "on its way", "id-1", 1);
  queue.add(7, "refused", "id-2", 2);
  queue.failed("id-2", "No.");
  storage.setItem("roomcast:1:unsent:broken", "{");
  const reloaded = new UnsentQueue(storage, 1);
  assert.deepEqual(reloaded.of(7).map(({ text, state }) => [text, state]), [["on its way", "sending"], ["refused", "failed"]]);
  assert.deepEqual(new UnsentQueue(storage, 2).of(7), []);
});

test("two tabs never overwrite each other's texts", () => {
  const storage = new Memory();
  const [one, two] = [new UnsentQueue(storage, 1), new UnsentQueue(storage, 1)];
  one.add(7, "from one", "id-1", 1);
  two.add(7, "from two", "id-2", 2);
  one.saved("id-1");
  assert.deepEqual(new UnsentQueue(storage, 1).of(7).map((unsent) => unsent.text), ["from two"]);
});
