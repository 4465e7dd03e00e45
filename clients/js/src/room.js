// One conversation, live: joined as long as somebody holds it, resumed after every reconnect, its holes filled.
//
// What the application wishes (open, visible) and what the server was told are kept apart; `chat.js` makes them agree, one
// request after the other, so that twenty switches a second are not forty requests.
import { EMPTY, isBehind, newestHole, reduce, toKeep } from "./conversation.js";
import { ChatError } from "./errors.js";
import { Listeners } from "./listeners.js";

/** @import { Cache } from "./cache.js" */
/** @import { Clock, Connection } from "./connection.js" */
/** @import { Action, State } from "./conversation.js" */
/** @import { Outbox, Pending } from "./outbox.js" */
/** @import { JoinConversationAck, Message, Profile, Requests } from "./wire.js" */

/** @typedef {State & {pending: readonly Pending[]}} RoomState  `pending`: one's own that are not stored yet */

/**
 * @typedef {object} Context  what a room needs of the chat
 * @property {Connection} connection
 * @property {Outbox} outbox
 * @property {Clock} clock
 * @property {() => Cache | null} cache
 * @property {() => boolean} looks  whether somebody looks at the page at all
 * @property {(profiles?: readonly Profile[]) => void} learn  how users are shown
 * @property {() => string | null} me
 * @property {() => void} changed  the room's wish is another one
 * @property {<E extends keyof Requests>(event: E, payload: Requests[E]["payload"], wanted: () => boolean,
 *   take?: (ack: Requests[E]["ack"]) => void) => Promise<Requests[E]["ack"]>} insist
 * @property {(id: string, ack: JoinConversationAck) => void} joined
 */

const PAGE = 50;
/** Of what is read to fill a hole. */
const FILL_PAGE = 100;
/** A longer hole is not filled: what lies before it is forgotten, and read again by scrolling. */
const LONGEST_HOLE = 1_000;
/** How long live events may be ahead of one that comes late, before the conversation is joined again. */
const AHEAD_MS = 250;
const TYPING_REPEAT_MS = 3_000; // the server forgets after 6 s
const TYPING_IDLE_MS = 5_000;
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 10_000;

export class Room {
  /** @type {RoomState} */
  state;
  #context;
  #inner;
  /** The one of which `state` was made. @type {State | null} */
  #shown = null;
  #listeners = new Listeners();
  /** @type {Set<{visible: boolean}>} */
  #holds = new Set();
  /** Which of two is the newer wish: the room that was opened last is joined first. */
  heldAt = 0;
  /** What the present connection was told: null if it has not joined. @type {{visible: boolean} | null} */
  #told = null;
  #behind = false;
  #refused = false;
  /** Nothing before that moment, after a refusal for now. */
  notBefore = 0;
  #retryMs = RETRY_MS;
  /** Rises with every connection and every leaving: answers to what was asked before do not count. */
  #era = 0;
  #filling = false;
  #older = false;
  #typing = { toldAt: -Infinity, /** @type {any} */ idle: null };
  /** @type {any} */
  #aheadTimer = null;
  /** What was kept of it has been read. @type {Promise<void>} */
  #ready;

