// The one connection: token, attempts, ends, status; requests with acks. Knows nothing of conversations.
//
// When a connection is lost or cannot be made there are three attempts, after 2, 4 and 8 s (`welcome.reconnection` says
// otherwise). Then the status is `offline`, for a button; and quiet attempts go on, every 30 to 60 s and when somebody
// comes back to the page, the network returns or something is to be sent. What the server tells to stay away stays away.
import { io as socketIo } from "socket.io-client";
import { CLOCK } from "./clock.js";
import { ChatError, readRefusal } from "./errors.js";
import { Listenable } from "./listeners.js";
import { listenTo } from "./page.js";

/** @import { Socket } from "socket.io-client" */
/** @import { Clock } from "./clock.js" */
/** @import { Answer, Limits, Requests, User, Welcome, SessionEnded } from "./wire.js" */

/**
 * @typedef {object} Status  the same object until it changes
 * @property {"connecting" | "connected" | "retrying" | "offline" | "ended"} state  `retrying`: one of the loud attempts is
 *   under way or due. `offline`: they are used up, or `connect` was not called. `ended`: the server wants the client to stay
 *   away until the user asks.
 * @property {number} attempt  which attempt, from 1; 0 if none
 * @property {number} of  how many there are
 * @property {ChatError["code"] | null} code  why there is no connection, or was none
 * @property {string | null} message  one sentence on it, for developers
 * @property {number | null} retryAt  `Date.now()` of the next attempt by itself; with `ended`: before that a button does not
 *   help; null for neither
 * @property {number | null} latencyMs  how long the last request took, there and back
 * @property {User | null} user  who you are, once the server has said it
 * @property {Limits | null} limits  what the server accepts, once it has said it
 */

/** Until `welcome` says otherwise. */
const RECONNECTION = { attempts: 3, delayMs: 2_000, delayMaxMs: 10_000 };
/** A connection that lasts less does not begin the count anew: who is accepted and dropped must not come back for ever. */
const HELD_MS = 10_000;
/** From the beginning of an attempt to `welcome`, the token included. */
const ATTEMPT_MS = 30_000;
const QUIET_MS = 30_000;
const QUIET_MAX_MS = 60_000;
/** Between attempts, however often somebody looks at the page: at most 12 within a minute, where the server allows 20. */
const WOKEN_MS = 5_000;
/** A page that was away for longer asks whether its connection still lives; so does one whose network has changed. */
const AWAY_MS = 15_000;
const REQUEST_MS = 10_000;
const PROBE_MS = 4_000;

/** @type {Pick<Status, "code" | "message" | "retryAt" | "attempt">} */
const NO_REASON = { code: null, message: null, retryAt: null, attempt: 0 };

export class Connection extends Listenable {
  /** @type {Status} */
  status;
  /** Why the server ended the last connection, until there is another. @type {SessionEnded | null} */
  ended = null;
  #url;
  #options;
  #getToken;
  #handlers;
  #clock;
  #io;
  #page;
  /** That of the present attempt or connection. @type {Socket | null} */
  #socket = null;
  /** Somebody wants a connection. */
  #wanted = false;
  /** Attempts since a connection held, or since `connect`. */
  #attempts = 0;
  #reconnection = RECONNECTION;
  /** The server's `retryAfterMs`: no attempt before that moment. */
  #notBefore = -Infinity;
  #triedAt = -Infinity;
  #openedAt = 0;
  #hiddenAt = Infinity;
  /** Of the next attempt, or the deadline of this one. @type {any} */
  #timer = null;
  /** The server has refused the token: the next attempt needs another one. */
  #renew = false;
  /** It was renewed already, and there was no connection since. */
  #renewed = false;
  /** @type {(() => void) | null} */
  #unlisten = null;

  /**
   * @param {object} init
   * @param {string | undefined} init.url
   * @param {object} [init.options]  further options of socket.io-client
   * @param {((how: {renew: boolean}) => Promise<string>) | null} init.getToken  null: the login cookie
   * @param {{welcome: (welcome: Welcome) => void, lost: () => void, event: (name: string, payload: any) => void}} init.handlers
   * @param {Clock} [init.clock]
   * @param {typeof socketIo} [init.io]
   * @param {any} [init.page]  `window`, or what stands for it
   */
  constructor({ url, options = {}, getToken, handlers, clock = CLOCK, io = socketIo, page = globalThis }) {
    super();
    this.#url = url;
    this.#options = options;
    this.#getToken = getToken;
    this.#handlers = handlers;
    this.#clock = clock;
    this.#io = io;
    this.#page = page;
    /** @type {Status} */
    this.status = {
      ...{ state: "offline", attempt: 0, of: RECONNECTION.attempts, code: "closed", message: null, retryAt: null },
      ...{ latencyMs: null, user: null, limits: null },
    };
  }

  get connected() {
    return this.status.state === "connected";
  }

