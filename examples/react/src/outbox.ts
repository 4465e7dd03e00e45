/**
 * What the user wrote and the server has not acknowledged yet, kept in IndexedDB: it survives a reload, and is sent in
 * order, each message under the idempotencyKey that it got when it was written, so that it is stored once.
 */
import { ChatError, type Connection } from "./connection";
import type { Limits, Message } from "./events";

export interface Pending {
  /** The idempotencyKey. */
  key: string;
  userId: string;
  conversationId: string;
  body: string;
  /** When it was written; rises from entry to entry, and is their order. */
  createdAt: number;
  /** Why the server does not take it; null while it waits. */
  failure: string | null;
}

/** Enough for an hour underground; what is more is refused rather than forgotten. */
const MOST = 200;
const DATABASE = "chat";
const STORE = "outbox";

export class Outbox {
  /** A new array at every change. */
  entries: readonly Pending[] = [];
  readonly #connection: Connection;
  readonly #userId: string;
  readonly #listeners = new Set<(stored: Message | null) => void>();
  #loading: Promise<void> | undefined;
  #pumping = false;

  constructor(connection: Connection, userId: string) {
    this.#connection = connection;
    this.#userId = userId;
  }

  /** Hear of every change; `stored` is the message that an entry has become. */
  subscribe(listener: (stored: Message | null) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#loading ??= this.#load();
    this.#connection.socket.on("connect", this.#pump);
    void this.#pump();
  }

  stop(): void {
    this.#connection.socket.off("connect", this.#pump);
  }

  /** Send a message: now, or as soon as there is a connection. False if too many wait already. */
  send(conversationId: string, body: string): boolean {
    if (this.entries.length >= MOST) return false;
    const createdAt = Math.max(Date.now(), (this.entries.at(-1)?.createdAt ?? 0) + 1);
    const entry = { key: newKey(), userId: this.#userId, conversationId, body, createdAt, failure: null };
    void write((store) => store.put(entry));
    this.#set([...this.entries, entry]);
    void this.#pump();
    return true;
  }

  /** Try a refused message again, under the same key. */
  retry(key: string): void {
    this.#set(this.entries.map((entry) => (entry.key === key ? { ...entry, failure: null } : entry)));
    void this.#pump();
  }

  /** Give up on a refused message. */
  discard(key: string): void {
    this.#remove(key, null);
  }

  async #load(): Promise<void> {
    const all = await read();
    const mine = all.filter((entry) => entry.userId === this.#userId).sort((a, b) => a.createdAt - b.createdAt);
    const known = new Set(this.entries.map((entry) => entry.key));
    if (mine.length > 0) this.#set([...mine.filter((entry) => !known.has(entry.key)), ...this.entries]);
  }

  /** One after the other: a message that has to wait must not be overtaken by the next. */
  readonly #pump = async (): Promise<void> => {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      await this.#loading; // what an earlier page wrote goes first
      let pauseMs = 1_000;
      for (;;) {
        const entry = this.entries.find(({ failure }) => failure === null);
        if (!entry || !this.#connection.socket.connected) break;
        const { key, conversationId, body } = entry;
        const payload = { conversationId, idempotencyKey: key, body };
        const failed = (failure: string) =>
          this.#set(this.entries.map((each) => (each.key === key ? { ...each, failure } : each)));
        const wrong = tooLarge(payload, this.#connection.snapshot().limits);
        if (wrong !== null) {
          failed(wrong);
          continue;
        }
        try {
          const { message } = await this.#connection.request("send_message", payload);
          pauseMs = 1_000;
          this.#remove(key, message);
        } catch (error) {
          if (!(error instanceof ChatError)) throw error;
          // Sent again it would end every connection, and what stands behind it would never leave.
          if (error.code === "disconnected" && this.#connection.endCode === "too_large") failed(TOO_LARGE);
          if (error.code === "disconnected") break; // `connect` starts it again
          if (error.retryable) {
            await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs ?? pauseMs));
            pauseMs = Math.min(2 * pauseMs, 10_000);
          } else {
            failed(error.message);
          }
        }
      }
    } finally {
      this.#pumping = false;
    }
  };

  #remove(key: string, stored: Message | null): void {
    void write((store) => store.delete(key));
    this.#set(
      this.entries.filter((entry) => entry.key !== key),
      stored,
    );
  }

  #set(entries: readonly Pending[], stored: Message | null = null): void {
    this.entries = entries;
    for (const listener of this.#listeners) listener(stored);
  }
}

const TOO_LARGE = "This message is too large.";
/** What a packet has beside its payload: the event's name, the ack's id. */
const PACKET_BYTES = 64;

/** Why the server would never take a message; null if nothing is wrong, or its limits are not known yet. */
export function tooLarge(payload: { body: string }, limits: Limits | null): string | null {
  if (limits === null) return null;
  if (Array.from(payload.body).length > limits.bodyChars) return `${TOO_LARGE} At most ${limits.bodyChars} characters.`;
  const bytes = new TextEncoder().encode(JSON.stringify(payload)).length + PACKET_BYTES;
  return bytes > limits.eventBytes ? TOO_LARGE : null;
}

/** 128 random bits. crypto.randomUUID would need https or localhost. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// IndexedDB. Where there is none (some private windows) the outbox lives as long as the page.

let database: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB cannot be opened."));
  });
  return database;
}

async function write(change: (store: IDBObjectStore) => void): Promise<void> {
  try {
    change((await open()).transaction(STORE, "readwrite").objectStore(STORE));
  } catch {
    // See above.
  }
}

async function read(): Promise<Pending[]> {
  try {
    const request = (await open()).transaction(STORE).objectStore(STORE).getAll();
    return await new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result as Pending[]);
      request.onerror = () => reject(request.error ?? new Error("IndexedDB cannot be read."));
    });
  } catch {
    return [];
  }
}
