// What was written and is not stored yet: kept across reloads, sent in order, by one tab at a time, each under the
// idempotencyKey that it got when it was written. What the server can never take leaves the queue, and says why.
import { ChatError } from "./errors.js";
import { Listeners } from "./listeners.js";

/** @import { Connection, Clock } from "./connection.js" */
/** @import { Storage } from "./storage.js" */
/** @import { Limits, Message, SendMessage } from "./wire.js" */

/**
 * @typedef {object} Pending  never changed; another object when something does
 * @property {string} key  the idempotencyKey
 * @property {string} conversationId
 * @property {string} body
 * @property {Record<string, unknown> | null} metadata
 * @property {number} createdAt  rises from entry to entry of a tab
 * @property {{code: ChatError["code"], message: string} | null} error  why the server does not take it; null while it waits
 */

/** Enough for an hour underground; what is more is refused rather than forgotten. */
const MOST = 200;
/** Keys of which it is remembered that they are done: an answer of the storage may be older. */
const MOST_DONE = 1_000;
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 10_000;
/** What a packet has beside its payload: the event's name, the ack's id. */
const PACKET_BYTES = 64;
const TOO_LARGE = "This message is too large.";

export class Outbox {
  /** In the order in which they were written, in all tabs. @type {readonly Pending[]} */
  entries = [];
  /** Whether they outlive the page. */
  lasting;
  subscribe;
  #connection;
  #storage;
  #clock;
  #onStored;
  #listeners = new Listeners();
  #prefix = "";
  /** Those whose present state the storage does not have yet. @type {Set<string>} */
  #unsaved = new Set();
  /** @type {Set<string>} */
  #done = new Set();
  /** @type {Map<string, {promise: Promise<Message>, resolve: (message: Message) => void, reject: (error: ChatError) => void}>} */
  #outcomes = new Map();
  /** Writes, one after the other. @type {Promise<unknown>} */
  #writing = Promise.resolve();
  /** @type {Promise<void>} */
  #loaded = Promise.resolve();
  /** Of the present connection. @type {AbortController | null} */
  #line = null;
  #pumping = false;
  /** @type {(() => void) | null} */
  #unhear = null;

  /**
   * @param {object} init
   * @param {Connection} init.connection
   * @param {Storage} init.storage
   * @param {Clock} init.clock
   * @param {(message: Message) => void} init.onStored  an entry has become this message, by this tab or another
   */
  constructor({ connection, storage, clock, onStored }) {
    this.#connection = connection;
    this.#storage = storage;
    this.#clock = clock;
    this.#onStored = onStored;
    this.lasting = storage.lasting;
    this.subscribe = this.#listeners.add;
  }

  /** Read what earlier pages and other tabs have written for this user. @param {string} scope the server and the user */
  open(scope) {
    this.close();
    this.#prefix = `${scope} outbox `;
    for (const { key } of this.entries) this.#save(key); // written before the user was known
    this.#unhear = this.#storage.hear((message) => this.#heard(message));
    this.#loaded = this.#reload();
    return this.#loaded.then(() => this.#pump());
  }

  close() {
    this.#unhear?.();
    this.#unhear = null;
  }

  /** There is a connection: send. */
  connected() {
    this.#line = new AbortController();
    void this.#pump();
  }

  lost() {
    this.#line?.abort();
    this.#line = null;
  }

