// The list: its order, what is unread, and who is there, whatever overtakes what.
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { cut, NO_LIST, reduceList } from "../src/list.js";
import { message } from "./kit.js";

const ME = "ana";
const ids = ["a", "b", "c"];

const conversation = (id) => ({ id, kind: "direct", title: null, participantIds: [ME, "ben"], participantCount: 2, createdBy: ME, createdAt: 0 });
const settings = { muted: false, pinned: false, archived: false, markedUnread: false };

class Server {
  talks = new Map(ids.map((id, i) => [id, { id, messages: [], readSeq: 0, activityAt: i, settings }]));
  time = 10;
  changes = 0;

  send(id, senderId, mentions) {
    const talk = this.talks.get(id);
    const seq = talk.messages.length + 1;
    this.changes += 1;
    talk.activityAt = ++this.time;
    const body = `${id}${seq} ${this.time}`;
    talk.messages.push(message(seq, { conversationId: id, senderId, body, createdAt: this.time, ...(mentions && { mentions }) }));
    if (senderId === ME) talk.readSeq = seq;
    return { type: "news", conversationId: id, seq, senderId, text: body, at: this.time, mentions };
  }

  /** An edit of a message, or its deletion, as those hear of it who have not joined. */
  change(id, at, body) {
    const talk = this.talks.get(id);
    const known = talk.messages[at];
    if (!known || known.deletedAt) return null;
    const before = this.newest(talk);
    this.changes += 1;
    const { mentions, ...rest } = known;
    const change = body ? { body: `${known.body}!`, mentions: mentions ? undefined : [ME] } : { body: "", deletedAt: 1 };
    talk.messages[at] = { ...rest, ...change };
    const now = this.newest(talk);
    return {
      type: "updated",
      counts: true,
      event: {
        conversation: conversation(id),
        change: this.changes,
        ...(now !== before && { lastMessage: now }),
        ...(!body && { uncountedSeq: known.seq }),
        ...((body || mentions) && { mentions: { seq: known.seq, added: mentions ? [] : [ME], removed: mentions ? [ME] : [] } }),
      },
    };
  }

  settle(id, change) {
    const talk = this.talks.get(id);
    talk.settings = { ...talk.settings, ...change };
    return { type: "settings", event: { conversationId: id, settings: talk.settings } };
  }

  newest(talk) {
    return talk.messages.filter(({ deletedAt }) => !deletedAt).at(-1) ?? null;
  }

  unread(talk) {
    return talk.messages.filter(({ seq, deletedAt }) => seq > talk.readSeq && !deletedAt);
  }

  mentions(talk) {
    return this.unread(talk).filter(({ mentions }) => mentions?.includes(ME)).length;
  }

  read(id) {
    const talk = this.talks.get(id);
    talk.readSeq = talk.messages.length;
    return { type: "read", conversationId: id, readSeq: talk.readSeq };
  }

  restore() {
    this.changes = Math.floor(this.changes / 2);
    for (const talk of this.talks.values()) {
      talk.messages = talk.messages.slice(0, talk.messages.length / 2).map((each) => ({ ...each, body: each.body && `old ${each.seq}` }));
      talk.readSeq = Math.min(talk.readSeq, talk.messages.length);
    }
  }

  page() {
    const conversations = [...this.talks.values()].map((talk) => ({
      ...conversation(talk.id),
      ...{ lastSeq: talk.messages.length, readSeq: talk.readSeq, activityAt: talk.activityAt, settings: talk.settings, change: this.changes },
      ...{ lastMessage: this.newest(talk), unreadCount: this.unread(talk).length, unreadMentions: this.mentions(talk) },
    }));
    const presence = [{ userId: "ben", online: true, lastSeenAt: null }];
    return { type: "page", page: { conversations, presence, hasMore: false, nextBefore: null }, further: false, whole: true };
  }
}

