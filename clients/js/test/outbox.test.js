// What is written is sent once, in order, by whichever tab can, whatever fails in between.
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { ChatError } from "../src/errors.js";
import { Outbox } from "../src/outbox.js";
import { memoryStorage } from "../src/storage.js";
import { FakeClock, LIMITS, message, settled } from "./kit.js";

const error = (code, more = {}) => new ChatError({ code, message: `It is ${code}.`, ...more });

/** Stores a key once, and fails as the test says: before storing, or after it, which the sender cannot tell. */
class Server {
  stored = [];
  requests = 0;
  /** Errors for the next requests; `{after: true}` stores first. */
  failures = [];

  async send({ idempotencyKey, body }) {
    this.requests += 1;
    const failure = this.failures.shift();
    await null;
    if (failure && !failure.after) throw failure.error;
    let found = this.stored.find((each) => each.idempotencyKey === idempotencyKey);
    if (!found) this.stored.push((found = message(this.stored.length + 1, { senderId: "ana", idempotencyKey, body })));
    if (failure) throw failure.error;
    return { message: found, duplicate: false };
  }

  get bodies() {
    return this.stored.map(({ body }) => body);
  }
}

/** A tab: an outbox with a connection of its own. */
class Tab {
  shown = [];
  status = { limits: LIMITS };
  ended = null;
  online = false;

  constructor(server, storage, clock = new FakeClock()) {
    this.server = server;
    this.clock = clock;
    this.outbox = new Outbox({ connection: this, storage, clock, onStored: (stored) => this.shown.push(stored.body) });
    void this.outbox.open("http://chat ana");
  }

  async request(event, payload) {
    assert.equal(event, "send_message");
    if (!this.online) throw error("disconnected", { retryable: true });
    const answer = await this.server.send(payload);
    if (!this.online) throw error("disconnected", { retryable: true });
    return answer;
  }

  connect() {
    if (this.online) return;
    this.online = true;
    this.outbox.connected();
  }

  lose() {
    this.online = false;
    this.outbox.lost();
  }

  close() {
    this.lose();
    this.outbox.close();
  }

  write(body, more = {}) {
    return this.outbox.add({ conversationId: "c", body, ...more });
  }

  get waiting() {
    return this.outbox.entries.map(({ body, error }) => [body, error?.code ?? null]);
  }
}

test("what is written is there at once, and stored in order when there is a connection", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  const entries = ["one", "two", "three"].map((body) => tab.write(body));
  const stored = tab.outbox.outcome(entries[1].key);
  assert.deepEqual(tab.waiting, [["one", null], ["two", null], ["three", null]]);
  tab.connect();
  await settled();
  assert.deepEqual(server.bodies, ["one", "two", "three"]);
  assert.deepEqual(tab.waiting, []);
  assert.equal((await stored).seq, 2);
  await assert.rejects(tab.outbox.outcome("never written"), { code: "discarded" });
});

test("its promise settles with the ack, after a reload too", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const before = new Tab(server, storage);
  const { key } = before.write("over a reload");
  await settled();
  before.close();
  const after = new Tab(server, storage);
  await settled();
  assert.deepEqual(after.waiting, [["over a reload", null]]);
  const stored = after.outbox.outcome(key);
  after.connect();
  assert.equal((await stored).seq, 1);
});

test("written offline in two tabs, both closed, one opened: everything once, in order", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const tabs = [new Tab(server, storage), new Tab(server, storage)];
  await settled();
  for (let i = 0; i < 10; i += 1) {
    tabs[i % 2].write(`${i}`);
    await settled();
  }
  for (const tab of tabs) tab.close();
  const opened = new Tab(server, storage);
  opened.connect();
  for (let i = 0; i < 10; i += 1) await settled();
  assert.deepEqual(server.bodies, Array.from({ length: 10 }, (_, i) => `${i}`));
  assert.equal(server.requests, 10);
  assert.deepEqual(await storage.entries(""), []);
});

