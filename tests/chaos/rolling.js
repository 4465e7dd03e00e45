// People who chat over restarts of the server. Every other one does it by hand, as docs/protocol.md says: the stock client with
// the recommended options, one idempotency key per message, resume with `after`. The others use the client of clients/js.
// Driven by test_rolling_restart.py, one JSON line each way.
//
// usage: node rolling.js '{"url", "rooms": [[{"user", "token"}, …], …], "perSecond"}'     perSecond: messages of all
// Commands: state · stop (send nothing new) · report. Each is answered with one line.
"use strict";

const readline = require("node:readline");
const { io } = require("socket.io-client");

const DELAY_MS = 2_000;
const DELAY_MAX_MS = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;
const TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"], ["polling", "websocket"]];

const { url, rooms, perSecond } = JSON.parse(process.argv[2]);
const people = [];
const totals = { sent: 0, acked: 0, resent: 0, duplicates: 0, repeats: 0, gaveUp: 0, refused: [], ended: {}, holes: 0 };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

class Person {
  constructor({ user, token }, transports, conversation) {
    this.user = user;
    this.conversation = conversation;
    this.messages = []; // the conversation, rebuilt: [seq, id, senderId, key]
    this.change = 0; // up to which nothing is missing
    this.newest = 0; // of all changes heard of
    this.ready = false; // connected, and in the conversation with everything
    this.joins = 0;
    this.resumes = []; // [when, how many messages were missed]
    this.acks = new Map(); // key → [seq, id]
    this.unacked = 0;
    this.wakers = [];
    this.sending = Promise.resolve();
    this.socket = io(url, {
      auth: (give) => give({ token }),
      transports,
      forceNew: true,
      reconnectionAttempts: 3,
      reconnectionDelay: DELAY_MS,
      reconnectionDelayMax: DELAY_MAX_MS,
    });
    const manager = this.socket.io;
    this.socket.on("connect", () => {
      manager.reconnectionDelay(DELAY_MS);
      manager.reconnectionDelayMax(DELAY_MAX_MS);
      this.join();
    });
    this.socket.on("disconnect", () => (this.ready = false));
    this.socket.on("session_ended", ({ code, retryAfterMs }) => {
      totals.ended[code] = (totals.ended[code] ?? 0) + 1;
      if (retryAfterMs !== undefined) {
        manager.reconnectionDelay(Math.max(retryAfterMs, DELAY_MS));
        manager.reconnectionDelayMax(Math.max(retryAfterMs, DELAY_MAX_MS));
      }
    });
    this.socket.on("message_created", ({ message }) => {
      this.newest = Math.max(this.newest, message.change);
      if (message.change === this.change + 1) this.take(message);
      else if (message.change <= this.change) totals.repeats += 1;
      else if (this.ready) this.join(); // one is missing; a join that is under way looks at `newest`
    });
    this.socket.on("connect_error", (error) => this.socket.active || totals.refused.push(String(error.data?.code)));
    manager.on("reconnect_failed", () => {
      totals.gaveUp += 1;
      this.socket.connect(); // the user presses the button
    });
  }

  ask(event, more) {
    const payload = { conversationId: this.conversation.id, ...more };
    return this.socket.timeout(REQUEST_TIMEOUT_MS).emitWithAck(event, payload);
  }

  take(message) {
    this.messages.push([message.seq, message.id, message.senderId, message.idempotencyKey]);
    this.change = message.change;
  }

  async join() {
    const connection = this.socket.id;
    const ack = await this.ask("join_conversation", { after: this.change, limit: 200, visible: true }).catch(() => null);
    if (this.socket.id !== connection || !this.socket.connected) return; // the next connect joins
    if (!ack?.ok) return void pause(ack?.error.retryAfterMs ?? 1_000).then(() => this.socket.connected && this.join());
    const messages = ack.messages;
    for (let from = ack.gap?.fromSeq; from <= ack.gap?.toSeq; ) {
      const page = await this.ask("fetch_history", { afterSeq: from - 1, limit: 200 }).catch(() => null);
      if (!page?.ok) return void (this.socket.connected && this.join());
      const fetched = page.messages.filter((message) => message.seq <= ack.gap.toSeq);
      messages.splice(from - ack.gap.fromSeq, 0, ...fetched);
      from += fetched.length;
    }
    let missed = 0;
    for (const message of messages) {
      if (message.change > this.change + 1) totals.holes += 1;
      if (message.change > this.change) missed += 1;
      if (message.change > this.change) this.take(message);
      else totals.repeats += 1;
    }
    if (Math.max(ack.change, this.newest) > this.change) return void this.join();
    this.joins += 1;
    this.resumes.push([Date.now(), missed]);
    this.ready = true;
    this.wakers.splice(0).forEach((wake) => wake());
  }