/** It shows what the server has. */
function check(state, server) {
  for (const item of state.all) {
    const talk = server.talks.get(item.id);
    const unread = server.unread(talk).length;
    assert.deepEqual([item.lastSeq, item.readSeq, item.unreadCount, item.unreadMentions], [talk.messages.length, talk.readSeq, unread, server.mentions(talk)]);
    assert.equal(item.preview?.text, server.newest(talk)?.body);
    assert.deepEqual(item.settings, talk.settings);
  }
  const talks = [...server.talks.values()].sort((a, b) => b.activityAt - a.activityAt);
  const pinned = (wanted) => talks.filter(({ settings: { pinned, archived } }) => !archived && pinned === wanted);
  assert.deepEqual(state.items.map(({ id }) => id), [...pinned(true), ...pinned(false)].map(({ id }) => id));
  assert.deepEqual(state.archived.map(({ id }) => id), talks.filter(({ settings }) => settings.archived).map(({ id }) => id));
  const loud = talks.filter(({ settings: { muted, archived } }) => !muted && !archived);
  const total = loud.reduce((sum, talk) => sum + (server.unread(talk).length || Number(talk.settings.markedUnread)), 0);
  assert.equal(state.unreadTotal, total);
}

test("after any history the list that was read again is the server's; until events are overtaken it is so without", () => {
  const step = fc.record({
    kind: fc.constantFrom("send", "send", "send", "edit", "remove", "read", "settle", "ask", "answer", "hold", "lose", "restore"),
    id: fc.constantFrom(...ids),
    by: fc.constantFrom("ana", "ben"),
    mention: fc.boolean(),
    at: fc.nat(6),
    change: fc.record({ muted: fc.boolean(), pinned: fc.boolean(), archived: fc.boolean(), markedUnread: fc.boolean() }, { requiredKeys: [] }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const server = new Server();
      let state = reduceList(reduceList(NO_LIST, { type: "known", me: ME }), { type: "connected" });
      state = reduceList(state, server.page());
      let answer = server.page();
      let exact = true;
      let late = null; // events that come just behind an answer which has counted them
      const take = (action) => action && (state = reduceList(state, action));
      const hear = (action) => (late && action?.type !== "page" ? late.push(action) : take(action));
      for (const { kind, id, by, mention, at, change } of steps) {
        if (kind === "send") hear(server.send(id, by, mention ? [ME] : undefined));
        else if (kind === "edit" || kind === "remove") hear(server.change(id, at, kind === "edit"));
        else if (kind === "read") hear(server.read(id));
        else if (kind === "settle") hear(server.settle(id, change));
        else if (kind === "ask") answer = server.page();
        else if (kind === "hold") late ??= [];
        else if (kind === "answer") {
          if (late) answer = server.page();
          hear(answer); // older than events that overtook it
          exact = JSON.stringify(answer) === JSON.stringify(server.page());
          late?.forEach(take);
          late = null;
        } else {
          if (kind === "restore") server.restore();
          late = null;
          hear({ type: "lost" });
          hear({ type: "connected" });
          answer = server.page();
          // As docs/protocol.md says, another past shows in the first answer, as long as it is shorter.
          hear(answer);
          exact = true;
        }
        assert.ok(state.all.every(({ unreadCount }) => unreadCount >= 0));
        if (exact && !late) check(state, server);
      }
      late = null;
      hear({ type: "lost" });
      hear({ type: "connected" });
      hear(server.page());
      check(state, server);
    }),
    { numRuns: 1_000 },
  );
});

test("a deletion was subtracted twice, and an older preview shown, when the list that had it already came just before the event", () => {
  const server = new Server();
  for (let i = 0; i < 3; i += 1) server.send("a", "ben");
  let state = reduceList(NO_LIST, server.page());
  const late = [server.change("a", 2, true), server.change("a", 1, false), server.send("a", "ben")];
  state = reduceList(state, server.page());
  for (const event of late) state = reduceList(state, event);
  check(state, server);
  state = reduceList(state, server.change("a", 0, false));
  check(state, server);
});

