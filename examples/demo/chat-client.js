/**
 * The client side of a conversation: connection, resume, order, outbox. One module, no DOM, no dependency but `io`.
 *
 * Copy this file into any page that loads `socket.io-client` 4.x. It keeps the promises that need a client's help:
 *
 * - **Nothing is lost.** After every connect the open conversation is joined again with `after`: the last `change` that
 *   was seen without a hole. Live events that arrive with a hole in front of them make it join again.
 * - **Nothing shows twice.** A message whose `seq` is known is dropped.
 * - **Nothing is sent twice.** What you send waits in an outbox under its `idempotencyKey` until the server has
 *   acknowledged it. It is sent again, with the same key, after a timeout, a reconnect or (given a `storage`) a reload.
 * - **No endless loop.** Three attempts, then `gave_up`; after `session_ended` with `reconnect: false`, `ended`. Both last
 *   until somebody calls `connect()`.
 *
 *     import { ChatClient } from "./chat-client.js";
 *     const chat = new ChatClient({ io, user: { id: "alice", name: "Alice" }, token });
 *     chat.addEventListener("messages", (event) => draw(chat.conversation(event.detail.conversationId)));
 *     chat.connect();
 *     chat.open(conversationId);
 *     chat.send(conversationId, "Hello");
 *
 * Events, all CustomEvents; read the state from the client, `detail` says what moved:
 *
 *     status          {}                                     `client.status` changed
 *     conversations   {}                                     the list, a title, a preview or an unread count changed
 *     messages        {conversationId, cause, message?}      cause: "joined" | "live" | "history" | "outbox"
 *     read            {conversationId, userId}               a read mark moved
 *     typing          {conversationId}                       somebody began or stopped typing
 *     presence        {userId}                               somebody came or went; null: several at once
 *     notice          {error}                                a ChatError that the user may want to know of
 *
 * @typedef {{id: string, name: string}} User
 * @typedef {{id: string, conversationId: string, seq: number, change: number, senderId: string, idempotencyKey: string,
 *   body: string, metadata: object | null, createdAt: number}} Message
 * @typedef {{key: string, conversationId: string, body: string, createdAt: number, state: "waiting" | "failed",
 *   error: ChatError | null}} OutboxEntry
 * @typedef {{state: "offline" | "connecting" | "connected" | "retrying" | "gave_up" | "ended", attempt?: number,
 *   attempts?: number, code?: string, message?: string}} Status
 */

/** What the server recommends in `welcome.reconnection`, as options of socket.io-client. */
export const RECONNECTION = { reconnectionAttempts: 3, reconnectionDelay: 2000, reconnectionDelayMax: 10000 };

const REQUEST_TIMEOUT_MS = 10_000;
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 10_000;
const SEND_TRIES = 3;
const PAGE = 50;
/** A longer hole in the history is not filled; what lies before it is forgotten and read again by scrolling. */
const LONGEST_HOLE = 1_000;
/** How long a live event may be ahead of its predecessors before the conversation is joined again. */
const AHEAD_MS = 250;
/** Shorter than the server's expiry (6 s), so that steady typing shows without a break. */
const TYPING_REPEAT_MS = 3_000;
const TYPING_IDLE_MS = 5_000;
const TYPING_EXPIRY_MS = 8_000;
const RENEWAL_PAUSE_MS = 30_000;
const PREVIEW_CHARS = 160;
const TOO_LARGE = "This message is too large.";
/** What a packet has beside its payload: the event's name, the ack's id. */
const PACKET_BYTES = 64;

/** An error that the server answered with, or one of this side: `timeout`, `disconnected`. */
export class ChatError extends Error {
  constructor({ code, message, retryable = false, retryAfterMs = null, fields = null }) {
    super(message);
    this.name = "ChatError";
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
    /** What is wrong with which field, by wire name: lists of sentences. Only with `invalid_payload`. */
    this.fields = fields;
  }
}

