/**
 * The one connection of a page, without React: socket.io-client's socket, what state it is in, and requests with acks.
 *
 * Three attempts of 2 to 10 s, then `gave_up`; `ended` when the server said not to come back. Both last until somebody
 * calls `connect`.
 */
import { io, type Socket } from "socket.io-client";
import type {
  Answer,
  ClientToServerEvents,
  EndCode,
  ErrorCode,
  ErrorDetails,
  Limits,
  Requests,
  ServerToClientEvents,
} from "./events";

export type ChatSocket = Socket<ServerToClientEvents, ClientToServerEvents>;

/** Why there is no connection: the server's code, or one of this side. */
export interface Reason {
  code: ErrorCode | EndCode | "unreachable" | "no_token" | "closed";
  message: string;
}

export type Status =
  | { state: "offline" | "connecting" | "connected" }
  | { state: "retrying"; attempt: number; reason?: Reason }
  | { state: "gave_up"; reason?: Reason }
  | { state: "ended"; reason: Reason };

export interface Snapshot {
  status: Status;
  /** Another one after every reconnect; null without a connection. */
  connectionId: string | null;
  /** How long the last request took, there and back. */
  latencyMs: number | null;
  /** The server's bounds, once it has said them. */
  limits: Limits | null;
}

export const ATTEMPTS = 3;
const DELAY_MS = 2_000;
const DELAY_MAX_MS = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;

/** What a request was refused with, or `timeout` and `disconnected`: then nobody knows, and asking again is right. */
export class ChatError extends Error {
  readonly code: ErrorCode | "timeout" | "disconnected";
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(error: Omit<ErrorDetails, "code"> & { code: ChatError["code"] }) {
    super(error.message);
    this.code = error.code;
    this.retryable = error.retryable;
    this.retryAfterMs = error.retryAfterMs;
  }
}

