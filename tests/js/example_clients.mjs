// What the client of the demo page does where the network is slow or the server has changed; see test_example_clients.py.
// Usage: node example_clients.mjs SCENE. A scene has a socket of its own making, and fails by throwing.
import assert from "node:assert/strict";
import { ChatClient } from "../../examples/demo/chat-client.js";

/**
 * Stands for socket.io-client and the server behind it: `answers` has a function per event, which may be late, and
 * `behind` what comes in the same packet as its ack, as [event, payload].
 */
class FakeSocket {
  active = true;
  connected = false;
  id = "none";
  #listeners = new Map();
  #managed = new Map();
  #connections = 0;

  constructor(answers = {}) {
    this.answers = answers;
    this.behind = {};
    this.io = { on: (event, act) => this.#managed.set(event, act), reconnectionAttempts: () => 3, reconnectionDelay: () => 1, reconnectionDelayMax: () => 1 };
    this.make = (_, options) => {
      this.auth = options.auth;
      return this;
    };
  }

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  off() {}

  tell(event, payload) {
    for (const listener of this.#listeners.get(event) ?? []) listener(payload);
  }

  connect() {
    this.connected = true;
    this.id = `s${++this.#connections}`;
    this.tell("connect");
  }

  lose() {
    this.connected = false;
    this.#managed.get("close")?.();
    this.tell("disconnect", "transport close");
  }

  disconnect() {
    this.connected = false;
  }

  timeout() {
    return { emit: (event, payload, taken) => void this.#answer(event, payload, taken) };
  }

  async #answer(event, payload, taken) {
    let answer;
    try {
      answer = { ok: true, ...(await this.answers[event]?.(payload)) };
    } catch (error) {
      return taken(error);
    }
    taken(null, answer);
    await null; // socket.io-client takes what one packet brings in a microtask each
    for (const [name, value] of this.behind[event] ?? []) this.tell(name, value);
  }
}

/** Let everything happen that waits for nothing else. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

const later = () => {
  let settle;
  const promise = new Promise((resolve, reject) => (settle = { resolve, reject }));
  return { promise, ...settle };
};

/** What a scene of sending looks at: the outbox as [body, failure]. */
function sender(socket) {
  const chat = demo(socket);
  const failure = ({ state, error }) => (state === "failed" ? error.message : null);
  const waiting = () => chat.outboxOf("c").map((entry) => [entry.body, failure(entry)]);
  return { send: (body) => chat.send("c", body), waiting, connect: () => chat.connect(), close: () => chat.close() };
}

const message = (seq, body = `m${seq}`) => ({
  ...{ id: `i${seq}`, conversationId: "c", seq, change: seq, senderId: "bob", idempotencyKey: `k${seq}`, body },
  ...{ metadata: null, createdAt: seq },
});

const messages = (from, to, body) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => message(from + i, body && `${body}${from + i}`));

const PARTICIPANTS = ["alice", "bob"].map((userId) => ({ userId, readSeq: 0, readAt: null, online: true, lastSeenAt: null }));
const CONVERSATION = { id: "c", kind: "direct", title: null, participantCount: 2, participantIds: ["alice", "bob"], createdAt: 0 };

const demo = (socket, init) =>
  new ChatClient({ io: socket.make, user: { id: "alice", name: "Alice" }, token: "first", ...init });

const ack = (shown) => ({
  ...{ conversation: CONVERSATION, participants: PARTICIPANTS, messages: shown },
  ...{ change: shown.at(-1).seq, lastSeq: shown.at(-1).seq, readSeq: 0, typing: [] },
});

const list = (newest, readSeq = 0) => ({
  ...{ presence: [], hasMore: false, nextBefore: null },
  conversations: [{ ...CONVERSATION, lastMessage: newest, lastSeq: newest.seq, readSeq, activityAt: newest.createdAt }],
});

const scenes = {
  async "slow-token"() {
    const socket = new FakeSocket();
    const tokens = [later(), later()];
    let asked = 0;
    const chat = demo(socket, { renewToken: () => tokens[asked++].promise });
    socket.tell("session_ended", { code: "token_expired", message: "", reconnect: true });
    const sent = [];
    socket.auth((data) => sent.push(["the lost connection", data]));
    socket.auth((data) => sent.push(["the present connection", data]));
    tokens[1].resolve("second");
    tokens[0].resolve("third");
    await settled();
    assert.deepEqual(sent, [["the present connection", { token: "second" }]]);
    chat.close();
  },

  async "token-in-between"() {
    const socket = new FakeSocket();
    const token = later();
    const chat = demo(socket, { renewToken: () => token.promise });
    socket.tell("session_ended", { code: "token_expired", message: "", reconnect: true });
    const sent = [];
    socket.auth((data) => sent.push(data));
    socket.lose();
    token.resolve("late");
    await settled();
    assert.deepEqual(sent, []);
    chat.close();
  },

  async "too-large"() {
    const bodies = [];
    const socket = new FakeSocket({
      list_conversations: () => ({ presence: [], hasMore: false, nextBefore: null, conversations: [] }),
      send_message: ({ body, idempotencyKey }) => {
        bodies.push(body);
        if (body === "ends it") {
          socket.tell("session_ended", { code: "too_large", message: "", reconnect: true });
          socket.lose();
          throw new Error("no ack");
        }
        return { message: { ...message(bodies.length, body), idempotencyKey, senderId: "alice" }, duplicate: false };
      },
    });
    const { send, waiting, connect, close } = sender(socket);
    const limits = { bodyChars: 10, eventBytes: 250 };
    connect();
    socket.tell("welcome", { user: { id: "alice", name: "Alice" }, limits });
    const emoji = "😀".repeat(10); // ten characters, though its length is 20
    for (const body of ["x".repeat(11), "hello", emoji]) send(body);
    await settled();
    assert.deepEqual(bodies, ["hello", emoji]);
    assert.deepEqual(waiting(), [["x".repeat(11), "This message is too large. At most 10 characters."]]);

    limits.bodyChars = 1_000;
    for (const body of ["y".repeat(300), "ends it", "behind it"]) send(body);
    await settled();
    socket.connect();
    await settled();
    assert.deepEqual(bodies.slice(2), ["ends it", "behind it"]);
    assert.deepEqual(waiting().slice(1), [["y".repeat(300), "This message is too large."], ["ends it", "This message is too large."]]);
    close();
  },

  async "preview"() {
    const body = `a${"😀".repeat(200)}`;
    const socket = new FakeSocket({ list_conversations: () => list(message(1, body)) });
    const chat = demo(socket);
    chat.connect();
    await settled();
    assert.equal(chat.conversation("c").preview.text, `a${"😀".repeat(159)}`);
    chat.close();
  },

  async "gap-while-scrolling"() {
    let last = 200;
    const scrolled = later();
    const history = ({ beforeSeq }) => ({ messages: messages(Math.max(1, beforeSeq - 50), beforeSeq - 1) });
    const socket = new FakeSocket({
      list_conversations: () => list(message(last)),
      join_conversation: () => ack(messages(last - 49, last)),
      fetch_history: history,
    });
    const chat = demo(socket);
    chat.connect();
    await settled();
    chat.open("c");
    await settled();
    socket.lose();
    last = 400;
    socket.answers.fetch_history = async (payload) => (payload.beforeSeq === 151 && (await scrolled.promise), history(payload));
    socket.connect();
    void chat.loadOlder(chat.conversation("c"));
    await settled();
    scrolled.resolve();
    await settled();
    const seqs = chat.conversation("c").messages.map(({ seq }) => seq);
    assert.deepEqual(seqs, messages(101, 400).map(({ seq }) => seq));
    chat.close();
  },

  async "typing-on-join"() {
    let typing = ["bob"];
    const socket = new FakeSocket({
      list_conversations: () => list(message(1)),
      join_conversation: () => ({ ...ack(messages(1, 1)), typing }),
    });
    const chat = demo(socket);
    chat.connect();
    await settled();
    chat.open("c");
    await settled();
    const shown = () => [...chat.conversation("c").typing.keys()];
    assert.deepEqual(shown(), ["bob"]);
    socket.tell("user_typing", { conversationId: "c", userId: "bob", typing: false });
    assert.deepEqual(shown(), []);

    socket.tell("user_typing", { conversationId: "c", userId: "bob", typing: true });
    typing = [];
    socket.connect(); // over the same object, without having heard of the loss
    await settled();
    assert.deepEqual(shown(), []);
    chat.close();
  },

  async "behind-the-ack"() {
    const presence = (online) => ({ userId: "bob", online, lastSeenAt: online ? null : 1 });
    const socket = new FakeSocket({
      list_conversations: () => ({ ...list(message(1)), presence: [presence(true)] }),
      join_conversation: () => ({ ...ack(messages(1, 1)), typing: ["bob"] }),
    });
    socket.behind.list_conversations = [["presence_changed", presence(false)]];
    const chat = demo(socket);
    chat.connect();
    await settled();
    assert.equal(chat.presence.get("bob").online, false);

    socket.behind.join_conversation = [
      ["user_typing", { conversationId: "c", userId: "bob", typing: false }],
      ["presence_changed", presence(false)],
    ];
    chat.open("c");
    await settled();
    assert.deepEqual([...chat.conversation("c").typing.keys()], []);
    assert.equal(chat.presence.get("bob").online, false);
    chat.close();
  },

  async "restored-list"() {
    let newest = message(100);
    const socket = new FakeSocket({ list_conversations: () => list(newest, newest.seq - 10) });
    const chat = demo(socket);
    chat.connect();
    await settled();
    const conversation = chat.conversation("c");
    const shown = () => [conversation.lastSeq, conversation.unreadCount, conversation.preview.text];
    const write = (seq) =>
      socket.tell("conversation_activity", { conversationId: "c", seq, senderId: "bob", preview: `m${seq}`, createdAt: seq });
    assert.deepEqual(shown(), [100, 10, "m100"]);

    socket.lose();
    socket.connect();
    write(101); // overtakes the answer
    await settled();
    assert.deepEqual(shown(), [101, 11, "m101"]);

    socket.lose();
    newest = message(50);
    socket.connect();
    await settled();
    assert.deepEqual(shown(), [50, 10, "m50"]);
    write(51);
    assert.deepEqual(shown(), [51, 11, "m51"]);
    chat.close();
  },
};

await scenes[process.argv[2]]();