/** One conversation as this client knows it. Read it freely; only ChatClient writes. */
class Conversation {
  constructor(wire) {
    this.id = wire.id;
    this.kind = wire.kind;
    /** @type {string | null} */
    this.title = wire.title;
    /** The first of them, and all once the conversation has been opened. @type {string[]} */
    this.participantIds = wire.participantIds;
    this.participantCount = wire.participantCount;
    this.activityAt = wire.activityAt ?? wire.createdAt;
    /** The newest message of all, for the list: sender and the beginning of the text. */
    this.preview = null;
    this.lastSeq = 0;
    this.readSeq = 0;
    /** Whether the present connection has said nothing of it yet: the server's database may have been replaced. */
    this.stale = false;

    /** What has been loaded, by rising seq. @type {Message[]} */
    this.messages = [];
    /** Whether the messages at hand are those of the server, not only those of the outbox. */
    this.loaded = false;
    this.joined = false;
    /** Read marks of all participants, by user id. @type {Map<string, number>} */
    this.reads = new Map();
    /** Who is typing, by user id, with the timer that ends it. @type {Map<string, ReturnType<typeof setTimeout>>} */
    this.typing = new Map();

    /** The last change seen without a hole: the cursor to resume from. */
    this.cursor = null;
    /** Changes that were seen beyond the cursor. */
    this.ahead = new Set();
    this.joining = false;
    this.filling = false;
  }

  /** The server has its newest message at `lastSeq`. If that is before what was known, the server has another past. */
  confirm(lastSeq) {
    if (this.stale && lastSeq < this.lastSeq) this.forget();
    this.stale = false;
  }

  forget() {
    this.messages = [];
    this.reads.clear();
    this.cursor = null;
    this.ahead.clear();
    this.activityAt = 0;
    this.lastSeq = 0;
    this.readSeq = 0;
  }

  get unreadCount() {
    return Math.max(0, this.lastSeq - this.readSeq);
  }

  /** Whether the server has messages before the first one at hand: seq counts from 1 without a hole. */
  get hasOlder() {
    return this.messages.length > 0 && this.messages[0].seq > 1;
  }
}

export class ChatClient extends EventTarget {
  #token;
  #renewToken;
  #storage;
  #storageKey;
  #conversations = new Map();
  #opened = null;
  #openings = 0;
  #visible = true;
  #outbox = [];
  /** Why the server ended the last connection, until there is another. */
  #endCode = null;
  #pumping = false;
  #tokenStale = false;
  #renewedAt = -Infinity;
  #handshake = null;
  #typing = { conversationId: null, sentAt: 0, idle: null };
  #listing = false;
  #listAgain = false;
  #nextBefore = null;
  #timers = new Set();

  /**
   * @param {object} init
   * @param {Function} init.io the `io` of socket.io-client 4.x
   * @param {User} init.user who this is, as the login answered
   * @param {string} init.token proof of it, sent at every handshake
   * @param {() => Promise<string>} [init.renewToken] fetches a fresh token when the server says the old one is no longer good
   * @param {Storage} [init.storage] keeps the outbox across reloads: sessionStorage (one tab) or localStorage
   * @param {string} [init.url] the server's origin, if it is not the page's
   * @param {object} [init.options] further options of socket.io-client
   */
  constructor({ io, user, token, renewToken = null, storage = null, url = undefined, options = {} }) {
    super();
    this.me = user;
    /** `welcome.limits`, once connected. */
    this.limits = null;
    /** @type {Status} */
    this.status = { state: "offline" };
    /** @type {Map<string, {online: boolean, lastSeenAt: number | null}>} */
    this.presence = new Map();
    /** Whether the list of conversations has arrived at least once. */
    this.listed = false;
    this.#token = token;
    this.#renewToken = renewToken;
    this.#storage = storage;
    this.#storageKey = `chat.outbox.${user.id}`;
    this.#outbox = this.#loadOutbox();
    this.socket = io(url, {
      ...RECONNECTION,
      ...options,
      autoConnect: false,
      forceNew: true,
      // A function, so that every reconnect carries the token of that moment.
      auth: (send) => void this.#shakeHands(send),
    });
    this.#listen();
  }

  // Connection

  /** Connect, or come back after `gave_up` or `ended`. */
  connect() {
    if (this.socket.connected || this.status.state === "connecting" || this.status.state === "retrying") return;
    this.#setStatus({ state: "connecting" });
    this.socket.connect();
  }