  /**
   * Send a message: now, or as soon as there is a connection.
   *
   * @param {Pick<SendMessage, "conversationId" | "body" | "metadata">} payload
   * @returns {Pending}
   * @throws {ChatError} `outbox_full`
   */
  add({ conversationId, body, metadata = null }) {
    if (this.entries.length >= MOST) {
      throw new ChatError({ code: "outbox_full", message: `${MOST} messages wait already.`, retryable: true });
    }
    const createdAt = Math.max(this.#clock.wall(), (this.entries.at(-1)?.createdAt ?? 0) + 1);
    const entry = { key: newKey(), conversationId, body, metadata, createdAt, error: null };
    const wrong = tooLarge(entry, this.#connection.status.limits);
    this.#put(wrong ? { ...entry, error: wrong } : entry);
    void this.#pump();
    return this.#entry(entry.key) ?? entry;
  }

  /** Settles when an entry is stored, refused for good or given up. @param {string} key @returns {Promise<Message>} */
  outcome(key) {
    const known = this.#outcomes.get(key);
    if (known) return known.promise;
    /** @type {any} */
    const made = {};
    made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
    made.promise.catch(() => {}); // whoever wants to know looks at it, or at the entry
    this.#outcomes.set(key, made);
    if (this.#outcomes.size > MOST_DONE) this.#outcomes.delete(/** @type {string} */ (this.#outcomes.keys().next().value));
    void this.#loaded.then(() => {
      const entry = this.#entry(key);
      if (!entry) made.reject(new ChatError({ code: "discarded", message: "No such message waits." }));
      else if (entry.error) made.reject(new ChatError(entry.error));
    });
    return made.promise;
  }

  /** Try a refused message again, under the same key. @param {string} key */
  retry(key) {
    const entry = this.#entry(key);
    if (!entry?.error) return;
    this.#outcomes.delete(key);
    this.#put({ ...entry, error: null });
    void this.#pump();
  }

  /** Give a message up. It is stored nevertheless if it is on its way. @param {string} key */
  discard(key) {
    if (!this.#entry(key)) return;
    this.#outcomes.get(key)?.reject(new ChatError({ code: "discarded", message: "The message was given up." }));
    this.#remove(key);
  }

  /** A message of one's own is stored, as an answer, an event or another tab says. @param {Message} message */
  settle(message) {
    const key = message.idempotencyKey;
    this.#outcomes.get(key)?.resolve(message);
    if (!this.#entry(key)) return;
    this.#remove(key);
    this.#storage.tell({ prefix: this.#prefix, stored: message });
  }

  /** Forget everything, here and in the storage. */
  async clear() {
    for (const { key } of this.entries) this.discard(key);
    await this.#store(() => this.#storage.removeAll(this.#prefix));
  }

  /** @param {string} key */
  #entry(key) {
    return this.entries.find((entry) => entry.key === key);
  }

  /** One tab at a time sends, and that one has what all have written. */
  async #pump() {
    if (this.#pumping || !this.#line || !this.entries.some(({ error }) => error === null)) return;
    this.#pumping = true;
    const { signal } = this.#line;
    try {
      await this.#loaded; // what an earlier page wrote goes first
      await this.#storage.exclusive(`${this.#prefix}sending`, signal, () => this.#sendAll(signal));
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#pumping = false;
    }
    // Something was written as the last one was on its way out, or there is another connection meanwhile.
    void this.#pump();
  }

  /** One after the other: a message that has to wait must not be overtaken by the next. @param {AbortSignal} signal */
  async #sendAll(signal) {
    await this.#reload();
    for (let pauseMs = PAUSE_MS; ; ) {
      const entry = this.entries.find(({ error }) => error === null);
      if (!entry || signal.aborted) return;
      const { key, conversationId, body, metadata } = entry;
      const wrong = tooLarge(entry, this.#connection.status.limits);
      if (wrong) {
        this.#fail(key, wrong);
        continue;
      }
      try {
        const payload = { conversationId, idempotencyKey: key, body, ...(metadata && { metadata }) };
        const { message } = await this.#connection.request("send_message", payload);
        this.#onStored(message);
        this.settle(message);
        pauseMs = PAUSE_MS;
      } catch (error) {
        if (!(error instanceof ChatError)) throw error;
        // Sent again it would end every connection, and what stands behind it would never leave.
        if (error.code === "disconnected" && this.#connection.ended?.code === "too_large") this.#fail(key, largeError());
        if (error.code === "disconnected") return;
        if (!error.retryable) this.#fail(key, error);
        else if (error.code !== "timeout") {
          await this.#pause(error.retryAfterMs ?? pauseMs, signal);
          pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS);
        }
      }
    }
  }

  /** By chance a little longer. @param {number} ms @param {AbortSignal} signal */
  #pause(ms, signal) {
    return /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = this.#clock.setTimeout(resolve, ms * (1 + this.#clock.random() / 4));
        signal.addEventListener("abort", () => (this.#clock.clearTimeout(timer), resolve()), { once: true });
      })
    );
  }