test("what happens comes first, also where the server's clock was set back", () => {
  const server = new Server();
  let state = reduceList(NO_LIST, server.page());
  for (let i = 0; i < 2; i += 1) state = reduceList(state, server.send("a", "ben"));
  server.time = -100;
  state = reduceList(state, server.send("b", "ben"));
  assert.equal(state.items[0].id, "b");
});

test("nothing is unread of what the user looks at, and what changes nothing gives the same list", () => {
  const server = new Server();
  server.send("a", "ben");
  let state = reduceList(NO_LIST, server.page());
  assert.equal(state.unreadTotal, 1);
  state = reduceList(state, { type: "looking", ids: new Set(["a"]) });
  assert.equal(state.unreadTotal, 0);
  assert.equal(reduceList(state, { type: "read", conversationId: "a", readSeq: 0 }), state);
  assert.equal(reduceList(state, { type: "read", conversationId: "unknown", readSeq: 3 }), state);
});

test("the number of unread conversations is the server's, of those too that are not loaded", () => {
  const server = new Server();
  for (const id of ids) server.send(id, "ben");
  const all = server.page();
  const only = (from, to, more) => ({ ...all, page: { ...all.page, conversations: all.page.conversations.slice(from, to), ...more }, whole: false });
  let state = reduceList(NO_LIST, only(0, 1, { unreadConversations: 3, nextBefore: "b", hasMore: true }));
  assert.equal(state.unreadConversations, 3);
  state = reduceList(state, { type: "looking", ids: new Set(["a"]) });
  assert.equal(state.unreadConversations, 2);
  state = reduceList(state, { ...only(1, 2, { nextBefore: "c", hasMore: true }), further: true });
  assert.equal(state.unreadConversations, 2);
  state = reduceList(state, server.read("b"));
  assert.equal(state.unreadConversations, 1);
  state = reduceList(state, { ...only(2, 3), further: true });
  assert.deepEqual([state.unreadConversations, state.unreadBeyond], [1, 0]);
  state = reduceList(state, server.read("c"));
  assert.equal(state.unreadConversations, 0);
});

test("a message of the server's own moves a conversation up and counts as no unread one; who is removed has it no more", () => {
  const server = new Server();
  let state = reduceList(NO_LIST, server.page());
  state = reduceList(state, { ...server.send("a", "ben"), text: null });
  assert.deepEqual([state.items[0].id, state.items[0].unreadCount, state.items[0].preview, state.items[0].lastSeq], ["a", 0, null, 1]);
  state = reduceList(state, { type: "updated", counts: true, event: { conversation: { ...conversation("b"), title: "New" }, activityAt: 99 } });
  assert.deepEqual([state.items[0].title, state.items[0].unreadCount], ["New", 0]);
  server.send("a", "ben"); // nobody tells of one of the server's own in a conversation that is not open
  state = reduceList(state, server.send("a", "ben"));
  assert.deepEqual([state.items[0].id, state.items[0].unreadCount, state.items[0].lastSeq], ["a", 1, 3]);
  state = reduceList(state, { type: "removed", conversationId: "a" });
  assert.deepEqual(state.items.map(({ id }) => id), ["b", "c"]);
});

test("nobody is online without a connection, nor because of a name that every object has", () => {
  const server = new Server();
  let state = reduceList(NO_LIST, server.page());
  assert.ok(state.items.every(({ online }) => online));
  state = reduceList(state, { type: "lost" });
  assert.ok(state.items.every(({ online }) => !online));
  const participantIds = ["ana", "constructor"];
  state = reduceList(state, { type: "created", conversation: { ...conversation("d"), participantIds } });
  assert.ok(state.items.every(({ online }) => !online));
});

test("a preview ends with a whole character", () => {
  for (const first of ["", "a"]) assert.equal(cut(first + "😀".repeat(200)), first + "😀".repeat(120 - first.length));
});