test("what a paused tab has written the other one sends, and both show it", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const [paused, live] = [new Tab(server, storage), new Tab(server, storage)];
  live.connect();
  const { key } = paused.write("from the paused tab");
  const stored = paused.outbox.outcome(key);
  assert.equal((await stored).body, "from the paused tab");
  await settled();
  assert.deepEqual([paused.waiting, live.waiting], [[], []]);
  assert.deepEqual(paused.shown, ["from the paused tab"]);
  assert.equal(server.requests, 1);
});

test("two tabs with a connection send one after the other, and nothing twice", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const tabs = [new Tab(server, storage), new Tab(server, storage)];
  for (let i = 0; i < 20; i += 1) tabs[i % 2].write(`${i}`);
  await settled();
  for (const tab of tabs) tab.connect();
  for (let i = 0; i < 20; i += 1) await settled();
  assert.equal(server.requests, 20);
  assert.equal(new Set(server.bodies).size, 20);
  // Each tab's own are in order; between tabs it is the clock's milliseconds.
  for (const own of [0, 1]) {
    const numbers = server.bodies.map(Number).filter((number) => number % 2 === own);
    assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  }
});

test("a lost ack, a restart and a refusal for now make no second message", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  server.failures = [
    { error: error("timeout", { retryable: true }), after: true },
    { error: error("store_unavailable", { retryable: true }), after: true },
    { error: error("rate_limited", { retryable: true, retryAfterMs: 5_000 }) },
  ];
  tab.write("once");
  tab.connect();
  for (let i = 0; i < 5; i += 1) await tab.clock.pass(6_000);
  assert.deepEqual(server.bodies, ["once"]);
  assert.equal(server.requests, 4);
});

test("`retryAfterMs` is kept, and nothing overtakes what waits", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  server.failures = [{ error: error("rate_limited", { retryable: true, retryAfterMs: 5_000 }) }];
  tab.write("first");
  tab.write("second");
  tab.connect();
  await tab.clock.pass(4_999);
  assert.deepEqual([server.bodies, server.requests], [[], 1]);
  await tab.clock.pass(2_000);
  assert.deepEqual(server.bodies, ["first", "second"]);
});

test("what can never be accepted leaves the queue with an error, and what stands behind it goes on", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  tab.status.limits = null; // not known before the first connection
  tab.write("x".repeat(4_001));
  tab.write("é".repeat(4_000), { metadata: { more: "y".repeat(60_000) } });
  tab.write("😀".repeat(4_000)); // 4000 characters, though its length is 8000
  const wrong = tab.write("refused");
  tab.write("behind it");
  tab.status.limits = LIMITS;
  const outcome = assert.rejects(tab.outbox.outcome(wrong.key), { code: "invalid_payload" });
  server.failures = [null, { error: error("invalid_payload") }];
  tab.connect();
  await settled();
  await settled();
  await outcome;
  assert.deepEqual(server.stored.map(({ body }) => body.length), [8_000, 9]);
  assert.deepEqual(tab.waiting.map(([, code]) => code), ["too_large", "too_large", "invalid_payload"]);
  assert.match(tab.outbox.entries[0].error.message, /At most 4000 characters/u);
  assert.equal(tab.write("z".repeat(4_001)).error.code, "too_large", "said at once when it is known");
});

test("a message that ended the connection as too large is not sent again", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  const ends = async () => {
    tab.ended = { code: "too_large" };
    tab.lose();
    throw error("disconnected", { retryable: true });
  };
  const request = tab.request;
  tab.request = ends;
  tab.write("poison");
  tab.write("behind it");
  tab.connect();
  await settled();
  tab.request = request;
  tab.ended = null;
  tab.connect();
  await settled();
  assert.deepEqual(server.bodies, ["behind it"]);
  assert.deepEqual(tab.waiting, [["poison", "too_large"]]);
});

test("a refused message can be tried again under its key, or given up", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const tab = new Tab(server, storage);
  server.failures = [{ error: error("internal_error") }, { error: error("internal_error") }];
  const [again, never] = [tab.write("again"), tab.write("never")];
  tab.connect();
  await settled();
  await settled();
  tab.outbox.retry(again.key);
  const given = assert.rejects(tab.outbox.outcome(never.key));
  tab.outbox.discard(never.key);
  await settled();
  await given;
  assert.deepEqual(server.bodies, ["again"]);
  assert.equal(server.stored[0].idempotencyKey, again.key);
  assert.deepEqual(await storage.entries(""), []);
});

