// What is kept for reading offline is bounded, and of one user.
import assert from "node:assert/strict";
import test from "node:test";
import { Cache } from "../src/cache.js";
import { memoryStorage } from "../src/storage.js";
import { FakeClock } from "./kit.js";

const kept = (n) => ({ conversation: null, messages: [], participants: [], lastSeq: n, readSeq: 0, cursor: n });

test("the twenty conversations that were used last are kept, and those of other users are not touched", async () => {
  const [storage, clock] = [memoryStorage(), new FakeClock()];
  const [ana, ben] = [new Cache(storage, clock, "http://chat ana"), new Cache(storage, clock, "http://chat ben")];
  ben.keepConversation("c0", kept(1));
  for (let i = 0; i < 30; i += 1) {
    ana.keepConversation(`c${i}`, kept(i));
    await clock.pass(1_000);
  }
  assert.equal((await storage.entries("http://chat ana cache conversation ")).length, 20);
  assert.equal(await ana.conversation("c9"), null);
  assert.deepEqual(await ana.conversation("c10"), kept(10));
  ana.keepConversation("c9", kept(90)); // again, after it had to go
  await clock.pass(1_000);
  assert.deepEqual(await ana.conversation("c9"), kept(90));
  assert.equal(await ana.conversation("c10"), null);
  await ana.clear();
  assert.deepEqual(await storage.entries("http://chat ana"), []);
  assert.deepEqual(await ben.conversation("c0"), kept(1));
});

test("many changes are one write, and what is cleared is not written afterwards", async () => {
  const [storage, clock] = [memoryStorage(), new FakeClock()];
  let writes = 0;
  const cache = new Cache({ ...storage, set: (...args) => ((writes += 1), storage.set(...args)) }, clock, "s");
  for (let i = 0; i < 50; i += 1) cache.keepConversation("c", kept(i));
  await clock.pass(1_000);
  assert.equal(writes, 1);
  cache.keepConversation("c", kept(51));
  await cache.clear();
  cache.keepConversation("c", kept(52));
  await clock.pass(5_000);
  assert.deepEqual(await storage.entries(""), []);
});

test("a storage that fails, fails in silence", async () => {
  const no = async () => Promise.reject(new Error("blocked"));
  const clock = new FakeClock();
  const cache = new Cache({ ...memoryStorage(), entries: no, get: no, set: no, remove: no, removeAll: no }, clock, "s");
  cache.keepConversation("c", kept(1));
  await clock.pass(1_000);
  assert.equal(await cache.conversation("c"), null);
  assert.equal(await cache.list(), null);
  await cache.clear();
});