  /** Disconnect for good and forget the timers; the outbox stays in the storage. */
  close() {
    this.#stopTyping();
    this.#setStatus({ state: "offline" });
    this.socket.disconnect();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  get connected() {
    return this.socket.connected;
  }

  #listen() {
    const { socket } = this;
    const manager = socket.io;
    const attempts = manager.reconnectionAttempts();
    const delay = manager.reconnectionDelay();
    const delayMax = manager.reconnectionDelayMax();
    const retrying = (attempt) => {
      const { code, message } = this.status;
      this.#setStatus({ state: "retrying", attempt, attempts, code, message });
    };

    socket.on("connect", () => {
      manager.reconnectionDelay(delay);
      manager.reconnectionDelayMax(delayMax);
      this.#endCode = null;
      this.#setStatus({ state: "connected" });
      for (const conversation of this.#conversations.values()) conversation.stale = true;
      // Order matters: joining comes first, so that what the outbox sends is seen live.
      if (this.#opened) void this.#join(this.#opened);
      void this.#pump();
      void this.#list();
    });

    socket.on("disconnect", () => {
      for (const conversation of this.#conversations.values()) {
        conversation.joined = false;
        for (const userId of conversation.typing.keys()) this.#setTyping(conversation, userId, false);
      }
      if (this.status.state === "ended" || this.status.state === "offline") return;
      if (socket.active) retrying(1);
      else this.#setStatus({ state: "ended", code: "disconnected", message: "The server closed the connection." });
    });

    socket.on("connect_error", (error) => {
      const reason = refusal(error);
      if (socket.active) {
        // No answer, or an HTTP refusal such as 429: the stock client goes on trying.
        if (this.status.state === "connecting") this.#setStatus({ state: "retrying", attempt: 1, attempts, ...reason });
        else if (this.status.state === "retrying") this.#setStatus({ ...this.status, ...reason });
        return;
      }
      const tokenIsBad = reason.code === "token_expired" || reason.code === "invalid_token";
      if (tokenIsBad && this.#mayRenew()) {
        this.#tokenStale = true;
        this.#setStatus({ state: "connecting" });
        socket.connect();
        return;
      }
      this.#setStatus({ state: "ended", ...reason });
    });

    manager.on("close", () => {
      this.#handshake = null;
    });
    manager.on("reconnect_attempt", retrying);
    manager.on("reconnect_failed", () => {
      const { code, message } = this.status;
      this.#setStatus({ state: "gave_up", attempts, code, message });
    });

    socket.on("session_ended", ({ code, message, reconnect, retryAfterMs }) => {
      this.#endCode = code;
      if (!reconnect) {
        this.#setStatus({ state: "ended", code, message });
        socket.disconnect();
        return;
      }
      if (code === "token_expired") this.#tokenStale = true;
      this.status = { ...this.status, code, message };
      if (retryAfterMs) {
        // The stock client knows only its own delay, which it makes up to half shorter by chance. Never less than usual:
        // three attempts in quick succession would all fall into the same restart.
        manager.reconnectionDelay(Math.max(2 * retryAfterMs, delay));
        manager.reconnectionDelayMax(Math.max(2 * retryAfterMs, delayMax));
      }
    });

    socket.on("welcome", ({ user, limits }) => {
      this.me = user;
      this.limits = limits;
      this.#emit("status");
    });
    socket.on("message_created", ({ message }) => this.#take(message, "live"));
    socket.on("conversation_activity", (activity) => this.#activity(activity));
    socket.on("conversation_created", ({ conversation }) => {
      this.#know(conversation);
      this.#emit("conversations");
      // The list's answer has the other's presence, and makes the server tell of its changes.
      void this.#list();
    });
    socket.on("messages_read", ({ conversationId, userId, readSeq }) => {
      const conversation = this.#conversations.get(conversationId);
      if (conversation) this.#read(conversation, userId, readSeq);
    });
    socket.on("user_typing", ({ conversationId, userId, typing }) => {
      const conversation = this.#conversations.get(conversationId);
      if (conversation && userId !== this.me.id) this.#setTyping(conversation, userId, typing);
    });
    socket.on("presence_changed", ({ userId, online, lastSeenAt }) => {
      this.presence.set(userId, { online, lastSeenAt });
      this.#emit("presence", { userId });
    });
  }

  #setStatus(status) {
    this.status = status;
    this.#emit("status");
  }

  #mayRenew() {
    return this.#renewToken !== null && Date.now() - this.#renewedAt > RENEWAL_PAUSE_MS;
  }

  /** Only the newest may answer: a connection may be lost while its token is on the way, and a second CONNECT is nonsense. */
  async #shakeHands(send) {
    this.#handshake = send;
    const token = await this.#freshToken();
    if (this.#handshake === send) send({ token });
  }

  async #freshToken() {
    if (this.#tokenStale && this.#mayRenew()) {
      try {
        this.#token = await this.#renewToken();
        this.#renewedAt = Date.now();
        this.#tokenStale = false;
      } catch {
        // The old token goes out, and the server says what it thinks of it.
      }
    }
    return this.#token;
  }

  /**
   * Send one event and wait for its ack.
   *
   * What the ack says may be outdated by an event that comes right behind it, and the events of one packet arrive before
   * a promise goes on. So what changes the state goes into `take`, which gets the ack in its turn.
   *
   * @param {(ack: object) => void} [take]
   * @returns {Promise<object>} the ack of a request that worked
   * @throws {ChatError} what the server refused with, or `timeout` or `disconnected` (both retryable)
   */
  async request(event, payload, take) {
    if (!this.socket.connected) throw disconnected();
    let ack;
    try {
      ack = await new Promise((resolve, reject) => {
        this.socket.timeout(REQUEST_TIMEOUT_MS).emit(event, payload, (error, answer) => {
          if (error) reject(error);
          else resolve(answer);
          if (!error && answer.ok) take?.(answer);
        });
      });
    } catch {
      if (!this.socket.connected) throw disconnected();
      throw new ChatError({ code: "timeout", message: "The server did not answer in time.", retryable: true });
    }
    if (!ack.ok) throw new ChatError(ack.error);
    return ack;
  }

  /** `request`, again and again while the refusal is retryable, the connection stands and the answer is still wanted. */
  async #insist(event, makePayload, wanted = () => true, take = undefined) {
    for (let wait = RETRY_MS; ; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
      try {
        return await this.request(event, makePayload(), take);
      } catch (error) {
        if (!error.retryable || error.code === "disconnected") throw error;
        this.#emit("notice", { error });
        await this.#sleep(error.retryAfterMs ?? wait);
        if (!this.socket.connected || !wanted()) throw error;
      }
    }
  }

