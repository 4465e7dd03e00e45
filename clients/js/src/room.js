// One conversation, live: joined as long as somebody holds it, resumed after every reconnect, its holes filled.
//
// What the application wishes (open, visible) and what the server was told are kept apart; `chat.js` makes them agree, one
// request after the other, so that twenty switches a second are not forty requests.
import { EMPTY, reduce, toKeep } from "./conversation.js";
import { ChatError } from "./errors.js";
import { Listenable } from "./listeners.js";
import { newKey, withPending } from "./pending.js";
import { ignore, Upkeep } from "./upkeep.js";

/** @import { Cache } from "./cache.js" */
/** @import { Clock } from "./clock.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Action, Role, State } from "./conversation.js" */
/** @import { Outbox } from "./outbox.js" */
/** @import { Pending, PendingChange, PendingMessage, ShownMessage } from "./pending.js" */
/** @import { Conversation, JoinConversationAck, Message, OwnSettings, Profile, Requests, SettingsChanged } from "./wire.js" */

/**
 * @typedef {Omit<State, "messages" | "quoted"> & {messages: readonly ShownMessage[], quoted: ReadonlyMap<number, ShownMessage | null>,
 *   pending: readonly PendingMessage[]}} RoomState  `pending`: one's own messages that are not stored yet
 */
/** @typedef {{metadata?: Record<string, unknown> | null, mentions?: string[]}} Extras */
/** @template {Pending} [P=Pending] @typedef {P & {stored: Promise<Message>}} Written  `stored` fails if the server will never take it, or it is given up */

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
 * @property {(id: string, state: State) => void} counted  what is unread may have changed
 * @property {(event: SettingsChanged) => void} settled
 * @property {(ack: {conversation?: Conversation, message?: Message}) => void} changedBy  one's own change of people or title
 * @property {(id: string) => void} forget  one takes part no more
 */

const PAGE = 50;
const TYPING_REPEAT_MS = 3_000; // the server forgets after 6 s
const TYPING_IDLE_MS = 5_000;
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 10_000;

export class Room extends Listenable {
  /** @type {RoomState} */
  state;
  #context;
  #inner;
  /** The one of which `state` was made. @type {State | null} */
  #shown = null;
  /** @type {Set<{visible: boolean}>} */
  #holds = new Set();
  /** Which of two is the newer wish: the room that was opened last is joined first. */
  heldAt = 0;
  /** What the present connection was told: null if it has not joined. @type {{visible: boolean} | null} */
  #told = null;
  #behind = false;
  #anew = false;
  #refused = false;
  /** Nothing before that moment, after a refusal for now. */
  notBefore = 0;
  #retryMs = RETRY_MS;
  /** Rises with every connection and every leaving: answers to what was asked before do not count. */
  #era = 0;
  #upkeep;
  /** Of the outbox, those of this conversation. @type {readonly Pending[]} */
  #entries = [];
  /** What was made of a message and its pending changes. @type {WeakMap<Message, ShownMessage>} */
  #made = new WeakMap();
  #typing = { toldAt: -Infinity, /** @type {any} */ idle: null };
  /** What was kept of it has been read. @type {Promise<void>} */
  #ready;