test("what another tab has given up is not sent", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const [first, second] = [new Tab(server, storage), new Tab(server, storage)];
  const { key } = first.write("no");
  await settled();
  second.outbox.discard(key);
  await settled();
  first.connect();
  await settled();
  assert.deepEqual([server.bodies, first.waiting], [[], []]);
});

test("the outbox of another user is not touched", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const ana = new Tab(server, storage);
  ana.write("of ana");
  await settled();
  ana.close();
  const ben = new Tab(server, storage);
  void ben.outbox.open("http://chat ben");
  ben.connect();
  await settled();
  assert.deepEqual([server.bodies, ben.waiting], [[], []]);
  await ben.outbox.clear();
  assert.equal((await storage.entries("http://chat ana")).length, 1);
});

test("two hundred may wait, and one more is refused with a word", () => {
  const tab = new Tab(new Server(), memoryStorage());
  for (let i = 0; i < 200; i += 1) tab.write(`${i}`);
  assert.throws(() => tab.write("too many"), { code: "outbox_full" });
});

test("a storage that fails, or is full, or never answers, is said; everything is sent nevertheless", async () => {
  const broken = (how) => {
    const storage = memoryStorage();
    const names = ["entries", "get", "set", "remove", "removeAll"];
    return { ...storage, lasting: true, ...Object.fromEntries(names.map((name) => [name, how])) };
  };
  const full = { ...memoryStorage(), lasting: true, set: async () => Promise.reject(new DOMException("full", "QuotaExceededError")) };
  for (const storage of [broken(async () => Promise.reject(new Error("blocked"))), full]) {
    const server = new Server();
    const tab = new Tab(server, storage);
    tab.write("one");
    tab.write("two");
    await settled();
    assert.equal(tab.outbox.lasting, false);
    tab.connect();
    await settled();
    await settled();
    assert.deepEqual(server.bodies, ["one", "two"]);
    assert.deepEqual(tab.waiting, []);
  }
});

test("a storage that has room again is used again", async () => {
  let full = true;
  const memory = memoryStorage();
  const set = async (key, value) => (full ? Promise.reject(new Error("full")) : memory.set(key, value));
  const tab = new Tab(new Server(), { ...memory, lasting: true, set });
  tab.write("one");
  await settled();
  assert.equal(tab.outbox.lasting, false);
  full = false;
  tab.write("two");
  await settled();
  assert.equal(tab.outbox.lasting, true);
});

test("whatever two tabs do, in whatever order: everything once, each tab's in its order", async () => {
  const act = fc.record({
    tab: fc.nat(1),
    kind: fc.constantFrom("write", "write", "write", "connect", "lose", "reload", "fail", "failAfter", "settle"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 40 }), async (acts) => {
      const server = new Server();
      const storage = memoryStorage();
      const clock = new FakeClock();
      const tabs = [new Tab(server, storage, clock), new Tab(server, storage, clock)];
      const written = [[], []];
      for (const { tab, kind } of acts) {
        if (kind === "write") {
          const body = `${tab}.${written[tab].length}`;
          written[tab].push(body);
          tabs[tab].write(body);
        } else if (kind === "connect" || kind === "lose") tabs[tab][kind]();
        else if (kind === "settle") await settled();
        else if (kind === "reload") {
          await settled(); // a page that goes has written what it has
          tabs[tab].close();
          tabs[tab] = new Tab(server, storage, clock);
          clock.time += 100; // a page takes a while to load
        } else server.failures.push({ error: error("timeout", { retryable: true }), after: kind === "failAfter" });
      }
      server.failures = [];
      await settled();
      tabs[0].connect();
      for (let i = 0; i < 10; i += 1) await clock.pass(1_000);
      assert.deepEqual([...server.bodies].sort(), written.flat().sort());
      for (const own of [0, 1]) assert.deepEqual(server.bodies.filter((body) => body.startsWith(`${own}.`)), written[own]);
      assert.deepEqual([tabs[0].waiting, tabs[1].waiting], [[], []]);
      assert.deepEqual(await storage.entries(""), []);
    }),
    { numRuns: 100 },
  );
});
