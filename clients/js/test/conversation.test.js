// The reducer: whatever comes, in whatever order, in the end it has what the server has.
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { catchesUp, EMPTY, isBehind, missingQuotes, MOST_MESSAGES, newestHole, reduce, toKeep } from "../src/conversation.js";
import { message, SimulatedServer } from "./kit.js";

const ME = "ana";

/** A client that follows the rules of room.js on a server that is a value. */
class Client {
  state = reduce(EMPTY, { type: "known", me: ME });
  connected = false;
  /** Events and answers on their way, in the order in which they will come. */
  wire = [];
  /** What the server has read and not answered yet: events may overtake it. */
  answers = [];
  /** A live event was lost. */
  missed = false;
  /** The server has another database since, and its first answer is out: as docs/protocol.md says, only that one tells of it. */
  restored = null;

  constructor(server) {
    this.server = server;
  }

  apply(action) {
    const before = this.state;
    const frozen = JSON.stringify(before);
    this.state = reduce(before, action);
    assert.equal(JSON.stringify(before), frozen, "a state was changed in place");
    const seqs = this.state.messages.map(({ seq }) => seq);
    assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b), "out of order, or twice");
    assert.ok(this.state.lastSeq >= (seqs.at(-1) ?? 0));
    assert.ok(this.state.unreadCount >= 0);
    for (const known of before.messages) {
      const now = this.state.messages.find(({ seq }) => seq === known.seq);
      if (action.type !== "joined" && now) assert.ok(now.change >= known.change, "an older state of a message");
      if (now?.change === known.change && action.type !== "joined") assert.equal(now, known, "another object for the same message");
    }
  }

  lose() {
    this.connected = false;
    this.wire = [];
    this.answers = [];
    this.asked = null;
    this.missed = false;
    this.apply({ type: "lost" });
  }

  connect() {
    if (this.connected) return;
    this.connected = true;
    this.entered = false;
    this.ask();
  }

  /** The request reaches the server, which reads now what it will answer with; events may come in between. */
  ask(limit = 3) {
    if (this.asked || !this.connected) return;
    this.entered = true;
    this.missed = false; // what was lost before is in the answer
    const after = this.state.cursor;
    this.asked = { type: "joined", ack: this.server.join({ after, limit, userId: ME }), after };
    this.answers.push(this.asked);
  }

  answer() {
    this.wire.push(...this.answers.splice(0, 1));
  }

  hear(event) {
    if (this.connected && this.entered) this.wire.push(event);
  }

  tell(message) {
    this.hear({ type: "message", message });
  }

  /** One of the next things on the wire comes; events may overtake each other by one place, answers do not. */
  receive(swap = false) {
    if (swap && this.wire[0]?.type === "message" && this.wire[1]?.type === "message") this.wire.unshift(...this.wire.splice(1, 1));
    const next = this.wire.shift();
    if (!next) return false;
    if (next.type === "joined") this.asked = this.restored = null;
    this.apply(next);
    return true;
  }

  /** What a room asks for when it sees that something is missing, each once. */
  look(older = false) {
    if (!this.state.joined) return;
    const { cursor, messages } = this.state;
    const ask = (type, answer) => this.under(type) || this.answers.push({ type, ...answer() });
    if (catchesUp(this.state)) ask("changes", () => ({ page: this.server.changes({ after: cursor, limit: 4 }) }));
    else if (isBehind(this.state)) this.ask();
    const hole = older ? { beforeSeq: messages[0]?.seq ?? 1 } : newestHole({ messages });
    if (hole) ask("history", () => ({ messages: this.server.history({ beforeSeq: hole.beforeSeq, limit: 4 }) }));
    const seqs = missingQuotes(this.state);
    if (seqs.length > 0) ask("quotes", () => ({ messages: this.server.some(seqs) }));
  }

  /** Whether such an answer is under way. */
  under(wanted) {
    return [...this.answers, ...this.wire].some(({ type }) => type === wanted);
  }

  get complete() {
    const { state } = this;
    return state.joined && !isBehind(state) && !catchesUp(state) && !newestHole(state) && missingQuotes(state).length === 0;
  }

  settle() {
    const rest = () => {
      while (this.answers.length > 0) this.answer();
      while (this.receive());
    };
    this.connect();
    rest();
    this.tell(this.server.send("ben")); // the next one tells that one was lost
    rest();
    for (let i = 0; !this.complete; i += 1) {
      assert.ok(i < 60, "asking again did not help");
      this.look();
      rest();
    }
  }

  /** It has what the server has. */
  check() {
    const { state, server } = this;
    const first = state.messages[0]?.seq ?? 1;
    assert.deepEqual(state.messages, server.messages.filter(({ seq }) => seq >= first));
    assert.equal(state.messages.at(-1)?.seq ?? 0, server.messages.length, "the newest are missing");
    assert.equal(state.hasOlder, first > 1);
    assert.equal(state.cursor, server.newestChange);
    assert.equal(state.lastSeq, server.messages.length);
    assert.equal(state.readSeq, server.reads.get(ME) ?? 0);
    assert.equal(state.unreadCount, state.visible ? 0 : server.unread(ME), "unread");
    assert.equal(state.unreadMentions, server.mentions(ME), "mentions");
    const people = state.participants.map(({ userId, role }) => [userId, role]);
    assert.deepEqual(people.sort(), [...server.roles].sort(), "people");
    assert.equal(state.role, server.roles.get(ME));
    for (const { userId, readSeq } of state.participants.filter(({ userId }) => !state.people.has(userId))) assert.equal(readSeq, server.reads.get(userId) ?? 0, userId);
    for (const { replyTo } of state.messages) {
      if (replyTo !== undefined) assert.deepEqual(state.quoted.get(replyTo), server.messages[replyTo - 1], "a quote");
    }
  }
}