  /** @param {string} id @param {Context} context */
  constructor(id, context) {
    super();
    this.id = id;
    this.#context = context;
    this.#inner = reduce(EMPTY, { type: "known", me: context.me() });
    /** @type {RoomState} */
    this.state = { ...this.#inner, pending: [] };
    this.#upkeep = this.#newUpkeep();
    this.refresh();
    this.#ready = this.#recall();
  }

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
   * @param {Extras & {replyTo?: number}} [options]  `replyTo`: the `seq` of a message of this conversation
   * @returns {Written<PendingMessage>}
   * @throws {ChatError} `outbox_full`
   */
  send = (body, { metadata = null, replyTo, mentions } = {}) => {
    this.setTyping(false);
    return this.#write({ kind: "send", body, metadata, replyTo, mentions });
  };

  /**
   * Give one's message new content, whole. It shows at once.
   *
   * @param {number | string} which  its `seq`; or the `key` of one that waits, which is changed then
   * @param {string} body
   * @param {Extras & {ifChange?: number}} [options]  `ifChange`: only if it has this `change` still
   * @returns {Written}
   * @throws {ChatError} `outbox_full`, `message_not_found`
   */
  edit = (which, body, { metadata = null, mentions, ifChange } = {}) => {
    const content = { body, metadata, mentions };
    const waiting = typeof which === "string" && this.#context.outbox.rewrite(which, content);
    if (waiting) return this.#written(waiting);
    return this.#write({ kind: "edit", seq: this.#seqOf(which), ...content, ifChange });
  };

  /**
   * Delete a message. It shows as deleted at once. With the `key` of one that waits, it is taken back.
   *
   * @param {number | string} which
   * @param {{undoMs?: number}} [options]  send it so much later; until then `discard` undoes it
   * @returns {Written}
   * @throws {ChatError} `outbox_full`, `message_not_found`
   */
  remove = (which, { undoMs = 0 } = {}) => {
    const waiting = typeof which === "string" && this.#context.outbox.takeBack(which);
    if (waiting) return this.#written(waiting);
    const dueAt = undoMs > 0 ? this.#context.clock.wall() + undoMs : undefined;
    return this.#write({ kind: "remove", seq: this.#seqOf(which), dueAt });
  };

  /**
   * React to a message, or take one's reaction back. It shows at once.
   *
   * @param {number} seq
   * @param {string} reaction
   * @param {boolean} [on]
   * @returns {Written}
   * @throws {ChatError} `outbox_full`
   */
  react = (seq, reaction, on = true) => this.#write({ kind: "react", seq, reaction, on });

  /** When what waits is stored, also what an earlier page wrote. @param {string} key @returns {Promise<Message>} */
  stored = (key) => this.#context.outbox.outcome(key);

  /** Try again what was refused. @param {string} key */
  retry = (key) => this.#context.outbox.retry(key);

  /** Give up what waits, or was refused. @param {string} key */
  discard = (key) => this.#context.outbox.discard(key);

  /** Load the page before the first message at hand; does nothing without a connection, or while it is under way. */
  loadOlder = async () => {
    if (this.#inner.hasOlder && this.#inner.joined) await this.#upkeep.loadOlder();
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

  /** Settle something for oneself. @param {Partial<OwnSettings>} settings */
  updateSettings = async (settings) => {
    const conversationId = this.id;
    await this.#context.connection.request("update_settings", { conversationId, ...settings }, (ack) => {
      this.#context.settled({ conversationId, settings: ack.settings });
    });
  };

  /**
   * Add people to a group.
   *
   * @param {readonly string[]} userIds
   * @param {{role?: "admin" | "member", history?: "all" | "none"}} [how]  `history`: whether they see what was before
   * @throws {ChatError} this and the following: `forbidden`, where one's role does not allow it; `disconnected`
   */
  addParticipants = (userIds, { role, history = "all" } = {}) =>
    this.#change("add_participants", { userIds, history, ...(role && { role }), idempotencyKey: newKey() });

  /** @param {string} userId */
  removeParticipant = (userId) => this.#change("remove_participant", { userId, idempotencyKey: newKey() });

  /** Leave for good; `close` only stops listening. */
  leave = () => this.removeParticipant(this.#context.me() ?? "");

  /** @param {string} userId @param {Role} role */
  setRole = (userId, role) => this.#change("set_role", { userId, role });

  /** @param {{title?: string | null, metadata?: Record<string, unknown> | null}} change */
  update = (change) => this.#change("update_conversation", { ...change, idempotencyKey: newKey() });

  /** @param {string} event @param {object} payload */
  async #change(event, payload) {
    const { insist, changedBy } = this.#context;
    await insist(/** @type {any} */ (event), /** @type {any} */ ({ conversationId: this.id, ...payload }), () => true, changedBy);
  }

  /** @param {Omit<Pending, "key" | "createdAt" | "error" | "conversationId"> & Record<string, unknown>} draft @returns {any} */
  #write(draft) {
    const { outbox, connection } = this.#context;
    const given = Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined));
    const entry = outbox.add(/** @type {any} */ ({ ...given, conversationId: this.id }));
    connection.wake();
    return this.#written(entry);
  }

  /** @template {Pending} P @param {P} entry @returns {Written<P>} */
  #written(entry) {
    return { ...entry, stored: this.#context.outbox.outcome(entry.key) };
  }

  /** @param {number | string} which a seq, or the key of a message that was stored a moment ago */
  #seqOf(which) {
    if (typeof which === "number") return which;
    const { me, messages } = this.#inner;
    const found = messages.find(({ senderId, idempotencyKey }) => senderId === me && idempotencyKey === which);
    if (!found) throw new ChatError({ code: "message_not_found", message: "No such message waits." });
    return found.seq;
  }

  // For the chat

  /** @param {Action} action */
  apply(action) {
    const next = reduce(this.#inner, action);
    if (next === this.#inner) return;
    this.#inner = next;
    this.refresh();
    if (next.joined && action.type !== "joined") this.#context.counted(this.id, next);
    this.#upkeep.look();
    const kept = this.held && (action.type === "joined" || action.type === "message" || action.type === "read") ? toKeep(next) : null;
    if (kept) this.#context.cache()?.keepConversation(this.id, kept);
  }

  /** Put together what applications see, if it has changed: a message that has not is the same object. */
  refresh() {
    const entries = this.#context.outbox.entries.filter(({ conversationId }) => conversationId === this.id);
    const same = isSame(entries, this.#entries);
    if (same && this.#shown === this.#inner) return;
    this.#shown = this.#inner;
    if (!same) this.#entries = entries;
    const { me, messages, quoted } = this.#inner;
    const stored = new Set(entries.length > 0 ? messages.filter(({ senderId }) => senderId === me).map((each) => each.idempotencyKey) : []);
    /** @type {PendingMessage[]} */
    const waiting = [];
    /** @type {Map<number, PendingChange[]>} */
    const changes = new Map();
    for (const entry of entries) {
      if (entry.kind !== "send") changes.set(entry.seq, [...(changes.get(entry.seq) ?? []), entry]);
      else if (!stored.has(entry.key) && entry.then !== "remove") waiting.push(entry);
    }
    const show = (/** @type {Message} */ message) => {
      const own = changes.get(message.seq);
      if (!own) return message;
      const made = this.#made.get(message);
      if (made?.pending && isSame(own, made.pending)) return made;
      const shown = withPending(message, own, me);
      this.#made.set(message, shown);
      return shown;
    };
    this.state = {
      ...this.#inner,
      messages: changes.size > 0 ? messages.map(show) : messages,
      quoted: changes.size > 0 ? new Map([...quoted].map(([seq, message]) => [seq, message && show(message)])) : quoted,
      pending: isSame(waiting, this.state.pending) ? this.state.pending : waiting,
    };
    this.notify();
  }

  /** The application wishes something else. */
  wish() {
    this.apply({ type: "visible", visible: this.visible });
    this.#context.changed();
  }

  /** One takes part no more: nothing of it is kept. @param {"removed" | "left" | "deleted"} reason */
  removed(reason) {
    this.lost();
    this.#refused = true;
    this.apply({ type: "removed", reason });
  }

  /** One takes part, again perhaps. */
  added() {
    this.#refused = false;
    this.#context.changed();
  }

  lost() {
    this.#era += 1;
    this.#told = null;
    this.#refused = false;
    this.notBefore = 0;
    this.#retryMs = RETRY_MS;
    this.#typing.toldAt = -Infinity;
    this.#behind = this.#anew = false;
    this.#upkeep.end();
    this.#upkeep = this.#newUpkeep();
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
        if (error.code === "conversation_not_found") this.#context.forget(conversationId);
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
    const after = this.#anew ? null : this.#inner.cursor;
    const { visible } = this;
    const payload = { conversationId: this.id, limit: PAGE, visible, ...(after !== null && { after }) };
    await connection.request("join_conversation", payload, (ack) => {
      if (era !== this.#era) return;
      this.#told = { visible };
      this.#behind = this.#anew = false;
      this.#context.learn([...(ack.profiles ?? []), ...ack.participants]);
      this.apply({ type: "joined", ack, after });
      this.#context.joined(this.id, ack);
      this.#context.counted(this.id, this.#inner);
    });
    if (era === this.#era) this.#upkeep.joined();
  }

  #newUpkeep() {
    return new Upkeep({
      ...{ id: this.id, context: this.#context },
      state: () => this.#inner,
      apply: (action) => this.apply(action),
      rejoin: (anew) => {
        this.#behind = true;
        this.#anew ||= anew;
        this.#context.changed();
      },
    });
  }
}

/** @param {readonly unknown[]} some @param {readonly unknown[]} others */
const isSame = (some, others) => some.length === others.length && some.every((each, i) => each === others[i]);