  // The list of conversations

  /** All known conversations, most recent activity first. */
  get conversations() {
    return [...this.#conversations.values()].sort(
      (a, b) => b.activityAt - a.activityAt || (a.id < b.id ? 1 : -1),
    );
  }

  conversation(id) {
    return this.#conversations.get(id);
  }

  /** What to call a conversation: its title, else the others in it. */
  titleOf(conversation) {
    if (conversation.title) return conversation.title;
    const unnamed = conversation.participantCount - conversation.participantIds.length;
    const names = this.othersIn(conversation).join(", ") || this.me.name;
    return unnamed > 0 ? `${names} and ${unnamed} more` : names;
  }

  othersIn(conversation) {
    return conversation.participantIds.filter((id) => id !== this.me.id);
  }

  get unreadTotal() {
    let total = 0;
    for (const conversation of this.#conversations.values()) total += conversation.unreadCount;
    return total;
  }

  get hasMoreConversations() {
    return this.#nextBefore !== null;
  }

  async loadMoreConversations() {
    if (this.#nextBefore === null || this.#listing) return;
    this.#listing = true;
    try {
      const where = { limit: PAGE, before: this.#nextBefore };
      const page = await this.request("list_conversations", where, (ack) => this.#takePage(ack));
      this.#nextBefore = page.hasMore ? page.nextBefore : null;
      this.#emit("conversations");
    } catch (error) {
      if (error.code !== "disconnected") this.#emit("notice", { error });
    } finally {
      this.#listing = false;
    }
  }

  /** Read the newest page of the list, and further ones until they reach what was known before. */
  async #list() {
    this.#listAgain = true;
    if (this.#listing) return;
    this.#listing = true;
    try {
      while (this.#listAgain) {
        this.#listAgain = false;
        const newestKnown = this.listed ? (this.conversations[0]?.activityAt ?? 0) : Infinity;
        let before;
        for (;;) {
          const where = () => (before ? { limit: PAGE, before } : { limit: PAGE });
          const page = await this.#insist("list_conversations", where, undefined, (ack) => this.#takePage(ack));
          const oldest = page.conversations.at(-1)?.activityAt ?? 0;
          before = page.hasMore ? page.nextBefore : null;
          if (before === null || oldest < newestKnown) break;
        }
        if (!this.listed) this.#nextBefore = before;
        this.listed = true;
        this.#emit("conversations");
      }
    } catch (error) {
      if (error.code !== "disconnected") this.#emit("notice", { error });
    } finally {
      this.#listing = false;
    }
  }

  /**
   * Start a conversation: two people and no title make a direct one, of which there is only one.
   *
   * @param {{participantIds: string[], title?: string, idempotencyKey?: string}} draft
   * @returns {Promise<string>} its id
   * @throws {ChatError}
   */
  async createConversation(draft) {
    const { conversation } = await this.request("create_conversation", draft);
    this.#know(conversation);
    this.#emit("conversations");
    return conversation.id;
  }

  #takePage(page) {
    for (const summary of page.conversations) this.#know(summary);
    for (const { userId, online, lastSeenAt } of page.presence) this.presence.set(userId, { online, lastSeenAt });
    this.#emit("presence", { userId: null });
  }

  #know(wire) {
    let conversation = this.#conversations.get(wire.id);
    if (!conversation) this.#conversations.set(wire.id, (conversation = new Conversation(wire)));
    if (wire.lastSeq === undefined) return conversation;
    conversation.confirm(wire.lastSeq);
    // An answer may be older than an event that overtook it: numbers only grow.
    conversation.readSeq = Math.max(conversation.readSeq, wire.readSeq);
    if (wire.lastSeq >= conversation.lastSeq) {
      conversation.lastSeq = wire.lastSeq;
      conversation.activityAt = Math.max(conversation.activityAt, wire.activityAt);
      if (wire.lastMessage) conversation.preview = previewOf(wire.lastMessage.senderId, wire.lastMessage.body);
    }
    return conversation;
  }

  #activity({ conversationId, seq, senderId, preview, createdAt }) {
    const conversation = this.#conversations.get(conversationId);
    if (!conversation) {
      void this.#list();
      return;
    }
    this.#advance(conversation, seq, senderId, preview, this.#now(createdAt));
    this.#emit("conversations");
  }

  /** The place in the list of what happens now: before all others, also where the server's clock was set back. */
  #now(createdAt) {
    let newest = 0;
    for (const { activityAt } of this.#conversations.values()) newest = Math.max(newest, activityAt);
    return createdAt >= newest ? createdAt : newest + 1;
  }

  #advance(conversation, seq, senderId, body, createdAt) {
    if (seq > conversation.lastSeq) {
      conversation.stale = false;
      conversation.lastSeq = seq;
      conversation.activityAt = Math.max(conversation.activityAt, createdAt);
      conversation.preview = previewOf(senderId, body);
    }
    // Sending counts as reading.
    if (senderId === this.me.id) conversation.readSeq = Math.max(conversation.readSeq, seq);
    this.#assumeRead(conversation);
  }