const who = fc.constantFrom("ana", "ben", "cem");
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("send"), by: who, replyTo: fc.option(fc.nat(30)), mentions: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("edit", "remove"), at: fc.nat(30) }) },
  { weight: 16, arbitrary: fc.record({ kind: fc.constant("receive"), swap: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("connect", "answer", "answer", "look") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("drop", "repeat", "join", "lose", "older", "reload", "visible") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("read"), by: fc.constantFrom("ana", "ben", "ben", "cem"), at: fc.nat(15) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restore"), to: fc.nat(20) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("people"), user: fc.constantFrom("cem", "dan"), role: fc.constantFrom("admin", "member", null), first: fc.boolean() }) },
);

function act(client, server, { kind, ...how }) {
  const count = server.messages.length;
  if (kind === "send") {
    const replyTo = how.replyTo !== null && count > 0 && { replyTo: 1 + (how.replyTo % count) };
    client.tell(server.send(how.by, { ...replyTo, ...(how.mentions && { mentions: [ME] }) }));
  } else if ((kind === "edit" || kind === "remove") && count > 0) {
    client.tell(server[kind](1 + (how.at % count)));
  } else if (kind === "people") {
    const [system, event] = server.people(how.user, how.role) ?? [];
    if (!event) return;
    if (how.first) client.hear({ type: "people", event });
    client.tell(system);
    if (!how.first) client.hear({ type: "people", event });
  } else if (kind === "receive") client.receive(how.swap);
  else if (kind === "drop" && client.wire[0]?.type === "message") client.missed = Boolean(client.wire.shift());
  else if (kind === "repeat" && client.wire[0]?.type === "message") client.wire.unshift(client.wire[0]);
  else if (client.restored && (kind === "lose" || kind === "reload")) client.answer();
  else if (kind === "lose") client.lose();
  else if (kind === "connect") client.connect();
  else if (kind === "join") client.ask();
  else if (kind === "answer") client.answer();
  else if (kind === "look") client.look();
  else if (kind === "visible") client.apply({ type: "visible", visible: !client.state.visible });
  else if (kind === "older") client.look(true);
  else if (kind === "reload") {
    const kept = toKeep(client.state);
    client.lose();
    client.state = reduce(EMPTY, { type: "known", me: ME, kept: kept && JSON.parse(JSON.stringify(kept)) });
  } else if (kind === "read") {
    client.hear({ type: "read", event: server.read(how.by, how.at) });
  } else if (kind === "restore" && !client.restored && how.to < (client.state.cursor ?? 0)) {
    // Only a server that starts has another database, and nothing of what it has told is still under way.
    client.lose();
    server.restore(how.to);
    client.restored = true;
    client.connect();
  }
}

test("after any history a client that has joined has what the server has; in between too, when nothing is under way", () => {
  fc.assert(
    fc.property(fc.nat(12), fc.array(step, { minLength: 10, maxLength: 100, size: "max" }), (before, steps) => {
      const server = new SimulatedServer(["ana", "ben", "cem"]);
      for (let i = 0; i < before; i += 1) server.send("ben", { ...(i > 3 && { replyTo: i - 2 }), ...(i % 3 === 0 && { mentions: [ME] }) });
      const client = new Client(server);
      for (const each of steps) {
        act(client, server, each);
        if (client.complete && client.wire.length + client.answers.length === 0 && !client.missed) client.check();
      }
      client.settle();
      client.check();
    }),
    { numRuns: 1_500 },
  );
});

/** @returns a state with messages 1 to `count`, joined */
function joined(count, more = {}) {
  const server = new SimulatedServer(["ana", "ben"]);
  for (let i = 0; i < count; i += 1) server.send("ben");
  const ack = server.join({ after: null, limit: 200, userId: ME });
  const state = reduce(EMPTY, { type: "known", me: ME });
  return { server, state: reduce(state, { type: "joined", ack: { ...ack, ...more }, after: null }) };
}

test("an answer is no news: what its rest brings page by page is in its counts already", () => {
  const server = new SimulatedServer(["ana", "ben"]);
  for (let i = 0; i < 9; i += 1) server.send("ben", { mentions: [ME] });
  let state = reduce(EMPTY, { type: "known", me: ME });
  state = reduce(state, { type: "joined", ack: server.join({ after: null, limit: 5, userId: ME }), after: null });
  for (let seq = 1; seq <= 9; seq += 1) server.remove(seq);
  server.send("ben");
  state = reduce(state, { type: "joined", ack: server.join({ after: 9, limit: 5, userId: ME }), after: 9 });
  assert.ok(catchesUp(state));
  assert.deepEqual([state.unreadCount, state.unreadMentions], [1, 0]);
  state = reduce(state, { type: "changes", page: server.changes({ after: state.cursor, limit: 9 }) });
  assert.deepEqual([state.unreadCount, state.unreadMentions, state.unsure, state.cursor], [1, 0, false, 19]);
});

test("a quote that may be older than what an answer left out is fetched again", () => {
  const server = new SimulatedServer(["ana", "ben"]);
  server.send("ben");
  let state = reduce(EMPTY, { type: "known", me: ME });
  const first = server.join({ after: null, limit: 2, userId: ME });
  state = reduce(state, { type: "joined", ack: first, after: null });
  server.send("ben"); // its event is lost
  for (let i = 0; i < 2; i += 1) state = reduce(state, { type: "message", message: server.send("ben", { replyTo: 3 }) });
  assert.equal(state.quoted.get(3).seq, 3);
  server.edit(3); // and so is that
  for (let i = 0; i < 3; i += 1) server.send("ben");
  state = reduce(state, { type: "joined", ack: server.join({ after: 1, limit: 2, userId: ME }), after: 1 });
  assert.deepEqual(missingQuotes(state), [3]);
});

test("a read mark that has moved further than the answer knows leaves the counts unsure", () => {
  const { server, state } = joined(9);
  const ack = { ...server.join({ after: 9, limit: 2, userId: ME }), readSeq: 0 };
  const few = { ...state, messages: state.messages.slice(-2) };
  const read = reduce(few, { type: "read", event: { userId: ME, readSeq: 4, readAt: null } });
  const next = reduce(read, { type: "joined", ack, after: 9 });
  assert.deepEqual([next.readSeq, isBehind(next)], [4, true]);
});

test("where not all that is unread is loaded, a mark or a change in the rest leaves the counts unsure; what is loaded does not", () => {
  const { server, state } = joined(9);
  const few = { ...state, messages: state.messages.slice(-2) };
  assert.ok(isBehind(reduce(few, { type: "read", event: { userId: ME, readSeq: 4, readAt: null } })));
  assert.ok(!isBehind(reduce(few, { type: "read", event: { userId: ME, readSeq: 8, readAt: null } })));
  const changed = (seq) => reduce(few, { type: "message", message: server.remove(seq) });
  assert.deepEqual([isBehind(changed(2)), isBehind({ ...changed(9), ahead: [] }), changed(8).unreadCount], [true, false, 8]);
});

test("what changes nothing gives the same state", () => {
  const { state } = joined(3);
  const again = [
    { type: "message", message: state.messages[1] },
    { type: "read", event: { userId: "ben", readSeq: 1, readAt: 1 } },
    { type: "presence", event: { userId: "nobody", online: true, lastSeenAt: null } },
    { type: "typing", event: { conversationId: "c", userId: "ben", typing: false } },
    { type: "visible", visible: false },
    { type: "history", messages: state.messages },
  ];
  for (const action of again) assert.equal(reduce(state, action), state, action.type);
});

test("a message that comes late shows at once, and makes the conversation ask for what is missing", () => {
  const { state } = joined(2);
  const ahead = reduce(state, { type: "message", message: message(4) });
  assert.deepEqual(ahead.messages.map(({ seq }) => seq), [1, 2, 4]);
  assert.equal(ahead.cursor, 2);
  assert.ok(isBehind(ahead));
  const whole = reduce(ahead, { type: "message", message: message(3) });
  assert.equal(whole.cursor, 4);
  assert.ok(!isBehind(whole));
});

test("an older state of a message does not undo a newer one", () => {
  const { state } = joined(3);
  const newer = { ...state.messages[1], change: 4, body: "changed" };
  const changed = reduce(state, { type: "message", message: newer });
  assert.equal(changed.messages[1].body, "changed");
  assert.equal(changed.cursor, 4);
  const again = reduce(changed, { type: "history", messages: [state.messages[1]] });
  assert.equal(again.messages[1].body, "changed");
});

test("a restored backup begins anew, with what came before its answer", () => {
  const { state, server } = joined(9);
  const lost = reduce(state, { type: "lost" });
  server.restore(4);
  const ack = server.join({ after: 9, limit: 50, userId: ME });
  const early = server.send("ben"); // stored while the answer was on its way, and heard before it
  const next = reduce(reduce(lost, { type: "message", message: early }), { type: "joined", ack, after: 9 });
  assert.deepEqual(next.messages.map(({ body }) => body), server.messages.map(({ body }) => body));
  assert.equal(next.cursor, 5);
});

test("what came before the first answer is forgotten with its connection: the next one may be of another past", () => {
  const state = reduce(reduce(EMPTY, { type: "known", me: ME }), { type: "message", message: message(3) });
  assert.deepEqual(reduce(state, { type: "lost" }).messages, []);
});

test("sending counts as reading, and ends one's typing", () => {
  const { state } = joined(2, { typing: ["ben"] });
  assert.deepEqual(state.typing, ["ben"]);
  const next = reduce(state, { type: "message", message: message(3, { senderId: "ben" }) });
  assert.deepEqual(next.typing, []);
  assert.equal(next.participants.find(({ userId }) => userId === "ben")?.readSeq, 3);
  const mine = reduce(next, { type: "message", message: message(4, { senderId: ME }) });
  assert.equal(mine.unreadCount, 0);
});

test("nothing is unread of what the user looks at", () => {
  const { state } = joined(2);
  assert.equal(state.unreadCount, 2);
  assert.equal(reduce(state, { type: "visible", visible: true }).unreadCount, 0);
});

test("a name that every object has is a name", () => {
  const { state } = joined(2);
  for (const userId of ["constructor", "__proto__"]) {
    const more = { userId, readSeq: 0, readAt: null, online: false, lastSeenAt: null };
    const next = reduce(state, { type: "participants", participants: [more] });
    assert.equal(next.participants.find((each) => each.userId === userId)?.readSeq, 0);
  }
});

test("nobody is online, and nobody types, without a connection", () => {
  const { state } = joined(2, { typing: ["ben"] });
  const lost = reduce(state, { type: "lost" });
  assert.deepEqual(lost.typing, []);
  assert.ok(lost.participants.every(({ online }) => !online));
  assert.equal(lost.joined, false);
});

test("who is removed keeps nothing of the conversation but its name and why, also without a connection; who is added again has it", () => {
  const { server, state } = joined(3);
  const removed = reduce(state, { type: "removed", reason: "removed" });
  for (const each of [removed, reduce(removed, { type: "lost" })]) {
    assert.deepEqual([each.removed, each.messages, each.participants, each.lastSeq, each.joined], ["removed", [], [], 0, false]);
    assert.equal(each.conversation.title, "C");
  }
  assert.equal(toKeep(removed), null);
  const again = reduce(removed, { type: "joined", ack: { ...server.join({ after: null, limit: 50, userId: ME }), firstSeq: 3 }, after: null });
  assert.deepEqual([again.removed, again.firstSeq, again.messages.length], [null, 3, 3]);
});

test("a role is one's own and everybody's, and what came out of order counts by its number", () => {
  const { state } = joined(1);
  const people = (change, more) => ({ type: "people", event: { change, added: [], removed: [], roles: [], ...more } });
  const roleOf = (of, user) => of.participants.find(({ userId }) => userId === user)?.role;
  let next = reduce(state, people(3, { roles: [{ userId: ME, role: "admin" }] }));
  assert.deepEqual([next.role, roleOf(next, ME)], ["admin", "admin"]);
  next = reduce(next, people(2, { roles: [{ userId: ME, role: "member" }], removed: ["ben"], added: [{ userId: "dan", role: "member" }] }));
  assert.deepEqual([next.role, roleOf(next, "ben"), roleOf(next, "dan")], ["admin", undefined, "member"]);
  next = reduce(next, { type: "participants", participants: [{ userId: "ben", role: "member", readSeq: 0, readAt: null, online: true, lastSeenAt: null }] });
  assert.equal(roleOf(next, "ben"), undefined, "a page that is older than the event");
});

test("nothing before the first message that one may see is older", () => {
  const { state } = joined(60, { firstSeq: 11 });
  assert.equal(state.hasOlder, false);
  assert.equal(joined(60, { firstSeq: 1, messages: state.messages.slice(10) }).state.hasOlder, true);
});

test("so many messages at the most", () => {
  let { state } = joined(1);
  for (let seq = 2; seq <= MOST_MESSAGES + 5; seq += 1) state = reduce(state, { type: "message", message: message(seq) });
  assert.equal(state.messages.length, MOST_MESSAGES);
  assert.equal(state.messages[0].seq, 6);
  assert.ok(state.hasOlder);
});
