// What the tests share: a server as a value, a clock that a test sets, a socket whose other end is the test.

/** @param {number} seq */
export const message = (seq, more = {}) => ({
  ...{ id: `i${seq}`, conversationId: "c", seq, change: seq, senderId: "ben", idempotencyKey: `k${seq}`, body: `m${seq}` },
  ...{ metadata: null, createdAt: 1_000 + seq, ...more },
});

/** One conversation as docs/protocol.md says: rows whose number moves when they are edited, deleted or reacted to. */
export class SimulatedServer {
  messages = [];
  newestChange = 0;
  reads = new Map();
  /** By seq, the change at which it was created. */
  #born = new Map();
  #life = 0;
  /** What it was after each change, for a backup. */
  #past = [[]];

  constructor(users) {
    this.users = users;
    this.roles = new Map(users.map((user, i) => [user, i === 0 ? "owner" : "member"]));
  }

  /** Somebody is added, removed or gets a role: a message of the server's own, and what goes beside it; null if it is so. */
  people(userId, role) {
    if (this.roles.get(userId) === role) return null;
    const known = this.roles.has(userId);
    if (role) this.roles.set(userId, role);
    else this.roles.delete(userId);
    this.reads.set(userId, known && role ? (this.reads.get(userId) ?? 0) : this.messages.length);
    this.users = [...this.roles.keys()];
    const system = this.send("ben", { kind: "system" });
    const [added, removed, roles] = role ? (known ? [[], [], [{ userId, role }]] : [[{ userId, role }], [], []]) : [[], [userId], []];
    return [system, { conversationId: "c", change: system.change, added, removed, roles }];
  }

  send(senderId, more = {}) {
    const seq = this.messages.length + 1;
    const body = `m${seq} of life ${this.#life}`;
    this.reads.set(senderId, seq);
    this.#born.set(seq, this.newestChange + 1);
    return this.#put(message(seq, { senderId, body, idempotencyKey: `${this.#life}.${seq}`, ...more }));
  }

  edit(seq) {
    const known = this.messages[seq - 1];
    if (known.deletedAt || known.kind) return known;
    const { mentions, ...rest } = known;
    return this.#put({ ...rest, body: `${known.body}!`, editedAt: 1, ...(!mentions && seq % 2 === 0 && { mentions: ["ana"] }) });
  }

  remove(seq) {
    const { mentions, reactions, ...known } = this.messages[seq - 1];
    return known.deletedAt || known.kind ? this.messages[seq - 1] : this.#put({ ...known, body: "", metadata: null, deletedAt: 2, deletedBy: known.senderId });
  }

  #put(row) {
    const next = { ...row, change: ++this.newestChange };
    this.messages = this.messages.toSpliced(row.seq - 1, 1, next);
    this.#past[this.newestChange] = this.messages;
    return next;
  }

  read(userId, seq = this.messages.length) {
    const readSeq = Math.max(this.reads.get(userId) ?? 0, Math.min(seq, this.messages.length));
    this.reads.set(userId, readSeq);
    return { conversationId: "c", userId, readSeq, readAt: 1 };
  }

  /** An older backup: everything as it was at that change. */
  restore(change) {
    this.#life += 1;
    this.messages = this.#past[change];
    this.#past = this.#past.slice(0, change + 1);
    this.newestChange = change;
    for (const [userId, seq] of this.reads) this.reads.set(userId, Math.min(seq, this.messages.length));
  }

  unread(userId) {
    return this.messages.filter(({ seq, deletedAt, kind }) => seq > (this.reads.get(userId) ?? 0) && !deletedAt && !kind).length;
  }

  mentions(userId) {
    return this.messages.filter((each) => each.seq > (this.reads.get(userId) ?? 0) && each.mentions?.includes(userId)).length;
  }

  join({ after, limit, userId }) {
    const first = after === null || after > this.newestChange;
    const fresh = first ? this.messages : this.messages.filter(({ seq }) => this.#born.get(seq) > after);
    const changed = first ? [] : this.changes({ after, limit: Infinity }).messages.filter((each) => !fresh.includes(each));
    const updates = changed.slice(0, limit);
    return {
      conversation: { id: "c", kind: "group", title: "C", participantIds: this.users, participantCount: this.users.length, createdBy: "ana", createdAt: 0 },
      role: this.roles.get(userId),
      firstSeq: 1,
      participants: this.users.map((each) => ({ userId: each, role: this.roles.get(each), readSeq: this.reads.get(each) ?? 0, readAt: null, online: true, lastSeenAt: null })),
      messages: fresh.slice(-limit),
      updates,
      ...(updates.length < changed.length && { updatesThrough: updates.at(-1).change }),
      change: this.newestChange,
      lastSeq: this.messages.length,
      readSeq: this.reads.get(userId) ?? 0,
      unreadCount: this.unread(userId),
      unreadMentions: this.mentions(userId),
      settings: { muted: false, pinned: false, archived: false, markedUnread: false },
      typing: [],
    };
  }

  history({ beforeSeq, limit }) {
    return this.messages.filter(({ seq }) => seq < beforeSeq).slice(-limit);
  }

  changes({ after, limit }) {
    const all = this.messages.filter(({ change }) => change > after).sort((a, b) => a.change - b.change);
    const messages = all.slice(0, limit);
    return { messages, change: messages.length < all.length ? messages.at(-1).change : this.newestChange, hasMore: messages.length < all.length };
  }

  some(seqs) {
    return this.messages.filter(({ seq }) => seqs.includes(seq));
  }
}

