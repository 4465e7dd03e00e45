// What was written and is not stored yet: kept across reloads, sent in order, by one tab at a time, each under the
// idempotencyKey that it got when it was written. What a later one makes needless is not sent; what the server can never take
// leaves the queue, and says why.
import { ChatError } from "./errors.js";
import { Listenable } from "./listeners.js";
import { following, largeError, newKey, requestOf, supersedes, tooLarge } from "./pending.js";

/** @import { Clock } from "./clock.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Storage } from "./storage.js" */
/** @import { Content, Pending, PendingMessage } from "./pending.js" */
/** @import { Message } from "./wire.js" */

/** @typedef {{promise: Promise<Message>, resolve: (message: Message) => void, reject: (error: ChatError) => void, key: string}} Outcome  `key`: of the entry that decides it */

/** Enough for an hour underground; what is more is refused rather than forgotten. */
const MOST = 200;
/** Keys of which it is remembered that they are done: an answer of the storage may be older. */
const MOST_DONE = 1_000;
const PAUSE_MS = 1_000;
const PAUSE_MAX_MS = 10_000;

export class Outbox extends Listenable {
  /** In the order in which they were written, in all tabs. @type {readonly Pending[]} */
  entries = [];
  /** Whether they outlive the page. */
  lasting;
  #connection;
  #storage;
  #clock;
  #onStored;
  #prefix = "";
  /** Those whose present state the storage does not have yet. @type {Set<string>} */
  #unsaved = new Set();
  /** @type {Set<string>} */
  #done = new Set();
  /** @type {Map<string, Outcome>} */
  #outcomes = new Map();
  /** Writes, one after the other. @type {Promise<unknown>} */
  #writing = Promise.resolve();
  /** @type {Promise<void>} */
  #loaded = Promise.resolve();
  /** Of the present connection. @type {AbortController | null} */
  #line = null;
  #pumping = false;
  /** Until something is due. @type {any} */
  #timer = null;
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
    super();
    this.#connection = connection;
    this.#storage = storage;
    this.#clock = clock;
    this.#onStored = onStored;
    this.lasting = storage.lasting;
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
    this.#clock.clearTimeout(this.#timer);
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
   * Send something: now, or as soon as there is a connection. What it makes needless is not sent, and settles as it does.
   *
   * @template {Pending} P
   * @param {Omit<P, "key" | "createdAt" | "error">} draft
   * @returns {P}
   * @throws {ChatError} `outbox_full`
   */
  add(draft) {
    const createdAt = Math.max(this.#clock.wall(), (this.entries.at(-1)?.createdAt ?? 0) + 1);
    const entry = /** @type {P} */ ({ ...draft, key: newKey(), createdAt, error: null });
    const needless = this.entries.filter((older) => entry.kind !== "send" && supersedes(entry, older));
    if (this.entries.length - needless.length >= MOST) {
      throw new ChatError({ code: "outbox_full", message: `${MOST} messages wait already.`, retryable: true });
    }
    const wrong = tooLarge(entry, this.#connection.status.limits);
    this.#put(wrong ? { ...entry, error: wrong } : entry);
    for (const older of needless) {
      this.#follow(older.key, entry.key);
      this.#remove(older.key);
    }
    void this.#pump();
    return /** @type {P} */ (this.#entry(entry.key) ?? entry);
  }

  /** Change a message that waits. If it may be stored already, its edit follows. @param {string} key @param {Content} content @returns {PendingMessage | null} null if it does not wait */
  rewrite(key, content) {
    const entry = this.#message(key);
    if (!entry) return null;
    const next = { ...entry, mentions: undefined, ...content, error: null, then: /** @type {const} */ ("edit") };
    if (entry.error) this.#outcomes.delete(key);
    const wrong = tooLarge({ ...next, sent: undefined }, this.#connection.status.limits);
    this.#put(wrong && !next.sent ? { ...next, error: wrong } : next);
    void this.#pump();
    return next;
  }

  /** Take a message back that waits. If it may be stored already, its deletion follows. @param {string} key @returns {PendingMessage | null} null if it does not wait */
  takeBack(key) {
    const entry = this.#message(key);
    if (!entry) return null;
    if (entry.sent) this.#put({ ...entry, then: "remove" });
    else this.discard(key);
    return entry;
  }

  /** Settles when an entry is stored, refused for good or given up. @param {string} key @returns {Promise<Message>} */
  outcome(key) {
    const known = this.#outcomes.get(key);
    if (known) return known.promise;
    /** @type {any} */
    const made = { key };
    made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
    made.promise.catch(() => {}); // whoever wants to know looks at it, or at the entry
    this.#outcomes.set(key, made);
    if (this.#outcomes.size > MOST_DONE) this.#outcomes.delete(/** @type {string} */ (this.#outcomes.keys().next().value));
    void this.#loaded.then(() => {
      if (made.key !== key) return;
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

  /** It is stored, as an answer, an event or another tab says. @param {string} key @param {Message} message as it is now */
  settle(key, message) {
    const entry = this.#entry(key);
    const more = entry && following(entry, message.seq);
    if (more) {
      this.#follow(key, more.key);
      this.#put(more);
    }
    const outcome = this.#outcomes.get(key);
    if (outcome?.key === key) outcome.resolve(message);
    if (!entry) return;
    this.#remove(key);
    this.#storage.tell({ prefix: this.#prefix, key, stored: message });
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

  /** @param {string} key */
  #message(key) {
    const entry = this.#entry(key);
    return entry?.kind === "send" ? entry : null;
  }

  /** Whoever waits for the one waits for the other. @param {string} key @param {string} next */
  #follow(key, next) {
    const outcome = this.#outcomes.get(key);
    if (!outcome) return;
    outcome.key = next;
    this.outcome(next).then(outcome.resolve, outcome.reject);
  }

  /** The first that may be sent. */
  #next() {
    const now = this.#clock.wall();
    return this.entries.find(({ error, dueAt = 0 }) => error === null && dueAt <= now);
  }

  /** Those that are not due yet wake the outbox when they are. */
  #wakeLater() {
    this.#clock.clearTimeout(this.#timer);
    const now = this.#clock.wall();
    const waits = this.entries.flatMap(({ error, dueAt = 0 }) => (error === null && dueAt > now ? [dueAt - now] : []));
    if (waits.length > 0) this.#timer = this.#clock.setTimeout(() => void this.#pump(), Math.min(...waits));
  }

  /** One tab at a time sends, and that one has what all have written. */
  async #pump() {
    if (this.#pumping || !this.#line) return;
    this.#wakeLater();
    if (!this.#next()) return;
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
      const waiting = this.#next();
      if (!waiting || signal.aborted) return;
      const { key } = waiting;
      const wrong = tooLarge(waiting, this.#connection.status.limits);
      if (wrong) {
        this.#fail(key, wrong);
        continue;
      }
      const entry = this.#tried(waiting);
      const { event, payload } = requestOf(entry);
      try {
        const { message } = await this.#connection.request(event, payload);
        this.#onStored(message);
        this.settle(key, message);
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

  /** From now on nobody knows whether it is stored: a message is repeated as it was tried first. @param {Pending} entry @returns {Pending} */
  #tried(entry) {
    if (entry.kind !== "send" || entry.sent) return entry;
    const { body, metadata, mentions } = entry;
    const tried = { ...entry, sent: { body, metadata, ...(mentions && { mentions }) }, then: undefined };
    this.#put(tried, false);
    return tried;
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
    if (entry.kind === "send") {
      // It is not stored, so there is nothing to change: what it is meant to be by now is tried in its place.
      if (entry.then === "remove") return this.discard(key);
      if (entry.then === "edit" && entry.sent) return this.#put({ ...entry, sent: undefined, then: undefined });
    }
    this.#put({ ...entry, error: { code: error.code, message: error.message }, ...(entry.kind === "send" && { sent: undefined }) });
    this.#outcomes.get(key)?.reject(error);
  }

  /** @param {Pending} entry @param {boolean} [tell] */
  #put(entry, tell = true) {
    this.entries = [...this.entries.filter(({ key }) => key !== entry.key), entry].sort(inOrder);
    this.#save(entry.key);
    if (tell) this.notify();
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
    this.notify();
  }

  /** Its key in the storage: by rising time, which is one for all tabs. @param {Pending} entry */
  #place({ createdAt, key }) {
    return `${this.#prefix}${String(createdAt).padStart(16, "0")} ${key}`;
  }

  /** Take over what the storage has, but for what this tab knows better. */
  #reload() {
    return this.#store(async () => {
      const stored = (await this.#storage.entries(this.#prefix)).map(([, entry]) => /** @type {Pending} */ ({ kind: "send", ...entry })); // earlier pages knew no other kind
      const own = this.entries.filter(({ key }) => this.#unsaved.has(key));
      const others = stored.filter(({ key }) => !this.#unsaved.has(key) && !this.#done.has(key)).map((each) => this.#known(each));
      const entries = [...others, ...own].sort(inOrder);
      const same = entries.length === this.entries.length && entries.every((entry, i) => entry === this.entries[i]);
      if (same) return;
      this.entries = entries;
      this.notify();
    });
  }

  /** The same object if nothing is new; and what this tab has tried it has tried. @param {Pending} stored @returns {Pending} */
  #known(stored) {
    const known = this.#entry(stored.key);
    if (known?.kind === "send" && stored.kind === "send" && known.sent && !stored.sent) return { ...stored, sent: known.sent };
    return known && JSON.stringify(known) === JSON.stringify(stored) ? known : stored;
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
    this.notify();
  }

  /** Another tab has written, sent or given up. @param {{prefix: string, key?: string, stored?: Message}} message */
  #heard({ prefix, key = "", stored }) {
    if (prefix !== this.#prefix) return;
    if (stored && this.#entry(key)) {
      this.#onStored(stored);
      this.settle(key, stored);
    }
    void this.#reload().then(() => this.#pump());
  }
}

/** @param {Pending} a @param {Pending} b */
function inOrder(a, b) {
  return a.createdAt - b.createdAt || (a.key < b.key ? -1 : 1);
}
