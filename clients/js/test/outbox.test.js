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
  /** What was asked for, in order. */
  asked = [];
  /** Errors for the next requests; `{after: true}` stores first. */
  failures = [];

  async take(event, payload) {
    this.requests += 1;
    this.asked.push([event, payload.seq ?? null, payload.body ?? payload.reaction ?? null, ...(payload.on === undefined ? [] : [payload.on])]);
    const failure = this.failures.shift();
    await null;
    if (failure && !failure.after) throw failure.error;
    const changed = event === "send_message" ? this.#send(payload) : this.#change(event, payload);
    if (failure) throw failure.error;
    return { message: changed, duplicate: false };
  }

  #send({ idempotencyKey, body, mentions = [] }) {
    const found = this.stored.find((each) => each.idempotencyKey === idempotencyKey);
    if (found && !found.editedAt && !found.deletedAt && found.first !== JSON.stringify([body, mentions])) throw error("idempotency_conflict");
    if (!found) this.stored.push(message(this.stored.length + 1, { senderId: "ana", idempotencyKey, body, first: JSON.stringify([body, mentions]) }));
    return found ?? this.stored.at(-1);
  }

  #change(event, { seq, body, reaction, on }) {
    const known = this.stored[seq - 1];
    if (!known) throw error("message_not_found");
    if (known.deletedAt && event !== "delete_message") throw error("message_deleted");
    const reactions = (known.reactions ?? []).filter((each) => each !== reaction);
    const change = {
      edit_message: { body, editedAt: 1 },
      delete_message: { body: "", deletedAt: 1, reactions: [] },
      set_reaction: { reactions: on ? [...reactions, reaction] : reactions },
    }[event];
    return (this.stored[seq - 1] = { ...known, change: known.change + 100, ...change });
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
    if (!this.online) throw error("disconnected", { retryable: true });
    const answer = await this.server.take(event, payload);
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
    return this.outbox.add({ kind: "send", conversationId: "c", body, metadata: null, ...more });
  }

  /** As rooms do: whoever writes waits for the outcome. */
  outcome(entry) {
    return this.outbox.outcome(entry.key);
  }

  edit(seq, body) {
    return this.outbox.add({ kind: "edit", conversationId: "c", seq, body, metadata: null });
  }

  remove(seq, more = {}) {
    return this.outbox.add({ kind: "remove", conversationId: "c", seq, ...more });
  }

  react(seq, reaction, on = true) {
    return this.outbox.add({ kind: "react", conversationId: "c", seq, reaction, on });
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

test("what a page of an earlier version left is sent", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const entry = { key: "k", conversationId: "c", body: "early", metadata: null, createdAt: 1, error: null };
  await storage.set("http://chat ana outbox 0000000000000001 k", entry);
  const tab = new Tab(server, storage);
  tab.connect();
  await settled();
  assert.deepEqual([server.bodies, tab.waiting, await storage.entries("")], [["early"], [], []]);
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

/** @returns a server with messages 1 to `count` of Ana's */
function serverWith(count) {
  const server = new Server();
  for (let i = 1; i <= count; i += 1) server.stored.push(message(i, { senderId: "ana" }));
  return server;
}

test("what was done offline goes out once and in order; what a later one makes needless does not", async () => {
  const server = serverWith(4);
  const tab = new Tab(server, memoryStorage());
  tab.edit(1, "first edit");
  tab.react(2, "+");
  tab.react(2, "heart");
  tab.write("new");
  const outcomes = [tab.outcome(tab.edit(1, "last edit"))];
  tab.react(2, "+", false);
  tab.edit(3, "edited, then deleted");
  tab.react(3, "+");
  outcomes.push(tab.outcome(tab.remove(3)), tab.outcome(tab.remove(3)));
  tab.edit(4, "of another message");
  tab.connect();
  await settled();
  assert.deepEqual(server.asked, [
    ["set_reaction", 2, "heart", true],
    ["send_message", null, "new"],
    ["edit_message", 1, "last edit"],
    ["set_reaction", 2, "+", false],
    ["delete_message", 3, null],
    ["edit_message", 4, "of another message"],
  ]);
  assert.deepEqual(tab.waiting, []);
  assert.deepEqual((await Promise.all(outcomes)).map(({ seq, body }) => [seq, body]), [[1, "last edit"], [3, ""], [3, ""]]);
});

test("what is replaced settles as what replaced it, refused or not, also several at once", async () => {
  const server = serverWith(1);
  const tab = new Tab(server, memoryStorage());
  const outcomes = [];
  for (const write of [() => tab.edit(1, "a"), () => tab.edit(1, "b"), () => tab.react(1, "+"), () => tab.remove(1)]) {
    outcomes.push(tab.outcome(write()));
  }
  server.failures = [{ error: error("too_late") }];
  tab.connect();
  await settled();
  for (const outcome of outcomes) await assert.rejects(outcome, { code: "too_late" });
  assert.deepEqual(tab.outbox.entries.map(({ kind, error }) => [kind, error.code]), [["remove", "too_late"]]);
});

test("what is on its way cannot be called back: the later one comes behind it, and counts", async () => {
  const server = serverWith(1);
  const tab = new Tab(server, memoryStorage());
  tab.connect();
  await settled();
  tab.edit(1, "on its way");
  await null;
  while (server.requests === 0) await null;
  tab.edit(1, "later");
  await settled();
  assert.deepEqual(server.asked.map(([, , body]) => body), ["on its way", "later"]);
  assert.equal(server.stored[0].body, "later");
});

test("an edit of a message that waits changes that message; a deletion takes it back", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  const [kept, gone] = [tab.write("typo"), tab.write("never mind")];
  const stored = tab.outbox.outcome(kept.key);
  assert.equal(tab.outbox.rewrite(kept.key, { body: "right", metadata: null }).key, kept.key);
  tab.outbox.takeBack(gone.key);
  assert.equal(tab.outbox.rewrite("never written", { body: "x", metadata: null }), null);
  tab.connect();
  await settled();
  assert.deepEqual(server.asked, [["send_message", null, "right"]]);
  assert.equal((await stored).body, "right");
});

test("a refused message can be changed, and is tried again", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  const { key } = tab.write("x".repeat(4_001));
  assert.equal(tab.waiting[0][1], "too_large");
  assert.equal(tab.outbox.rewrite(key, { body: "y".repeat(4_001), metadata: null }).key, key);
  assert.equal(tab.waiting[0][1], "too_large", "still");
  tab.outbox.rewrite(key, { body: "short", metadata: null });
  const stored = tab.outbox.outcome(key);
  tab.connect();
  assert.equal((await stored).body, "short");
});