  // The open conversation

  /** The conversation whose messages arrive live, or null. */
  get opened() {
    return this.#opened;
  }

  /** Open a conversation and leave the one that was open. Resumes where this client left it. */
  open(id) {
    const conversation = this.#conversations.get(id);
    if (!conversation || conversation === this.#opened) return;
    this.leave();
    this.#opened = conversation;
    this.#openings += 1;
    if (this.socket.connected) void this.#join(conversation);
  }

  /** Close the open conversation: its messages no longer arrive, its activity does. */
  leave() {
    const conversation = this.#opened;
    if (!conversation) return;
    this.#stopTyping();
    this.#opened = null;
    this.#openings += 1;
    for (const userId of conversation.typing.keys()) this.#setTyping(conversation, userId, false);
    if (!this.socket.connected) return;
    conversation.joined = false;
    this.request("leave_conversation", { conversationId: conversation.id }).catch(() => {});
  }

  /** Say whether the newest messages of the open conversation are on the screen; the server then marks them as read. */
  setVisible(visible) {
    if (visible === this.#visible) return;
    this.#visible = visible;
    const conversation = this.#opened;
    if (!conversation?.joined) return;
    this.request("set_visibility", { conversationId: conversation.id, visible }).catch(() => {});
    if (this.#assumeRead(conversation)) this.#emit("conversations");
  }

  async #join(conversation) {
    if (conversation.joining) return;
    conversation.joining = true;
    // An answer counts for the connection and the opening that asked: leaving or reconnecting overtakes it.
    const connection = this.socket.id;
    const opening = this.#openings;
    const wanted = () => this.socket.id === connection && this.#openings === opening;
    let after;
    let visible;
    const payload = () => {
      after = conversation.cursor;
      visible = this.#visible;
      return { conversationId: conversation.id, limit: PAGE, visible, ...(after !== null && { after }) };
    };
    try {
      await this.#insist("join_conversation", payload, wanted, (ack) => {
        if (wanted()) this.#joined(conversation, ack, after);
      });
      if (!wanted()) return;
      if (visible !== this.#visible) {
        this.request("set_visibility", { conversationId: conversation.id, visible: this.#visible }).catch(() => {});
      }
    } catch (error) {
      if (error.code !== "disconnected") this.#emit("notice", { error });
    } finally {
      conversation.joining = false;
      if (!wanted() && this.#opened === conversation && this.socket.connected) void this.#join(conversation);
    }
  }

  #joined(conversation, ack, after) {
    if (after !== null && ack.change < after) conversation.forget();
    conversation.confirm(ack.lastSeq);
    conversation.joined = true;
    conversation.loaded = true;
    conversation.participantCount = ack.conversation.participantCount;
    conversation.title = ack.conversation.title;
    this.#meet(conversation, ack.participants);
    if (ack.participants.length === conversation.participantCount) {
      conversation.participantIds = ack.participants.map(({ userId }) => userId);
    } else {
      void this.#listParticipants(conversation);
    }
    for (const userId of new Set([...conversation.typing.keys(), ...ack.typing])) {
      this.#setTyping(conversation, userId, ack.typing.includes(userId));
    }
    for (const message of ack.messages) this.#insert(conversation, message);
    conversation.cursor = ack.change;
    this.#advanceCursor(conversation);
    const newest = ack.messages.at(-1);
    if (newest) this.#advance(conversation, newest.seq, newest.senderId, newest.body, newest.createdAt);
    conversation.lastSeq = Math.max(conversation.lastSeq, ack.lastSeq);
    conversation.readSeq = Math.max(conversation.readSeq, ack.readSeq);
    this.#assumeRead(conversation);
    void this.#fillHoles(conversation);
    this.#emit("messages", { conversationId: conversation.id, cause: "joined" });
    this.#emit("conversations");
    this.#emit("presence", { userId: null });
    this.#emit("typing", { conversationId: conversation.id });
  }

  #meet(conversation, participants) {
    for (const { userId, readSeq, online, lastSeenAt } of participants) {
      conversation.reads.set(userId, Math.max(readSeq, conversation.reads.get(userId) ?? 0));
      this.presence.set(userId, { online, lastSeenAt });
    }
  }

  /** The members of a group that is too large for the answer to a join. */
  async #listParticipants(conversation) {
    const wanted = () => this.#opened === conversation;
    const ids = [];
    let after = null;
    try {
      do {
        const where = { conversationId: conversation.id, limit: 200, ...(after !== null && { after }) };
        const page = await this.#insist("list_participants", () => where, wanted, (ack) => {
          if (wanted()) this.#meet(conversation, ack.participants);
        });
        if (!wanted()) return;
        ids.push(...page.participants.map(({ userId }) => userId));
        after = page.nextAfter;
      } while (after !== null);
      conversation.participantIds = ids;
      this.#emit("presence", { userId: null });
      this.#emit("messages", { conversationId: conversation.id, cause: "participants" });
    } catch (error) {
      if (error.code !== "disconnected") this.#emit("notice", { error });
    }
  }

  /** A message from the server: an event, or the ack of one's own. */
  #take(message, cause) {
    const conversation = this.#conversations.get(message.conversationId);
    if (!conversation) {
      void this.#list();
      return;
    }
    this.#setTyping(conversation, message.senderId, false);
    this.#settle(message);
    this.#advance(conversation, message.seq, message.senderId, message.body, this.#now(message.createdAt));
    if (conversation === this.#opened && (conversation.joined || conversation.joining)) {
      const isNew = this.#insert(conversation, message);
      if (conversation.cursor === null || message.change > conversation.cursor) conversation.ahead.add(message.change);
      this.#advanceCursor(conversation);
      if (conversation.ahead.size > 0 && conversation.joined) {
        this.#later(AHEAD_MS, () => {
          const behind = conversation.ahead.size > 0 && conversation.joined && this.#opened === conversation;
          if (behind) void this.#join(conversation);
        });
      }
      this.#emit("messages", { conversationId: conversation.id, cause, ...(isNew && { message }) });
    }
    this.#emit("conversations");
  }

  #advanceCursor(conversation) {
    if (conversation.cursor === null) return;
    for (const change of conversation.ahead) if (change <= conversation.cursor) conversation.ahead.delete(change);
    while (conversation.ahead.delete(conversation.cursor + 1)) conversation.cursor += 1;
  }

  /** Put a message in its place. False if its seq was there already. */
  #insert(conversation, message) {
    const { messages } = conversation;
    let low = 0;
    let high = messages.length;
    if (high === 0 || messages[high - 1].seq < message.seq) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (messages[middle].seq < message.seq) low = middle + 1;
      else high = middle;
    }
    if (messages[low]?.seq === message.seq) return false;
    messages.splice(low, 0, message);
    this.#settle(message);
    const mark = conversation.reads.get(message.senderId) ?? 0;
    conversation.reads.set(message.senderId, Math.max(mark, message.seq));
    return true;
  }

  /** Load the page before the first message at hand. Returns how many messages came. */
  async loadOlder(conversation) {
    if (!conversation.hasOlder || conversation.filling) return 0;
    conversation.filling = true;
    try {
      const beforeSeq = conversation.messages[0].seq;
      const page = await this.request("fetch_history", { conversationId: conversation.id, beforeSeq, limit: PAGE });
      for (const message of page.messages) this.#insert(conversation, message);
      this.#emit("messages", { conversationId: conversation.id, cause: "history" });
      return page.messages.length;
    } catch (error) {
      if (error.code !== "disconnected") this.#emit("notice", { error });
      return 0;
    } finally {
      conversation.filling = false;
      void this.#fillHoles(conversation); // those that a join has left meanwhile
    }
  }

  /** Fetch what a `gap` left out. Dense seq makes every hole visible, so the gap itself need not be remembered. */
  async #fillHoles(conversation) {
    if (conversation.filling) return;
    conversation.filling = true;
    try {
      for (;;) {
        const { messages } = conversation;
        let i = messages.length - 1;
        while (i > 0 && messages[i - 1].seq === messages[i].seq - 1) i -= 1;
        if (i <= 0) return;
        if (messages[i].seq - messages[i - 1].seq > LONGEST_HOLE) {
          messages.splice(0, i);
          this.#emit("messages", { conversationId: conversation.id, cause: "history" });
          return;
        }
        const beforeSeq = messages[i].seq;
        const page = await this.#insist("fetch_history", () => ({
          conversationId: conversation.id,
          beforeSeq,
          limit: PAGE,
        }));
        for (const message of page.messages) this.#insert(conversation, message);
        if (page.messages.length === 0) return;
        this.#emit("messages", { conversationId: conversation.id, cause: "history" });
      }
    } catch {
      // Disconnected: joining again looks for holes again.
    } finally {
      conversation.filling = false;
    }
  }

  // Read marks, typing

  #read(conversation, userId, readSeq) {
    if (readSeq > (conversation.reads.get(userId) ?? 0)) {
      conversation.reads.set(userId, readSeq);
      this.#emit("read", { conversationId: conversation.id, userId });
    }
    if (userId === this.me.id && readSeq > conversation.readSeq) {
      conversation.readSeq = readSeq;
      this.#emit("conversations");
    }
  }

  /** What is joined and on the screen is read: the server says so too, a moment later. */
  #assumeRead(conversation) {
    if (conversation !== this.#opened || !conversation.joined || !this.#visible) return false;
    const moved = conversation.readSeq < conversation.lastSeq;
    conversation.readSeq = Math.max(conversation.readSeq, conversation.lastSeq);
    return moved;
  }

  /** Tell the others, at most every three seconds; ends by itself five seconds after the last call. */
  typing(typing) {
    const conversation = this.#opened;
    if (!typing || !conversation) {
      this.#stopTyping();
      return;
    }
    const state = this.#typing;
    clearTimeout(state.idle);
    state.idle = setTimeout(() => this.#stopTyping(), TYPING_IDLE_MS);
    if (state.conversationId === conversation.id && Date.now() - state.sentAt < TYPING_REPEAT_MS) return;
    if (!conversation.joined) return;
    state.conversationId = conversation.id;
    state.sentAt = Date.now();
    this.request("set_typing", { conversationId: conversation.id, typing: true }).catch(() => {});
  }

  #stopTyping() {
    const state = this.#typing;
    clearTimeout(state.idle);
    if (state.conversationId === null) return;
    const { conversationId } = state;
    state.conversationId = null;
    this.request("set_typing", { conversationId, typing: false }).catch(() => {});
  }

  #setTyping(conversation, userId, typing) {
    const known = conversation.typing.has(userId);
    clearTimeout(conversation.typing.get(userId));
    if (typing) {
      const expire = () => this.#setTyping(conversation, userId, false);
      conversation.typing.set(userId, setTimeout(expire, TYPING_EXPIRY_MS));
    } else {
      conversation.typing.delete(userId);
    }
    if (known !== typing) this.#emit("typing", { conversationId: conversation.id });
  }

  // The outbox

  /** What has not been acknowledged yet, oldest first. @returns {OutboxEntry[]} */
  outboxOf(conversationId) {
    return this.#outbox.filter((entry) => entry.conversationId === conversationId);
  }

  /** Send a message: at once if connected, else as soon as it is. Returns its idempotency key. */
  send(conversationId, body) {
    const entry = { key: newKey(), conversationId, body, createdAt: Date.now(), state: "waiting", error: null };
    this.#outbox.push(entry);
    this.#stopTyping();
    this.#outboxChanged(conversationId);
    void this.#pump();
    return entry.key;
  }

  /** Try a failed message once more, under the same key. */
  retry(key) {
    const entry = this.#outbox.find((candidate) => candidate.key === key);
    if (!entry) return;
    entry.state = "waiting";
    entry.error = null;
    this.#outboxChanged(entry.conversationId);
    void this.#pump();
  }

  /** Give up on a failed message. */
  discard(key) {
    const entry = this.#outbox.find((candidate) => candidate.key === key);
    if (!entry) return;
    this.#outbox.splice(this.#outbox.indexOf(entry), 1);
    this.#outboxChanged(entry.conversationId);
  }

  /** Send what waits, one after the other: a message that is refused for now must not be overtaken by the next. */
  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      let tries = 0;
      let current = null;
      for (;;) {
        const entry = this.#outbox.find((candidate) => candidate.state === "waiting");
        if (!entry || !this.socket.connected) return;
        if (entry !== current) tries = 0;
        current = entry;
        tries += 1;
        const { key, conversationId, body } = entry;
        const payload = { conversationId, idempotencyKey: key, body };
        const failed = (error) => {
          entry.state = "failed";
          entry.error = error;
          this.#outboxChanged(conversationId);
        };
        const wrong = tooLarge(payload, this.limits);
        if (wrong) {
          failed(wrong);
          continue;
        }
        try {
          const ack = await this.request("send_message", payload);
          this.#settle(ack.message);
          this.#take(ack.message, "outbox");
        } catch (error) {
          if (error.code === "disconnected") {
            // Sent again it would end every connection, and what stands behind it would never leave.
            if (this.#endCode === "too_large") failed(new ChatError({ code: "too_large", message: TOO_LARGE }));
            continue;
          }
          if (error.code === "rate_limited") {
            this.#emit("notice", { error });
            await this.#sleep(error.retryAfterMs ?? RETRY_MS);
            tries = 0;
            continue;
          }
          if (error.retryable && tries < SEND_TRIES) {
            await this.#sleep(error.retryAfterMs ?? RETRY_MS * tries);
            continue;
          }
          failed(error);
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** A message of one's own is stored: its entry has done its work. */
  #settle(message) {
    if (message.senderId !== this.me.id) return;
    const at = this.#outbox.findIndex((entry) => entry.key === message.idempotencyKey);
    if (at < 0) return;
    this.#outbox.splice(at, 1);
    this.#saveOutbox();
  }

  #outboxChanged(conversationId) {
    this.#saveOutbox();
    this.#emit("messages", { conversationId, cause: "outbox" });
    this.#emit("conversations");
  }

  #saveOutbox() {
    try {
      if (this.#outbox.length === 0) this.#storage?.removeItem(this.#storageKey);
      else this.#storage?.setItem(this.#storageKey, JSON.stringify(this.#outbox));
    } catch {
      // A full or forbidden storage: the outbox lives as long as the page.
    }
  }

  #loadOutbox() {
    try {
      const entries = JSON.parse(this.#storage?.getItem(this.#storageKey) ?? "[]");
      return entries.map((entry) => ({ ...entry, state: "waiting", error: null }));
    } catch {
      return [];
    }
  }

  // Small things

  #emit(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #later(ms, act) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, ms);
    this.#timers.add(timer);
  }

  #sleep(ms) {
    return new Promise((resolve) => this.#later(ms, resolve));
  }
}