  /** Connect: at first, and when the user presses the button. Begins a new count of attempts. */
  connect() {
    this.#listenToPage();
    const { state } = this.status;
    if (this.#wanted && state !== "offline") return;
    this.#wanted = true;
    this.#attempts = 0;
    this.#renewed = false;
    const waitMs = this.#notBefore - this.#clock.now();
    if (waitMs <= 0) this.#open();
    else this.#wait("retrying", waitMs);
  }

  /** Disconnect, and do nothing by itself any more. */
  disconnect() {
    this.#stop("offline", { code: "closed" });
    this.#unlisten?.();
    this.#unlisten = null;
  }

  /** End for a reason of this side, until the user asks. @param {{code: ChatError["code"], message: string}} reason */
  end(reason) {
    this.#stop("ended", reason);
  }

  /** Something makes an attempt worthwhile now: somebody looks, or has written something. Does nothing unless `offline`. */
  wake() {
    if (!this.#wanted || this.status.state !== "offline" || this.status.retryAt === null) return;
    const at = Math.max(this.#notBefore, this.#triedAt + WOKEN_MS);
    const waitMs = at - this.#clock.now();
    if (waitMs <= 0) this.#open();
    else if (this.#clock.wall() + waitMs < this.status.retryAt) this.#wait("offline", waitMs);
  }

  /**
   * Send one event and wait for its ack.
   *
   * What the ack says may be outdated by an event that comes right behind it, and the events of one packet arrive before
   * a promise goes on. So what changes the state goes into `take`, which gets the ack in its turn.
   *
   * @template {keyof Requests} E
   * @param {E} event
   * @param {Requests[E]["payload"]} payload
   * @param {(ack: Requests[E]["ack"]) => void} [take]
   * @param {number} [withinMs]
   * @returns {Promise<Requests[E]["ack"]>}
   * @throws {ChatError} what the server refused with; or `timeout` or `disconnected`, after which nobody knows
   */
  async request(event, payload, take, withinMs = REQUEST_MS) {
    const socket = this.#socket;
    const lost = () => new ChatError({ code: "disconnected", message: "There is no connection.", retryable: true });
    if (!socket || !this.connected) throw lost();
    const startedAt = this.#clock.now();
    /** @type {Answer<Requests[E]["ack"]>} */
    const answer = await new Promise((resolve, reject) => {
      socket.timeout(withinMs).emit(event, payload, (/** @type {Error | null} */ error, /** @type {any} */ ack) => {
        if (error) {
          const late = { code: /** @type {const} */ ("timeout"), message: "The server did not answer in time.", retryable: true };
          reject(socket === this.#socket && this.connected ? new ChatError(late) : lost());
          return;
        }
        if (ack.ok && socket === this.#socket) take?.(ack);
        resolve(ack);
      });
    });
    this.#set({ latencyMs: Math.round(this.#clock.now() - startedAt) });
    if (!answer.ok) throw new ChatError(answer.error);
    return answer;
  }

  /** Ask whether the connection still lives, and give it up if no answer comes. */
  async probe() {
    const socket = this.#socket;
    if (!this.connected) return;
    try {
      await this.request("list_conversations", { limit: 1 }, undefined, PROBE_MS);
    } catch (error) {
      const silent = error instanceof ChatError && error.code === "timeout";
      if (silent && socket === this.#socket) this.#lost(this.#unreachable());
    }
  }

  async #open() {
    this.#close();
    this.#triedAt = this.#clock.now();
    const { state } = this.status;
    if (state === "ended" || (state === "offline" && this.#attempts === 0)) this.#set({ ...NO_REASON, state: "connecting" });
    else this.#set({ retryAt: null });
    const socket = (this.#socket = this.#io(/** @type {string} */ (this.#url), {
      ...this.#options,
      autoConnect: false,
      forceNew: true,
      reconnection: false,
      auth: {},
    }));
    const present = () => socket === this.#socket;
    const late = { code: /** @type {const} */ ("unreachable"), message: "The server did not answer in time." };
    this.#timer = this.#clock.setTimeout(() => this.#lost(late), ATTEMPT_MS);
    if (this.#getToken) {
      try {
        // Before the connection, so that no connection waits for it, and none gets the token of an earlier one.
        const token = await this.#getToken({ renew: this.#renew });
        if (!present()) return;
        socket.auth = { token };
      } catch {
        const code = this.#offline() ? "no_network" : "no_token";
        if (present()) this.#lost({ code, message: "There is no token: getToken failed." });
        return;
      }
    }
    socket.on("welcome", (/** @type {Welcome} */ welcome) => present() && this.#welcome(welcome));
    socket.on("session_ended", (/** @type {SessionEnded} */ end) => present() && this.#sessionEnded(end));
    socket.on("connect_error", (/** @type {Error} */ error) => present() && this.#refused(error));
    socket.on("disconnect", (/** @type {string} */ reason) => {
      if (!present()) return;
      const message = "The server closed the connection.";
      if (reason === "io server disconnect") this.end({ code: "disconnected", message });
      else this.#lost(this.#unreachable("The connection was lost."));
    });
    socket.onAny((name, payload) => present() && name !== "welcome" && this.#handlers.event(name, payload));
    socket.connect();
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    this.#clock.clearTimeout(this.#timer);
    this.#openedAt = this.#clock.now();
    this.#reconnection = { ...RECONNECTION, ...welcome.reconnection };
    this.#renew = this.#renewed = false;
    this.#notBefore = -Infinity;
    this.ended = null;
    const { user, limits } = welcome;
    this.#set({ ...NO_REASON, state: "connected", of: this.#reconnection.attempts, user, limits });
    this.#handlers.welcome(welcome);
  }

  /** @param {SessionEnded} end */
  #sessionEnded(end) {
    this.ended = end;
    this.#heed(end.retryAfterMs);
    if (end.code === "token_expired") this.#renew = true;
    if (end.reconnect) this.#lost(end);
    else this.end(end);
  }

  /** @param {Error} error */
  #refused(error) {
    const { told, details } = readRefusal(error);
    const tokenIsBad = details?.code === "token_expired" || details?.code === "invalid_token";
    if (tokenIsBad && this.#getToken && !this.#renewed) {
      this.#renew = this.#renewed = true;
      void this.#open();
      return;
    }
    if (!details?.code) return this.#lost(this.#unreachable());
    const reason = { code: details.code, message: details.message ?? details.code };
    // Told so by Socket.IO the user has to ask; over HTTP an address is meant, and who else is behind it.
    const final = !details.retryable || (told && details.code === "too_many_connects");
    this.#heed(details.retryAfterMs ?? (final ? undefined : this.#reconnection.delayMaxMs));
    if (final) this.end(reason);
    else this.#lost(reason);
  }

  /** Without a connection; what follows depends on how many attempts there were. @param {{code: any, message: string}} reason */
  #lost({ code, message }) {
    const now = this.#clock.now();
    const wasConnected = this.connected;
    if (wasConnected && now - this.#openedAt >= HELD_MS) this.#attempts = 0;
    this.#close();
    this.#set({ code, message });
    const { attempts, delayMs, delayMaxMs } = this.#reconnection;
    if (this.#attempts < attempts) {
      this.#wait("retrying", Math.min(delayMs * 2 ** this.#attempts, delayMaxMs));
    } else {
      this.#wait("offline", QUIET_MS + this.#clock.random() * (QUIET_MAX_MS - QUIET_MS));
    }
    if (wasConnected) this.#handlers.lost();
  }

  /** Until the next attempt, not earlier than the server allows; by chance a little later, for there are others. @param {"retrying" | "offline"} state @param {number} ms */
  #wait(state, ms) {
    this.#clock.clearTimeout(this.#timer);
    const leastMs = Math.max(ms, this.#notBefore - this.#clock.now());
    const waitMs = leastMs + this.#clock.random() * Math.min(leastMs / 4, 2_000);
    const attempt = state === "retrying" ? this.#attempts + 1 : 0;
    this.#set({ state, attempt, of: this.#reconnection.attempts, retryAt: this.#clock.wall() + waitMs });
    this.#timer = this.#clock.setTimeout(() => {
      this.#attempts += 1;
      void this.#open();
    }, waitMs);
  }

  /** @param {number | undefined} retryAfterMs */
  #heed(retryAfterMs) {
    if (retryAfterMs !== undefined) this.#notBefore = this.#clock.now() + retryAfterMs;
  }

  /** @param {"offline" | "ended"} state @param {{code: any, message?: string}} reason */
  #stop(state, { code, message }) {
    const wasConnected = this.connected;
    this.#wanted = false;
    this.#close();
    const waitMs = this.#notBefore - this.#clock.now();
    const retryAt = state === "ended" && waitMs > 0 ? this.#clock.wall() + waitMs : null;
    this.#set({ state, attempt: 0, code, message: message ?? null, retryAt });
    if (wasConnected) this.#handlers.lost();
  }

  #close() {
    this.#clock.clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.disconnect();
  }

  #offline() {
    return this.#page.navigator?.onLine === false;
  }

  /** @returns {{code: "no_network" | "unreachable", message: string}} */
  #unreachable(message = "The server cannot be reached.") {
    return this.#offline() ? { code: "no_network", message: "The device is offline." } : { code: "unreachable", message };
  }

  #listenToPage() {
    const page = this.#page;
    this.#unlisten ??= listenTo(page, {
      focus: () => this.wake(),
      offline: () => void this.probe(),
      online: () => {
        // Whatever the count says: the network was the reason.
        if (this.status.state === "retrying" && this.#socket === null) this.#set({ state: "offline" });
        this.wake();
        void this.probe();
      },
      visibilitychange: () => {
        const now = this.#clock.now();
        if (page.document.visibilityState !== "visible") {
          this.#hiddenAt = now;
          return;
        }
        this.wake();
        if (now - this.#hiddenAt > AWAY_MS) void this.probe();
        this.#hiddenAt = Infinity;
      },
    });
  }

  /** @param {Partial<Status>} change */
  #set(change) {
    this.status = { ...this.status, ...change };
    this.notify();
  }
}