for (const after of [true, false]) {
  test(`a message that was tried, and is stored ${after ? "" : "not "}already, is edited or deleted all the same`, async () => {
    const server = new Server();
    const tab = new Tab(server, memoryStorage());
    const [edited, removed] = [tab.write("typo"), tab.write("never mind")];
    const outcome = tab.outbox.outcome(edited.key);
    server.failures = [{ error: error("timeout", { retryable: true }), after }];
    tab.connect();
    while (server.requests === 0) await null;
    tab.lose();
    await settled();
    tab.outbox.rewrite(edited.key, { body: "right", metadata: null });
    tab.outbox.takeBack(removed.key);
    server.failures = [];
    tab.connect();
    await settled();
    await settled();
    assert.equal((await outcome).body, "right");
    assert.deepEqual(server.stored.map(({ body }) => body), ["right"]);
    assert.equal(server.asked.filter(([event]) => event === "edit_message").length, 1, "it was sent as it was tried first");

    const both = tab.write("both were tried");
    server.failures = [{ error: error("timeout", { retryable: true }), after }];
    const before = server.requests;
    while (server.requests === before) await null;
    tab.lose();
    await settled();
    tab.outbox.takeBack(both.key);
    server.failures = [];
    tab.connect();
    await settled();
    await settled();
    assert.deepEqual(tab.waiting, []);
    assert.deepEqual(server.stored.map(({ body, deletedAt }) => body || Boolean(deletedAt)), ["right", true]);
  });
}

test("another tab sends a message while it is edited here: the edit follows, once", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const [here, there] = [new Tab(server, storage), new Tab(server, storage)];
  const { key } = here.write("typo");
  await settled();
  there.connect();
  while (server.requests === 0) await null;
  here.outbox.rewrite(key, { body: "right", metadata: null });
  for (let i = 0; i < 5; i += 1) await settled();
  assert.equal(server.stored[0].body, "right");
  assert.deepEqual(server.asked.map(([event]) => event), ["send_message", "edit_message"]);
  assert.deepEqual([here.waiting, there.waiting, await storage.entries("")], [[], [], []]);
});

test("another tab tries a message without an answer while it is edited here: it is repeated as it was, and the edit follows", async () => {
  const server = new Server();
  const storage = memoryStorage();
  const [here, there] = [new Tab(server, storage), new Tab(server, storage)];
  const { key } = here.write("typo");
  await settled();
  server.failures = [{ error: error("rate_limited", { retryable: true }), after: true }];
  there.connect();
  while (server.requests === 0) await null;
  here.outbox.rewrite(key, { body: "right", metadata: null });
  await there.clock.pass(5_000);
  assert.deepEqual(server.asked.map(([event, , body]) => [event, body]), [["send_message", "typo"], ["send_message", "typo"], ["edit_message", "right"]]);
  assert.deepEqual([server.stored[0].body, here.waiting, there.waiting], ["right", [], []]);
});

test("a message that is refused while it is edited is tried as it is now; one that was taken back is gone", async () => {
  const server = new Server();
  const tab = new Tab(server, memoryStorage());
  const [edited, gone] = [tab.write("wrong"), tab.write("never mind")];
  const stored = tab.outbox.outcome(edited.key);
  server.failures = [{ error: error("invalid_payload") }, null, { error: error("invalid_payload") }];
  tab.connect();
  while (server.requests === 0) await null;
  tab.outbox.rewrite(edited.key, { body: "right", metadata: null });
  while (server.requests < 3) await null;
  tab.outbox.takeBack(gone.key);
  await settled();
  assert.equal((await stored).body, "right");
  assert.deepEqual([server.bodies, tab.waiting], [["right"], []]);
});