/** Time passes when the test says so. */
export class FakeClock {
  time = 1_000_000;
  chance = 0;
  #timers = [];

  now = () => this.time;
  wall = () => this.time;
  random = () => this.chance;
  setTimeout = (act, ms) => {
    const timer = { act, at: this.time + ms };
    this.#timers.push(timer);
    return timer;
  };
  clearTimeout = (timer) => {
    this.#timers = this.#timers.filter((each) => each !== timer);
  };

  /** Milliseconds to the next thing that is due; Infinity if nothing is. */
  get nextMs() {
    return Math.min(Infinity, ...this.#timers.map(({ at }) => at - this.time));
  }

  get size() {
    return this.#timers.length;
  }

  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.time = Math.max(this.time, next.at);
      this.clearTimeout(next);
      next.act();
    }
    this.time = end;
    await settled();
  }
}

/** Let everything happen that waits for nothing else. */
export const settled = async () => {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** `window` and `document`, as far as a chat listens to them. */
export class FakePage extends EventTarget {
  navigator = { onLine: true };
  document = Object.assign(new EventTarget(), { visibilityState: "visible", hasFocus: () => true });
  listening = 0;

  constructor() {
    super();
    for (const target of [this, this.document]) {
      const { addEventListener, removeEventListener } = target;
      target.addEventListener = (...args) => ((this.listening += 1), addEventListener.apply(target, args));
      target.removeEventListener = (...args) => ((this.listening -= 1), removeEventListener.apply(target, args));
    }
  }

  say(type) {
    if (type === "offline" || type === "online") this.navigator.onLine = type === "online";
    this.dispatchEvent(new Event(type));
  }

  show(visible) {
    this.document.visibilityState = visible ? "visible" : "hidden";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
}

export const LIMITS = {
  ...{ bodyChars: 4_000, metadataBytes: 4_096, eventBytes: 65_536, participants: 1_000, page: 200 },
  ...{ joinedConversations: 200, messagesPerSecond: 5, messagesBurst: 20 },
};

/** Stands for socket.io-client: each attempt is one socket, and what the server does with it is up to the test. */
export class FakeNet {
  /** All sockets there were. */
  sockets = [];
  /** When each attempt reached the network, by the clock. */
  attempts = [];
  /** What becomes of an attempt: "silence", "welcome", or an Error for `connect_error`. */
  outcome = "silence";
  /** Answers to requests, by event; without one there is no answer. */
  answers = {};

  constructor(clock) {
    this.clock = clock;
  }

  io = (url, options) => {
    const socket = new FakeSocket(this, options);
    this.sockets.push(socket);
    return socket;
  };

  get last() {
    return this.sockets.at(-1);
  }
}

export class FakeSocket {
  connected = false;
  asked = [];
  #listeners = new Map();
  #any = [];

  constructor(net, options) {
    this.net = net;
    this.options = options;
    this.auth = options.auth;
  }

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  onAny(listener) {
    this.#any.push(listener);
  }

  connect() {
    this.net.attempts.push(this.net.clock.now());
    const { outcome } = this.net;
    if (outcome === "silence") return;
    queueMicrotask(() => (outcome === "welcome" ? this.welcome() : this.tell("connect_error", outcome)));
  }

  welcome(more = {}) {
    this.connected = true;
    const reconnection = { attempts: 3, delayMs: 2_000, delayMaxMs: 10_000 };
    this.say("welcome", { user: { id: "ana", name: "Ana" }, connectionId: "1", serverTime: 0, reconnection, limits: LIMITS, ...more });
  }

  /** An event of the server. */
  say(event, payload) {
    for (const listener of this.#any) listener(event, payload);
    this.tell(event, payload);
  }

  /** An event of the client's own. */
  tell(event, payload) {
    for (const listener of this.#listeners.get(event) ?? []) listener(payload);
  }

  lose(reason = "transport close") {
    this.connected = false;
    this.tell("disconnect", reason);
  }

  disconnect() {
    if (!this.connected) return;
    this.connected = false;
    for (const asked of this.asked.splice(0)) asked.taken?.(new Error("socket has been disconnected"));
    this.tell("disconnect", "io client disconnect");
  }

  timeout(ms) {
    return { emit: (event, payload, taken) => void this.#ask(event, payload, taken, ms) };
  }

  async #ask(event, payload, taken, ms) {
    const asked = { event, payload, taken: (...args) => ((asked.taken = null), this.net.clock.clearTimeout(timer), taken(...args)) };
    const timer = this.net.clock.setTimeout(() => asked.taken?.(new Error("operation has timed out")), ms);
    this.asked.push(asked);
    const answer = await this.net.answers[event]?.(payload);
    if (answer !== undefined) asked.taken?.(null, answer.error ? { ok: false, ...answer } : { ok: true, ...answer });
  }
}
