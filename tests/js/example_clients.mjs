// What the clients of examples/ do where the network is slow or the server has changed; see test_example_clients.py.
// Usage: node example_clients.mjs SCENE. A scene has a socket of its own making, and fails by throwing.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { ChatClient } from "../../examples/demo/chat-client.js";

const REACT = new URL("../../examples/react/", import.meta.url);

/** Stands for socket.io-client and the server behind it: `answers` has a function per event, which may be late. */
class FakeSocket {
  active = true;
  connected = false;
  id = "none";
  #listeners = new Map();
  #connections = 0;

  constructor(answers = {}) {
    this.answers = answers;
    this.io = { on() {}, reconnectionAttempts: () => 3, reconnectionDelay: () => 1, reconnectionDelayMax: () => 1 };
    this.make = (_, options) => {
      this.auth = options.auth;
      return this;
    };
  }

  on(event, listener) {
    this.#listeners.set(event, listener);
  }

  tell(event, payload) {
    this.#listeners.get(event)?.(payload);
  }

  connect() {
    this.connected = true;
    this.id = `s${++this.#connections}`;
    this.tell("connect");
  }

  lose() {
    this.connected = false;
    this.tell("disconnect", "transport close");
  }

  disconnect() {
    this.connected = false;
  }

  timeout() {
    return { emitWithAck: async (event, payload) => ({ ok: true, ...(await this.answers[event]?.(payload)) }) };
  }
}

/** Let everything happen that waits for nothing else. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

const later = () => {
  let settle;
  const promise = new Promise((resolve, reject) => (settle = { resolve, reject }));
  return { promise, ...settle };
};

/** The Connection of the React example, with `io` for socket.io-client's. */
function reactConnection(io) {
  const ts = createRequire(new URL("package.json", REACT))("typescript");
  const source = fs.readFileSync(new URL("src/connection.ts", REACT), "utf8");
  const options = { module: "CommonJS", target: "ES2022" };
  const { outputText } = ts.transpileModule(source, { compilerOptions: options });
  const exports = {};
  new Function("exports", "require", outputText)(exports, () => ({ io }));
  return exports.Connection;
}

const message = (seq, body = `m${seq}`) => ({
  ...{ id: `i${seq}`, conversationId: "c", seq, change: seq, senderId: "bob", idempotencyKey: `k${seq}`, body },
  ...{ metadata: null, createdAt: seq },
});

const messages = (from, to, body) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => message(from + i, body && `${body}${from + i}`));

const CONVERSATION = { id: "c", kind: "direct", title: null, participantIds: ["alice", "bob"], createdAt: 0 };

const demo = (socket, init) =>
  new ChatClient({ io: socket.make, user: { id: "alice", name: "Alice" }, token: "first", ...init });

const ack = (shown) => ({
  ...{ conversation: CONVERSATION, participants: [], messages: shown },
  ...{ change: shown.at(-1).seq, lastSeq: shown.at(-1).seq, readSeq: 0, typing: [] },
});

const list = (newest, readSeq = 0) => ({
  ...{ presence: [], hasMore: false, nextBefore: null },
  conversations: [{ ...CONVERSATION, lastMessage: newest, lastSeq: newest.seq, readSeq, activityAt: newest.createdAt }],
});

const scenes = {
  async "slow-token-demo"() {
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

  async "slow-token-react"() {
    for (const outcome of ["resolve", "reject"]) {
      const socket = new FakeSocket();
      const tokens = [later(), later()];
      let asked = 0;
      const connection = new (reactConnection(socket.make))("", () => tokens[asked++].promise);
      const sent = [];
      socket.auth((data) => sent.push(["the lost connection", data]));
      socket.auth((data) => sent.push(["the present connection", data]));
      tokens[1].resolve("second");
      await settled();
      connection.connect();
      tokens[0][outcome]("first");
      await settled();
      assert.deepEqual(sent, [["the present connection", { token: "second" }]]);
      assert.equal(connection.snapshot().status.state, "connected");
    }
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
