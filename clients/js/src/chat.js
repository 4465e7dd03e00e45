// A chat: one connection, one outbox, the list, and the rooms that are open. The package's entrance.
//
//     const chat = createChat({ url, getToken });
//     chat.connect();
//     const room = chat.open(conversationId);
//     room.subscribe(() => draw(room.state.messages, room.state.pending));
//     room.send("Hello");
import { Cache } from "./cache.js";
import { CLOCK } from "./clock.js";
import { Connection } from "./connection.js";
import { counts } from "./conversation.js";
import { Conversations } from "./conversations.js";
import { ChatError } from "./errors.js";
import { cut } from "./list.js";
import { Listenable } from "./listeners.js";
import { Outbox } from "./outbox.js";
import { isLookedAt, listenTo } from "./page.js";
import { newKey } from "./pending.js";
import { Profiles } from "./profiles.js";
import { Room } from "./room.js";
import { defaultStorage, memoryStorage } from "./storage.js";
import { Turns } from "./turns.js";

/** @import { Clock } from "./clock.js" */
/** @import { Status as ConnectionStatus } from "./connection.js" */
/** @import { State } from "./conversation.js" */
/** @import { ListAction } from "./list.js" */
/** @import { Context } from "./room.js" */
/** @import { Storage } from "./storage.js" */
/** @import { Conversation, CreateConversation, JoinConversationAck, Message, Requests, SettingsChanged, Welcome } from "./wire.js" */

/** @typedef {ConnectionStatus & {storage: "lasting" | "memory"}} Status  `storage`: whether what waits outlives the page */
/** @typedef {Room & {setVisible: (visible: boolean) => void, close: () => void}} OpenRoom */

/**
 * @typedef {object} Options
 * @property {string} [url]  the server, as http(s) or ws(s); without it the page's own origin
 * @property {(how: {renew: boolean}) => Promise<string>} [getToken]  a token for each connect; `renew`: the last one was refused
 * @property {boolean} [cookie]  the server's login cookie, in place of a token
 * @property {{id: string, name?: string}} [user]  who logs in: then what was kept shows before there is a connection
 * @property {Storage} [storage]  in place of IndexedDB; `memoryStorage()` keeps nothing
 * @property {boolean} [cache]  keep conversations for reading without a connection (the default)
 * @property {object} [options]  further options of socket.io-client, such as `path` and `transports`
 * @property {Clock} [clock]  for tests
 */

/** Rooms that nobody holds but that are remembered, so that going back to them shows at once what was there. */
const MOST_ROOMS = 30;
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 10_000;

/** @param {Options} options */
export function createChat(options) {
  return new Chat(options);
}

export class Chat extends Listenable {
  /** @type {Status} */
  status;
  /** The list: `state`, `subscribe`, `loadMore`. @type {Conversations} */
  conversations;
  /** How users are shown: `state`, by user id, and `subscribe`. */
  profiles = new Profiles();
  #options;
  #clock;
  #connection;
  #outbox;
  #storage;
  /** @type {Cache | null} */
  #cache = null;
  /** One's own id, as it was given, and then as the server says it. @type {string | null} */
  #me;
  /** @type {string | null} */
  #scope = null;
  /** By id; the one used last is the last. @type {Map<string, Room>} */
  #rooms = new Map();
  #turns;
  /** @type {(() => void) | null} */
  #unlisten = null;
  /** @type {Context} */
  #context;