  /** @param {string} key @param {ChatError} error */
  #fail(key, error) {
    const entry = this.#entry(key);
    if (!entry) return;
    this.#put({ ...entry, error: { code: error.code, message: error.message } });
    this.#outcomes.get(key)?.reject(error);
  }

  /** @param {Pending} entry */
  #put(entry) {
    const known = this.entries.some(({ key }) => key === entry.key);
    this.entries = known ? this.entries.map((each) => (each.key === entry.key ? entry : each)) : [...this.entries, entry];
    this.#save(entry.key);
    this.#listeners.tell();
  }

  /** @param {string} key */
  #save(key) {
    this.#unsaved.add(key);
    if (!this.#prefix) return;
    void this.#store(async () => {
      const entry = this.#entry(key);
      if (!entry) return;
      await this.#storage.set(this.#place(entry), entry);
      if (this.#entry(key) === entry) this.#unsaved.delete(key);
      this.#storage.tell({ prefix: this.#prefix });
    });
  }

  /** @param {string} key */
  #remove(key) {
    const entry = this.#entry(key);
    if (!entry) return;
    this.#done.add(key);
    if (this.#done.size > MOST_DONE) this.#done.delete(/** @type {string} */ (this.#done.values().next().value));
    this.entries = this.entries.filter((each) => each !== entry);
    this.#unsaved.delete(key);
    void this.#store(async () => {
      await this.#storage.remove(this.#place(entry));
      this.#storage.tell({ prefix: this.#prefix });
    });
    this.#listeners.tell();
  }

  /** Its key in the storage: by rising time, which is one for all tabs. @param {Pending} entry */
  #place({ createdAt, key }) {
    return `${this.#prefix}${String(createdAt).padStart(16, "0")} ${key}`;
  }

  /** Take over what the storage has, but for what this tab knows better. */
  #reload() {
    return this.#store(async () => {
      const stored = (await this.#storage.entries(this.#prefix)).map(([, entry]) => /** @type {Pending} */ (entry));
      const own = this.entries.filter(({ key }) => this.#unsaved.has(key));
      const others = stored.filter(({ key }) => !this.#unsaved.has(key) && !this.#done.has(key));
      const entries = [...others, ...own].sort((a, b) => a.createdAt - b.createdAt || (a.key < b.key ? -1 : 1));
      const same = entries.length === this.entries.length && entries.every((entry, i) => isSame(entry, this.entries[i]));
      if (same) return;
      this.entries = entries;
      this.#listeners.tell();
    });
  }

  /** One use of the storage after the other. If it fails, the entries are in this page only. @param {() => Promise<void>} act @returns {Promise<void>} */
  #store(act) {
    const done = this.#writing.then(act).then(
      () => this.#isLasting(this.#storage.lasting),
      () => this.#isLasting(false),
    );
    this.#writing = done;
    return done;
  }

  /** @param {boolean} lasting */
  #isLasting(lasting) {
    if (this.lasting === lasting) return;
    this.lasting = lasting;
    this.#listeners.tell();
  }

  /** Another tab has written, sent or given up. @param {{prefix: string, stored?: Message}} message */
  #heard({ prefix, stored }) {
    if (prefix !== this.#prefix) return;
    if (stored && this.#entry(stored.idempotencyKey)) {
      this.#onStored(stored);
      this.settle(stored);
    }
    void this.#reload().then(() => this.#pump());
  }
}

/** @param {Pending} entry @param {Pending | undefined} other */
function isSame(entry, other) {
  return entry.key === other?.key && entry.error?.message === other.error?.message;
}

/** Why the server would never take a message; null if nothing is wrong, or its limits are not known yet. @param {Pending} entry @param {Limits | null} limits */
function tooLarge({ key, conversationId, body, metadata }, limits) {
  if (!limits) return null;
  if (limits.bodyChars > 0 && Array.from(body).length > limits.bodyChars) return largeError(`At most ${limits.bodyChars} characters.`);
  const payload = { conversationId, idempotencyKey: key, body, ...(metadata && { metadata }) };
  const bytes = new TextEncoder().encode(JSON.stringify(payload)).length + PACKET_BYTES;
  return limits.eventBytes > 0 && bytes > limits.eventBytes ? largeError() : null;
}

function largeError(more = "") {
  return new ChatError({ code: "too_large", message: `${TOO_LARGE} ${more}`.trim() });
}

/** 128 random bits. `crypto.randomUUID` would need https or localhost. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