export class Connection {
  readonly socket: ChatSocket;
  #snapshot: Snapshot = { status: { state: "offline" }, connectionId: null, latencyMs: null, limits: null };
  readonly #listeners = new Set<() => void>();
  /** The server has refused the token: the next handshake needs another one. */
  #tokenIsBad = false;
  /** The newest: a connection may be lost while its token is on the way, and a second CONNECT is nonsense. */
  #handshake: unknown = null;
  #endCode: EndCode | null = null;
  #refusals = 0;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string, getToken: (renew: boolean) => Promise<string>) {
    this.socket = io(url, {
      autoConnect: false,
      forceNew: true,
      reconnectionAttempts: ATTEMPTS,
      reconnectionDelay: DELAY_MS,
      reconnectionDelayMax: DELAY_MAX_MS,
      // A function, so that every reconnect brings the token of that moment.
      auth: (send) => {
        this.#handshake = send;
        getToken(this.#tokenIsBad).then(
          (token) => {
            if (this.#handshake !== send) return;
            this.#tokenIsBad = false;
            send({ token });
          },
          () => {
            if (this.#handshake !== send) return;
            this.#end({ code: "no_token", message: "The login could not be renewed." });
          },
        );
      },
    });
    this.#listen();
  }

  readonly snapshot = (): Snapshot => this.#snapshot;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Why the server ended the last connection, until there is another; null if it did not. */
  get endCode(): EndCode | null {
    return this.#endCode;
  }

  /** Connect, or come back after `gave_up` and `ended`. */
  readonly connect = (): void => {
    if (["connecting", "connected", "retrying"].includes(this.#snapshot.status.state)) return;
    this.#refusals = 0;
    this.#set({ status: { state: "connecting" } });
    this.socket.connect();
  };

  disconnect(): void {
    clearTimeout(this.#again);
    this.#handshake = null;
    this.#set({ status: { state: "offline" }, connectionId: null });
    this.socket.disconnect();
  }

  /**
   * Send one event and wait for its ack. Throws ChatError.
   *
   * What the ack says may be outdated by an event that comes right behind it, and the events of one packet arrive before
   * a promise goes on. So what changes the state goes into `take`, which gets the ack in its turn.
   */
  async request<E extends keyof Requests>(
    event: E,
    payload: Requests[E]["payload"],
    take?: (ack: Requests[E]["ack"]) => void,
  ): Promise<Requests[E]["ack"]> {
    const connected = () => this.socket.connected;
    const lost = { code: "disconnected" as const, message: "There is no connection.", retryable: true };
    if (!connected()) throw new ChatError(lost);
    const startedAt = performance.now();
    let answer: Answer<Requests[E]["ack"]>;
    try {
      answer = await new Promise((resolve, reject) => {
        // The types of a generic event are too much for emit; those of this function hold.
        const socket = (this.socket as Socket).timeout(REQUEST_TIMEOUT_MS);
        socket.emit(event, payload, (error: Error | null, ack: typeof answer) => {
          if (error) reject(error);
          else resolve(ack);
          if (!error && ack.ok) take?.(ack);
        });
      });
    } catch {
      if (!connected()) throw new ChatError(lost);
      throw new ChatError({ code: "timeout", message: "The server did not answer in time.", retryable: true });
    }
    this.#set({ latencyMs: Math.round(performance.now() - startedAt) });
    if (!answer.ok) throw new ChatError(answer.error);
    return answer;
  }

  /** `request`, again and again while the refusal is retryable and the answer is still wanted. Throws ChatError. */
  async insist<E extends keyof Requests>(
    event: E,
    payload: () => Requests[E]["payload"],
    wanted: AbortSignal,
    take?: (ack: Requests[E]["ack"]) => void,
  ): Promise<Requests[E]["ack"]> {
    for (let pauseMs = 1_000; ; pauseMs = Math.min(2 * pauseMs, 10_000)) {
      try {
        return await this.request(event, payload(), take);
      } catch (error) {
        if (!(error instanceof ChatError) || !error.retryable || error.code === "disconnected") throw error;
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs ?? pauseMs));
        if (wanted.aborted) throw error;
      }
    }
  }

  #listen(): void {
    const { socket } = this;
    const manager = socket.io;

    socket.on("connect", () => {
      this.#refusals = 0;
      this.#endCode = null;
      manager.reconnectionDelay(DELAY_MS);
      manager.reconnectionDelayMax(DELAY_MAX_MS);
      this.#set({ status: { state: "connected" }, connectionId: socket.id ?? null });
    });

    socket.on("disconnect", () => {
      this.#set({ connectionId: null });
      if (this.#snapshot.status.state === "ended" || this.#snapshot.status.state === "offline") return;
      // Active: the transport was lost, and the client comes back by itself. Else the server wants it to stay away.
      if (socket.active) this.#retrying(1);
      else this.#end({ code: "closed", message: "The server closed the connection." });
    });

    socket.on("connect_error", (error) => {
      const { reason, details } = readRefusal(error);
      if (socket.active) {
        // No answer, or an HTTP error such as 429: the client tries again by itself.
        const { status } = this.#snapshot;
        this.#retrying(status.state === "retrying" ? status.attempt : 1, reason);
        return;
      }
      this.#refusals += 1;
      if ((reason.code === "token_expired" || reason.code === "invalid_token") && this.#refusals === 1) {
        this.#tokenIsBad = true;
        socket.connect();
      } else if (details?.retryable && this.#refusals <= ATTEMPTS) {
        this.#retrying(this.#refusals, reason);
        this.#again = setTimeout(() => socket.connect(), details.retryAfterMs ?? DELAY_MAX_MS);
      } else {
        this.#end(reason);
      }
    });

    socket.on("welcome", ({ limits }) => this.#set({ limits }));

    manager.on("close", () => {
      this.#handshake = null;
    });
    manager.on("reconnect_attempt", (attempt) => this.#retrying(attempt));
    manager.on("reconnect_failed", () => {
      this.#set({ status: { ...this.#snapshot.status, state: "gave_up" } });
    });

    socket.on("session_ended", ({ code, message, reconnect, retryAfterMs }) => {
      this.#endCode = code;
      if (!reconnect) {
        this.#end({ code, message });
        return;
      }
      if (code === "token_expired") this.#tokenIsBad = true;
      this.#retrying(1, { code, message });
      if (retryAfterMs !== undefined) {
        // A server that stops spreads its clients' return.
        manager.reconnectionDelay(Math.max(retryAfterMs, DELAY_MS));
        manager.reconnectionDelayMax(Math.max(retryAfterMs, DELAY_MAX_MS));
      }
    });
  }

  #retrying(attempt: number, reason?: Reason): void {
    const { status } = this.#snapshot;
    this.#set({
      status: { state: "retrying", attempt, reason: reason ?? ("reason" in status ? status.reason : undefined) },
    });
  }

  #end(reason: Reason): void {
    this.#set({ status: { state: "ended", reason }, connectionId: null });
    this.socket.disconnect();
  }

  #set(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }
}

/** What a handshake failed with: the server's own error, over Socket.IO or in the body of an HTTP refusal. */
function readRefusal(error: Error): { reason: Reason; details?: Partial<ErrorDetails> } {
  const { data, context } = error as { data?: Partial<ErrorDetails>; context?: { responseText?: string } };
  let details = data;
  if (details?.code === undefined) {
    try {
      details = (JSON.parse(context?.responseText ?? "") as { error?: Partial<ErrorDetails> }).error;
    } catch {
      details = undefined; // no answer, or a proxy's page
    }
  }
  const { code = "unreachable", message = "The server cannot be reached." } = details ?? {};
  return { reason: { code, message }, details };
}