  send() {
    const message = { idempotencyKey: `${this.user}-${this.acks.size + this.unacked}`, body: "hello" };
    this.unacked += 1;
    this.sending = this.sending.then(() => this.deliver(message));
  }

  async deliver(message) {
    totals.sent += 1;
    for (let attempt = 1; ; attempt += 1) {
      if (!this.ready) await new Promise((wake) => this.wakers.push(wake));
      if (attempt > 1) totals.resent += 1;
      const ack = await this.ask("send_message", message).catch(() => null);
      if (ack?.ok) {
        if (ack.duplicate) totals.duplicates += 1;
        totals.acked += 1;
        this.unacked -= 1;
        this.acks.set(message.idempotencyKey, [ack.message.seq, ack.message.id]);
        return;
      }
      if (ack && !ack.error.retryable) throw new Error(JSON.stringify(ack.error));
      await pause(ack?.error.retryAfterMs ?? 100);
    }
  }
}

/** Somebody whose page uses the client: all that a Person does by hand it does by itself. */
class ClientPerson {
  constructor({ user, token }, transports, conversation, { createChat, memoryStorage }) {
    this.user = user;
    this.conversation = conversation;
    this.joins = 0;
    this.resumes = [];
    this.acks = new Map();
    this.unacked = 0;
    this.ready = false;
    this.chat = createChat({ url, getToken: async () => token, storage: memoryStorage(), options: { transports } });
    this.chat.connect();
    this.room = this.chat.open(conversation.id, { visible: true });
    this.room.subscribe(() => this.look());
    let before = this.chat.status;
    this.chat.subscribe(() => {
      const { status } = this.chat;
      if (before.state === "connected" && status.state !== "connected") totals.ended[status.code] = (totals.ended[status.code] ?? 0) + 1;
      if (before.state !== "offline" && status.state === "offline") totals.gaveUp += 1; // it goes on by itself
      if (before.state !== "ended" && status.state === "ended") totals.refused.push(String(status.code));
      before = status;
    });
  }

  get messages() {
    return this.room.state.messages.map(({ seq, id, senderId, idempotencyKey }) => [seq, id, senderId, idempotencyKey]);
  }

  look() {
    const { joined, messages, lastSeq } = this.room.state;
    const whole = joined && messages.length === lastSeq && (messages.at(-1)?.seq ?? 0) === lastSeq;
    if (!joined) this.leftAt ??= lastSeq;
    if (whole && !this.ready) {
      this.joins += 1;
      this.resumes.push([Date.now(), lastSeq - (this.leftAt ?? 0)]);
      this.leftAt = undefined;
    }
    // A message that overtook another makes it less than whole for a moment; only a connection makes it come back.
    this.ready = joined && (whole || this.ready);
  }

  send() {
    totals.sent += 1;
    this.unacked += 1;
    const { key, stored } = this.room.send("hello");
    stored.then(({ seq, id }) => {
      totals.acked += 1;
      this.unacked -= 1;
      this.acks.set(key, [seq, id]);
    });
  }
}

const COMMANDS = {
  state: () => ({
    ready: people.filter((person) => person.ready).length,
    unacked: people.reduce((sum, person) => sum + person.unacked, 0),
    joins: people.map((person) => person.joins),
    ...totals,
  }),
  stop: () => (clearInterval(talking), {}),
  report: () => ({
    people: people.map(({ user, conversation, messages, acks, resumes }) => ({
      user,
      conversation: conversation.id,
      messages,
      acks: [...acks],
      resumes,
    })),
  }),
};

let talking;

async function main() {
  const client = await import("../../clients/js/src/chat.js");
  for (const [number, members] of rooms.entries()) {
    const conversation = {};
    const [host] = members;
    const socket = io(url, { auth: { token: host.token }, forceNew: true, transports: ["websocket"] });
    const participantIds = members.slice(1).map(({ user }) => user);
    const ack = await socket.emitWithAck("create_conversation", { participantIds, title: `Room ${number}` });
    if (!ack.ok) throw new Error(JSON.stringify(ack.error));
    conversation.id = ack.conversation.id;
    socket.disconnect();
    for (const member of members) {
      const transports = TRANSPORTS[Math.floor(people.length / 2) % TRANSPORTS.length];
      const byHand = people.length % 2 === 0;
      people.push(byHand ? new Person(member, transports, conversation) : new ClientPerson(member, transports, conversation, client));
    }
  }
  let next = 0;
  let due = performance.now();
  talking = setInterval(() => {
    for (; due <= performance.now(); due += 1_000 / perSecond) people[next++ % people.length].send();
  }, 10);
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("close", () => process.exit(0));
lines.on("line", (line) => say(COMMANDS[line]()));
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