test("a deletion may be undone for a while, after a reload too, and holds nothing up", async () => {
  const server = serverWith(2);
  const storage = memoryStorage();
  const tab = new Tab(server, storage);
  tab.connect();
  const undone = tab.remove(1, { dueAt: tab.clock.wall() + 5_000 });
  tab.remove(2, { dueAt: tab.clock.wall() + 5_000 });
  tab.write("meanwhile");
  await settled();
  tab.outbox.discard(undone.key);
  tab.close();
  const again = new Tab(server, storage, tab.clock);
  again.connect();
  await again.clock.pass(4_900);
  assert.deepEqual(server.asked.map(([event]) => event), ["send_message"]);
  await again.clock.pass(200);
  assert.deepEqual(server.asked.slice(1), [["delete_message", 2, null]]);
  assert.deepEqual(again.waiting, []);
});

test("whatever is written, edited, deleted and reacted to, over cuts, reloads and two tabs: the last of each counts, once", async () => {
  const act = fc.record({
    tab: fc.nat(1),
    kind: fc.constantFrom("write", "edit", "edit", "remove", "react", "react", "rewrite", "takeBack", "connect", "lose", "reload", "fail", "failAfter", "settle", "settle"),
    at: fc.nat(5),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 40, size: "max" }), async (acts) => {
      const server = serverWith(3);
      const storage = memoryStorage();
      const clock = new FakeClock();
      const tabs = [new Tab(server, storage, clock), new Tab(server, storage, clock)];
      await settled();
      /** What each message has to become, by key; a deleted one stays deleted. */
      const wanted = new Map(server.stored.map(({ idempotencyKey: key, body }) => [key, { key, body, gone: false, reactions: new Map() }]));
      const stored = () => server.stored.filter(({ deletedAt }) => !deletedAt);
      let count = 0;
      for (const { tab: n, kind, at } of acts) {
        const tab = tabs[n];
        clock.time += 1;
        if (kind === "write") {
          const { key } = tab.write(`${(count += 1)}`);
          wanted.set(key, { key, body: `${count}`, gone: false, reactions: new Map() });
          await settled(); // each tab knows what the other one has done
        } else if (kind === "edit" || kind === "remove" || kind === "react") {
          const all = [...wanted.values()].filter((each) => !each.gone && stored().some(({ idempotencyKey }) => idempotencyKey === each.key));
          const one = all[at % Math.max(1, all.length)];
          // Once it is stored a client may not know so yet, and changes what waits.
          const waits = tab.outbox.entries.some(({ key }) => key === one?.key);
          if (!one || waits) continue;
          const { seq } = server.stored.find(({ idempotencyKey }) => idempotencyKey === one.key);
          if (kind === "edit") tab.edit(seq, (one.body = `edit ${(count += 1)}`));
          else if (kind === "remove") tab.remove(seq, (one.gone = true) && {});
          else tab.react(seq, `r${at % 2}`, (one.reactions.set(`r${at % 2}`, at > 2), at > 2));
          await settled();
        } else if (kind === "rewrite" || kind === "takeBack") {
          const waiting = tab.outbox.entries.filter((entry) => entry.kind === "send" && entry.then !== "remove");
          const entry = waiting[at % Math.max(1, waiting.length)];
          if (!entry) continue;
          if (kind === "rewrite") tab.outbox.rewrite(entry.key, { body: (wanted.get(entry.key).body = `rewritten ${(count += 1)}`), metadata: null });
          else tab.outbox.takeBack(entry.key, (wanted.get(entry.key).gone = true));
          await settled();
        } else if (kind === "connect" || kind === "lose") tab[kind]();
        else if (kind === "settle") await settled();
        else if (kind === "reload") {
          await settled();
          tab.close();
          tabs[n] = new Tab(server, storage, clock);
          await settled();
        } else server.failures.push({ error: error("timeout", { retryable: true }), after: kind === "failAfter" });
      }
      server.failures = [];
      await settled();
      tabs[0].connect();
      for (let i = 0; i < 20; i += 1) await clock.pass(1_000);
      const shown = stored().map(({ idempotencyKey, body, reactions = [] }) => [idempotencyKey, body, [...reactions].sort()]);
      const expected = [...wanted.values()].filter(({ gone }) => !gone);
      const on = ({ reactions }) => [...reactions].filter(([, isOn]) => isOn).map(([reaction]) => reaction).sort();
      assert.deepEqual(shown.sort(), expected.map((each) => [each.key, each.body, on(each)]).sort());
      assert.deepEqual([tabs[0].waiting, tabs[1].waiting], [[], []]);
      assert.deepEqual(await storage.entries(""), []);
    }),
    { numRuns: 150 },
  );
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