/** A new idempotency key: 128 random bits. `crypto.randomUUID` would need a secure context. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Why the server would never take a message; null if nothing is wrong, or its limits are not known yet. */
function tooLarge(payload, limits) {
  if (!limits) return null;
  const message =
    [...payload.body].length > limits.bodyChars
      ? `${TOO_LARGE} At most ${limits.bodyChars} characters.`
      : new TextEncoder().encode(JSON.stringify(payload)).length + PACKET_BYTES > limits.eventBytes
        ? TOO_LARGE
        : null;
  return message && new ChatError({ code: "too_large", message });
}

/** Cut to whole characters, so that an emoji at the end is not cut in the middle. */
function previewOf(senderId, body) {
  return { senderId, text: [...body.slice(0, 2 * PREVIEW_CHARS)].slice(0, PREVIEW_CHARS).join("") };
}

function disconnected() {
  return new ChatError({ code: "disconnected", message: "There is no connection.", retryable: true });
}

/** Why a handshake failed: the server's own error if it sent one, over Socket.IO or over HTTP. */
function refusal(error) {
  let told = error.data?.error ?? error.data;
  if (!told?.code) {
    try {
      // Long polling, which comes first, can read the body of an HTTP refusal.
      told = JSON.parse(error.context.responseText).error;
    } catch {
      told = null;
    }
  }
  return { code: told?.code ?? "unreachable", message: told?.message ?? "The server cannot be reached." };
}
