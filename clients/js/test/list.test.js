// The list: its order, what is unread, and who is there, whatever overtakes what.
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { cut, NO_LIST, reduceList } from "../src/list.js";
import { message } from "./kit.js";

const ME = "ana";
const ids = ["a", "b", "c"];

class Server {
  talks = new Map(ids.map((id, i) => [id, { id, lastSeq: 0, readSeq: 0, activityAt: i, lastMessage: null }]));
  time = 10;

  send(id, senderId) {
    const talk = this.talks.get(id);
    talk.lastSeq += 1;
    talk.activityAt = ++this.time;
    talk.lastMessage = message(talk.lastSeq, { conversationId: id, senderId, body: `${id}${talk.lastSeq} ${this.time}`, createdAt: this.time });
    if (senderId === ME) talk.readSeq = talk.lastSeq;
    return { type: "news", conversationId: id, seq: talk.lastSeq, senderId, text: talk.lastMessage.body, at: this.time };
  }

  read(id) {
    const talk = this.talks.get(id);
    talk.readSeq = talk.lastSeq;
    return { type: "read", conversationId: id, readSeq: talk.readSeq };
  }

  restore() {
    for (const talk of this.talks.values()) {
      talk.lastSeq = Math.floor(talk.lastSeq / 2);
      talk.readSeq = Math.min(talk.readSeq, talk.lastSeq);
      talk.lastMessage &&= message(talk.lastSeq, { body: `old ${talk.lastSeq}` });
    }
  }

  page() {
    const fixed = { kind: "direct", title: null, participantIds: [ME, "ben"], participantCount: 2, createdBy: ME, createdAt: 0 };
    const conversations = [...this.talks.values()].map((talk) => ({ ...fixed, ...talk, change: talk.lastSeq, unreadCount: talk.lastSeq - talk.readSeq }));
    const presence = [{ userId: "ben", online: true, lastSeenAt: null }];
    return { type: "page", page: { conversations, presence, hasMore: false, nextBefore: null }, further: false, whole: true };
  }
}

test("after any history the list that was read again is the server's", () => {
  const step = fc.record({
    kind: fc.constantFrom("send", "send", "send", "read", "ask", "answer", "lose", "restore"),
    id: fc.constantFrom(...ids),
    by: fc.constantFrom("ana", "ben"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const server = new Server();
      let state = reduceList(reduceList(NO_LIST, { type: "known", me: ME }), { type: "connected" });
      let answer = server.page();
      for (const { kind, id, by } of steps) {
        if (kind === "send") state = reduceList(state, server.send(id, by));
        else if (kind === "read") state = reduceList(state, server.read(id));
        else if (kind === "ask") answer = server.page();
        else if (kind === "answer") state = reduceList(state, answer); // older than events that overtook it
        else {
          if (kind === "restore") server.restore();
          state = reduceList(reduceList(state, { type: "lost" }), { type: "connected" });
          answer = server.page();
          // As docs/protocol.md says, another past shows in the first answer, as long as it is shorter.
          if (kind === "restore") state = reduceList(state, answer);
        }
        assert.ok(state.items.every(({ unreadCount }) => unreadCount >= 0));
      }
      state = reduceList(reduceList(state, { type: "lost" }), { type: "connected" });
      state = reduceList(state, server.page());
      for (const item of state.items) {
        const talk = server.talks.get(item.id);
        assert.deepEqual([item.lastSeq, item.readSeq, item.unreadCount], [talk.lastSeq, talk.readSeq, talk.lastSeq - talk.readSeq]);
        assert.equal(item.preview?.text, talk.lastMessage?.body);
      }
      const order = [...server.talks.values()].sort((a, b) => b.activityAt - a.activityAt).map(({ id }) => id);
      assert.deepEqual(state.items.map(({ id }) => id), order);
    }),
    { numRuns: 500 },
  );
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

test("nobody is online without a connection, nor because of a name that every object has", () => {
  const server = new Server();
  let state = reduceList(NO_LIST, server.page());
  assert.ok(state.items.every(({ online }) => online));
  state = reduceList(state, { type: "lost" });
  assert.ok(state.items.every(({ online }) => !online));
  const participantIds = ["ana", "constructor"];
  const conversation = { id: "d", kind: "direct", title: null, participantIds, participantCount: 2, createdBy: ME, createdAt: 0 };
  state = reduceList(state, { type: "created", conversation });
  assert.ok(state.items.every(({ online }) => !online));
});

test("a preview ends with a whole character", () => {
  for (const first of ["", "a"]) assert.equal(cut(first + "😀".repeat(200)), first + "😀".repeat(120 - first.length));
});