  /** @param {string} id @param {Context} context */
  constructor(id, context) {
    this.id = id;
    this.#context = context;
    this.#inner = reduce(EMPTY, { type: "known", me: context.me() });
    this.state = { ...this.#inner, pending: [] };
    this.refresh();
    this.#ready = this.#recall();
  }

  /** @param {() => void} listener @returns {() => void} takes it away */
  subscribe = (listener) => this.#listeners.add(listener);

  snapshot = () => this.state;

  /**
   * Keep the conversation joined. It is left when nobody holds it.
   *
   * @param {boolean} [visible] its newest messages are on the screen: they count as read
   * @returns {{setVisible: (visible: boolean) => void, release: () => void}}
   */
  hold = (visible = false) => {
    const hold = { visible };
    this.#holds.add(hold);
    this.heldAt = this.#context.clock.now();
    this.#refused = false;
    this.wish();
    return {
      setVisible: (now) => {
        hold.visible = now;
        this.wish();
      },
      release: () => {
        if (this.#holds.delete(hold)) this.wish();
      },
    };
  };

  get held() {
    return this.#holds.size > 0;
  }

  /** Nobody needs it, here or on the server. */
  get idle() {
    return !this.held && this.#told === null;
  }

  get visible() {
    return this.#context.looks() && [...this.#holds].some(({ visible }) => visible);
  }

  /**
   * Send a message: now, or as soon as there is a connection, after a reload too. In `state.pending` until it is stored.
   *
   * @param {string} body
   * @param {{metadata?: Record<string, unknown> | null}} [options]
   * @returns {Pending & {stored: Promise<Message>}} `stored` fails if the server will never take it, or the user gives it up
   * @throws {ChatError} `outbox_full`
   */
  send = (body, { metadata = null } = {}) => {
    const { outbox, connection } = this.#context;
    this.setTyping(false);
    const entry = outbox.add({ conversationId: this.id, body, metadata });
    connection.wake();
    return { ...entry, stored: outbox.outcome(entry.key) };
  };

  /** When a pending message is stored, one of an earlier page too. @param {string} key @returns {Promise<Message>} */
  stored = (key) => this.#context.outbox.outcome(key);

  /** Try a refused message again. @param {string} key */
  retry = (key) => this.#context.outbox.retry(key);

  /** Give a pending message up. @param {string} key */
  discard = (key) => this.#context.outbox.discard(key);

  /** Load the page before the first message at hand; does nothing without a connection, or while it is under way. */
  loadOlder = async () => {
    const [first] = this.#inner.messages;
    if (this.#older || !first || first.seq <= 1 || !this.#inner.joined) return;
    this.#older = true;
    try {
      await this.#history({ beforeSeq: first.seq, limit: PAGE });
    } finally {
      this.#older = false;
    }
  };

  /** Move one's own read mark; `visible` does that by itself. @param {number} [seq] up to the newest without it */
  markRead = async (seq = this.#inner.lastSeq) => {
    const { connection } = this.#context;
    const userId = this.#context.me();
    if (userId === null) return;
    await connection.request("mark_read", { conversationId: this.id, seq }, ({ readSeq }) => {
      this.apply({ type: "read", event: { userId, readSeq, readAt: null } });
    });
  };

  /** Tell the others that one types, at most every three seconds; it ends by itself five seconds after the last call. @param {boolean} typing */
  setTyping = (typing) => {
    const { clock, connection } = this.#context;
    clock.clearTimeout(this.#typing.idle);
    if (typing) this.#typing.idle = clock.setTimeout(() => this.setTyping(false), TYPING_IDLE_MS);
    const now = clock.now();
    if (typing ? now - this.#typing.toldAt < TYPING_REPEAT_MS : this.#typing.toldAt === -Infinity) return;
    this.#typing.toldAt = typing ? now : -Infinity;
    if (this.#told) connection.request("set_typing", { conversationId: this.id, typing }).catch(ignore);
  };

  // For the chat

  /** @param {Action} action */
  apply(action) {
    const next = reduce(this.#inner, action);
    if (next === this.#inner) return;
    this.#inner = next;
    this.refresh();
    this.#lookAfter();
    const kept = this.held && (action.type === "joined" || action.type === "message" || action.type === "read") ? toKeep(next) : null;
    if (kept) this.#context.cache()?.keepConversation(this.id, kept);
  }

  /** Put together what applications see, if it has changed. */
  refresh() {
    const entries = this.#context.outbox.entries.filter(({ conversationId }) => conversationId === this.id);
    const { me, messages } = this.#inner;
    const stored = new Set(entries.length > 0 ? messages.filter(({ senderId }) => senderId === me).map((each) => each.idempotencyKey) : []);
    const waiting = entries.filter(({ key }) => !stored.has(key));
    const before = this.state.pending;
    const same = waiting.length === before.length && waiting.every((entry, i) => entry === before[i]);
    if (same && this.#shown === this.#inner) return;
    this.#shown = this.#inner;
    this.state = { ...this.#inner, pending: same ? before : waiting };
    this.#listeners.tell();
  }

  /** The application wishes something else. */
  wish() {
    this.apply({ type: "visible", visible: this.visible });
    this.#context.changed();
  }

  lost() {
    this.#era += 1;
    this.#told = null;
    this.#refused = false;
    this.notBefore = 0;
    this.#retryMs = RETRY_MS;
    this.#typing.toldAt = -Infinity;
    this.#behind = false;
    this.#filling = false;
    this.#context.clock.clearTimeout(this.#aheadTimer);
    this.#aheadTimer = null;
    this.apply({ type: "lost" });
  }

  /** What the server has to be told; null if it knows. @returns {"leave" | "visibility" | "join" | null} */
  get due() {
    if (!this.held) return this.#told ? "leave" : null;
    if (this.#refused) return null;
    if (!this.#told || this.#behind) return "join";
    return this.#told.visible === this.visible ? null : "visibility";
  }

  /** Tell it. Never fails: what was refused for now is due again later. */
  async tell() {
    const { connection, clock } = this.#context;
    const { due, id: conversationId, visible } = this;
    const era = this.#era;
    try {
      if (due === "leave") {
        this.#context.clock.clearTimeout(this.#typing.idle);
        this.lost(); // whatever the answer is: nothing of it counts any more
        await connection.request("leave_conversation", { conversationId });
      } else if (due === "visibility") {
        if (this.#told) this.#told.visible = visible;
        await connection.request("set_visibility", { conversationId, visible });
      } else if (due === "join") {
        await this.#ready;
        await this.#join();
      }
      this.#retryMs = RETRY_MS;
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
      if (error.code === "disconnected" || era !== this.#era) return;
      if (error.code === "not_joined") {
        this.#told = null; // the server knows better; it is due to join again
      } else if (error.retryable) {
        if (due === "visibility" && this.#told) this.#told.visible = !visible;
        this.notBefore = clock.now() + (error.retryAfterMs ?? this.#retryMs);
        this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS);
      } else if (due !== "leave") {
        this.#refused = true;
        this.#told = null;
        this.apply({ type: "refused", error });
      }
    }
  }

  async #recall() {
    const kept = await this.#context.cache()?.conversation(this.id);
    if (kept) this.apply({ type: "known", me: this.#context.me(), kept });
  }

  async #join() {
    const { connection } = this.#context;
    const era = this.#era;
    const after = this.#inner.cursor;
    const { visible } = this;
    const payload = { conversationId: this.id, limit: PAGE, visible, ...(after !== null && { after }) };
    await connection.request("join_conversation", payload, (ack) => {
      if (era !== this.#era) return;
      this.#told = { visible };
      this.#behind = false;
      this.#context.learn([...(ack.profiles ?? []), ...ack.participants]);
      this.apply({ type: "joined", ack, after });
      this.#context.joined(this.id, ack);
    });
    if (era === this.#era && this.#inner.participants.length < (this.#inner.conversation?.participantCount ?? 0)) {
      void this.#listParticipants().catch(ignore);
    }
  }

  /** A group that is too large for one answer: its members come page by page. */
  async #listParticipants() {
    const era = this.#era;
    const wanted = () => era === this.#era && this.held;
    for (let after = /** @type {string | null} */ (null); ; ) {
      const where = { conversationId: this.id, limit: 200, ...(after !== null && { after }) };
      const page = await this.#context.insist("list_participants", where, wanted, ({ participants }) => {
        this.#context.learn(participants);
        if (wanted()) this.apply({ type: "participants", participants });
      });
      after = page.nextAfter;
      if (after === null || !wanted()) return;
    }
  }

  /** Something may be missing: what comes late is waited for, then asked for; holes are filled. */
  #lookAfter() {
    if (this.#told && isBehind(this.#inner) && this.#aheadTimer === null) {
      const era = this.#era;
      this.#aheadTimer = this.#context.clock.setTimeout(() => {
        this.#aheadTimer = null;
        this.#behind = era === this.#era && isBehind(this.#inner);
        if (this.#behind) this.#context.changed();
      }, AHEAD_MS);
    }
    if (this.#inner.joined && !isBehind(this.#inner) && newestHole(this.#inner) !== null) void this.#fillHoles().catch(ignore);
  }

  async #fillHoles() {
    if (this.#filling) return;
    this.#filling = true;
    const era = this.#era;
    try {
      for (;;) {
        const hole = newestHole(this.#inner);
        if (hole === null || era !== this.#era || !this.held) return;
        if (hole.length > LONGEST_HOLE) this.apply({ type: "forget", beforeSeq: hole.beforeSeq });
        else if ((await this.#history({ beforeSeq: hole.beforeSeq, limit: FILL_PAGE })) === 0) return;
      }
    } finally {
      if (era === this.#era) this.#filling = false;
    }
  }

  /** @param {{beforeSeq: number, limit: number}} where @returns {Promise<number>} how many messages came */
  async #history(where) {
    const era = this.#era;
    const wanted = () => era === this.#era;
    try {
      const page = await this.#context.insist("fetch_history", { conversationId: this.id, ...where }, wanted, ({ messages, profiles }) => {
        this.#context.learn(profiles);
        if (wanted()) this.apply({ type: "history", messages });
      });
      return page.messages.length;
    } catch (error) {
      ignore(error);
      return 0;
    }
  }
}

/** What failed is repeated, or has lost its meaning, with the next connection. @param {unknown} failure */
function ignore(failure) {
  if (!(failure instanceof ChatError)) throw failure;
}