  /** @param {Options} options */
  constructor(options) {
    super();
    const { url, getToken = null, cookie = false, user, clock = CLOCK } = options;
    if (!getToken && !cookie) throw new TypeError("createChat needs getToken, or cookie: true.");
    this.#options = options;
    this.#clock = clock;
    this.#me = user?.id.normalize("NFC") ?? null;
    this.#storage = options.storage ?? defaultStorage();
    this.#connection = new Connection({
      url: url?.replace(/^ws/u, "http"), // socket.io-client takes both, and fetch does not
      options: { ...(cookie && { withCredentials: true }), ...options.options },
      getToken,
      clock,
      handlers: {
        welcome: (welcome) => this.#welcome(welcome),
        lost: () => this.#lost(),
        event: (name, payload) => this.#event(name, payload),
      },
    });
    this.#turns = new Turns({ connection: this.#connection, clock, rooms: this.#rooms });
    this.#outbox = new Outbox({
      ...{ connection: this.#connection, storage: this.#storage, clock },
      onStored: (message) => this.#stored(message),
    });
    this.status = this.#status();
    this.#connection.subscribe(() => this.#statusChanged());
    this.#outbox.subscribe(() => {
      for (const room of this.#rooms.values()) room.refresh();
      this.#statusChanged();
    });
    this.#context = {
      ...{ connection: this.#connection, outbox: this.#outbox, clock },
      cache: () => this.#cache,
      looks: isLookedAt,
      learn: (profiles) => this.profiles.learn(profiles),
      me: () => this.#me,
      changed: () => this.#changed(),
      insist: (event, payload, wanted, take) => this.#insist(event, payload, wanted, take),
      joined: (id, ack) => this.#joined(id, ack),
      counted: (id, state) => this.#counted(id, state),
      settled: (event) => this.#settled(event),
      changedBy: ({ conversation, message }) => {
        if (conversation) this.#event("conversation_updated", { conversation });
        if (message) this.#stored(message);
      },
      forget: (id) => this.#forget(id),
    };
    this.conversations = new Conversations({
      insist: (event, payload, wanted, take) => this.#insist(event, payload, wanted, take),
      learn: (profiles) => this.profiles.learn(profiles),
      changed: ({ all, loaded }) => loaded && this.#connection.connected && this.#cache?.keepList(all),
    });
    this.profiles.subscribe(() => this.#cache?.keepProfiles([...this.profiles.state.values()]));
    this.conversations.apply({ type: "known", me: this.#me });
  }

  snapshot = () => this.status;

  /** Connect, and stay so; again when the user presses the button. */
  connect = () => {
    this.#begin();
    this.#connection.connect();
  };

  /** Disconnect, until `connect`. What waits to be sent is kept. */
  disconnect = () => {
    this.#connection.disconnect();
    this.#unlisten?.();
    this.#unlisten = null;
    this.#turns.end();
    void this.#cache?.flush();
    this.#outbox.close();
    this.#scope = null;
  };

  /** Disconnect, and forget the user on this machine: what waits and what was kept. With the cookie, the login too. */
  logOut = async () => {
    const cleared = Promise.all([this.#outbox.clear(), this.#cache?.clear()]);
    this.#cache = null;
    this.disconnect();
    this.#rooms.clear();
    this.#me = null;
    this.conversations.forget();
    this.profiles.forget();
    await cleared;
    if (this.#options.cookie) {
      const path = new URL("session", `${this.#options.url?.replace(/^ws/u, "http") ?? location.origin}/`);
      await fetch(path, { method: "DELETE", credentials: "include" });
    }
  };

  /** What waits to be stored, in all conversations; `subscribe` tells when it changes. */
  get pending() {
    return this.#outbox.entries;
  }

  /** Something makes an attempt worthwhile now: for platforms without a `window`, where an application comes back. */
  wake = () => {
    this.#connection.wake();
    void this.#connection.probe();
  };

  /** Open a conversation, until it is closed. @param {string} id @param {{visible?: boolean}} [how] @returns {OpenRoom} */
  open = (id, { visible = false } = {}) => {
    const room = this.room(id);
    const { setVisible, release } = room.hold(visible);
    return /** @type {any} */ ({ __proto__: room, setVisible, close: release });
  };

  /** A conversation, without opening it: what hooks render before they hold it. @param {string} id @returns {Room} */
  room = (id) => {
    const room = this.#rooms.get(id) ?? new Room(id, this.#context);
    this.#rooms.delete(id);
    this.#rooms.set(id, room);
    for (const [other, { idle }] of this.#rooms) {
      if (this.#rooms.size <= MOST_ROOMS) break;
      if (idle && other !== id) this.#rooms.delete(other);
    }
    return room;
  };

  /**
   * Start a conversation: two people and no title make a direct one, of which there is only one.
   *
   * @param {CreateConversation} draft
   * @returns {Promise<Conversation>}
   * @throws {ChatError}
   */
  createConversation = async (draft) => {
    const { conversation } = await this.#connection.request("create_conversation", draft, (ack) => {
      this.profiles.learn(ack.profiles);
      this.conversations.apply({ type: "created", conversation: ack.conversation });
    });
    return conversation;
  };

  /**
   * Any request of docs/protocol.md, once.
   *
   * @template {keyof Requests} E
   * @param {E} event
   * @param {Requests[E]["payload"]} payload
   * @returns {Promise<Requests[E]["ack"]>}
   * @throws {ChatError}
   */
  request = (event, payload) => this.#connection.request(event, payload);

  #begin() {
    if (this.#me !== null) this.#know(this.#me);
    const looked = () => this.#rooms.forEach((room) => room.held && room.wish());
    const pagehide = () => void this.#cache?.flush();
    this.#unlisten ??= listenTo(globalThis, { focus: looked, blur: looked, visibilitychange: looked, pagehide });
  }

  /** Whose chat it is: from now on things are kept. @param {string} me */
  #know(me) {
    this.#me = me;
    const scope = `${this.#options.url ?? globalThis.location?.origin ?? ""} ${me}`;
    if (scope === this.#scope) return;
    this.#scope = scope;
    void this.#outbox.open(scope);
    if (this.#options.cache !== false && this.#cache === null) {
      this.#cache = new Cache(this.#storage, this.#clock, scope);
      void this.#cache.list().then((kept) => this.conversations.apply({ type: "known", me, kept }));
      void this.#cache.profiles().then((kept) => this.profiles.learn(kept?.filter(({ userId }) => !this.profiles.state.has(userId))));
    }
    this.conversations.apply({ type: "known", me });
    for (const room of this.#rooms.values()) room.apply({ type: "known", me });
  }

  /** @param {Welcome} welcome */
  #welcome({ user }) {
    if (this.#me !== null && this.#me !== user.id) {
      // What is on the screen, and what waits, is another user's.
      this.#connection.end({ code: "user_changed", message: `This is ${user.id}, and was ${this.#me}.` });
      return;
    }
    this.#know(user.id);
    this.profiles.learn([{ ...user, userId: user.id }]);
    this.conversations.apply({ type: "connected" });
    // Joining comes first, so that what the outbox sends is seen live.
    this.#changed();
    this.#outbox.connected();
    void this.conversations.load();
  }

  #lost() {
    this.#outbox.lost();
    this.conversations.apply({ type: "lost" });
    for (const room of this.#rooms.values()) room.lost();
    this.#changed();
  }

  /** @param {string} name @param {any} payload */
  #event(name, payload) {
    switch (name) {
      case "message_created":
      case "message_updated":
        this.profiles.learn([payload.sender]);
        return this.#stored(payload.message);
      case "conversation_activity": {
        const { conversationId, seq, senderId, preview, createdAt, mentions, sender } = payload;
        this.profiles.learn([sender]);
        return this.#news({ conversationId, seq, senderId, text: preview, at: createdAt, mentions });
      }
      case "conversation_created":
        this.profiles.learn(payload.profiles);
        this.conversations.apply({ type: "created", conversation: payload.conversation });
        this.#rooms.get(payload.conversation.id)?.added();
        return void this.conversations.load(); // its answer has the others' presence, and makes the server tell of it
      case "conversation_updated": {
        const room = this.#rooms.get(payload.conversation.id);
        this.profiles.learn([payload.sender]);
        room?.apply({ type: "updated", conversation: payload.conversation });
        return this.conversations.apply({ type: "updated", event: payload, counts: !room?.state.joined });
      }
      case "participants_changed":
        this.profiles.learn(payload.profiles);
        return this.#rooms.get(payload.conversationId)?.apply({ type: "people", event: payload });
      case "conversation_removed":
        this.#rooms.get(payload.conversationId)?.removed(payload.reason);
        return this.#forget(payload.conversationId);
      case "settings_changed":
        return this.#settled(payload);
      case "messages_read":
        this.#rooms.get(payload.conversationId)?.apply({ type: "read", event: payload });
        if (payload.userId === this.#me) this.#read(payload);
        return;
      case "user_typing":
        return this.#rooms.get(payload.conversationId)?.apply({ type: "typing", event: payload });
      case "profile_changed":
        return this.profiles.learn([payload]);
      case "presence_changed":
        for (const room of this.#rooms.values()) room.apply({ type: "presence", event: payload });
        return this.conversations.apply({ type: "presence", event: payload });
    }
  }

  /** One is stored, or has changed: an event, or the answer to one's own. @param {Message} message */
  #stored(message) {
    this.#news(newsOf(message));
    // Both before anybody is told: the bubble that waited becomes the stored one, without a moment in between.
    this.#rooms.get(message.conversationId)?.apply({ type: "message", message });
    if (message.senderId === this.#me) this.#outbox.settle(message.idempotencyKey, message);
  }

  /** @param {Omit<Extract<ListAction, {type: "news"}>, "type">} news */
  #news(news) {
    // Somebody wrote in a conversation that is further down in the list than what has been loaded.
    if (!this.conversations.has(news.conversationId)) void this.conversations.load();
    else this.conversations.apply({ type: "news", ...news });
  }

  /** One's own read mark moved. If that leaves something unread, only the conversation itself, or another answer, says how much. @param {{conversationId: string, readSeq: number}} event */
  #read({ conversationId, readSeq }) {
    this.conversations.apply({ type: "read", conversationId, readSeq });
    const item = this.conversations.state.all.find(({ id }) => id === conversationId);
    const partly = item && item.lastSeq > readSeq && item.uncounted + item.unreadMentions > 0;
    if (partly && !this.#rooms.get(conversationId)?.state.joined) void this.conversations.load();
  }

  /** One takes part no more. @param {string} conversationId */
  #forget(conversationId) {
    this.#cache?.forget(conversationId);
    this.conversations.apply({ type: "removed", conversationId });
  }

  /** @param {SettingsChanged} event */
  #settled(event) {
    this.#rooms.get(event.conversationId)?.apply({ type: "settings", settings: event.settings });
    this.conversations.apply({ type: "settings", event });
  }

  /** @param {string} conversationId @param {JoinConversationAck} ack */
  #joined(conversationId, { messages, settings }) {
    const newest = messages.filter(counts).at(-1);
    if (newest && this.conversations.has(conversationId)) this.#news(newsOf(newest));
    this.conversations.apply({ type: "settings", event: { conversationId, settings } });
    for (const message of messages) if (message.senderId === this.#me) this.#outbox.settle(message.idempotencyKey, message);
    this.#changed();
  }

  /** What is open knows best what is unread. @param {string} conversationId @param {State} state */
  #counted(conversationId, { lastSeq, readSeq, uncounted, unreadMentions }) {
    this.conversations.apply({ type: "read", conversationId, lastSeq, readSeq, uncounted, unreadMentions });
  }

  // What is open

  /** Somebody wishes something else: tell the server, when all who wish in this turn have said so. */
  #changed() {
    const looking = new Set([...this.#rooms.values()].filter(({ state }) => state.visible && state.joined).map(({ id }) => id));
    const same = looking.size === this.conversations.state.looking.size && [...looking].every((id) => this.conversations.state.looking.has(id));
    if (!same) this.conversations.apply({ type: "looking", ids: looking });
    this.#turns.begin();
  }

  // Small things

  /** @type {Context["insist"]} */
  async #insist(event, payload, wanted, take) {
    for (let pauseMs = RETRY_MS; ; pauseMs = Math.min(2 * pauseMs, RETRY_MAX_MS)) {
      try {
        return await this.#connection.request(event, payload, take);
      } catch (error) {
        if (!(error instanceof ChatError) || !error.retryable || error.code === "disconnected") throw error;
        const ms = error.retryAfterMs ?? pauseMs;
        await new Promise((resolve) => this.#clock.setTimeout(() => resolve(undefined), ms));
        if (!wanted()) throw error;
      }
    }
  }

  #statusChanged() {
    const status = this.#status();
    this.status = status;
    this.notify();
  }

  /** @returns {Status} */
  #status() {
    return { ...this.#connection.status, storage: this.#outbox.lasting ? "lasting" : "memory" };
  }
}

/** What the list shows of a message. @param {Message} message */
function newsOf(message) {
  const { conversationId, seq, senderId, body, createdAt, mentions } = message;
  return { conversationId, seq, senderId, text: counts(message) ? cut(body) : null, at: createdAt, mentions };
}

export { ChatError, memoryStorage, newKey };
