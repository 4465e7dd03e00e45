// What a page shows before there is a connection: the list, and the newest messages of the conversations opened last.
// Bounded; gone after a logout. It fails in silence: everything in it is the server's too.

/** @import { Clock } from "./clock.js" */
/** @import { Kept } from "./conversation.js" */
/** @import { Item } from "./list.js" */
/** @import { Storage } from "./storage.js" */
/** @import { Profile } from "./wire.js" */

const MOST_ITEMS = 50;
const MOST_CONVERSATIONS = 20;
/** Writes wait for each other so long. */
const LATER_MS = 1_000;

export class Cache {
  #storage;
  #clock;
  #prefix;
  /** What is to be written: by key. @type {Map<string, unknown>} */
  #dirty = new Map();
  /** @type {any} */
  #timer = null;
  #closed = false;
  /** Whose place is known to be there: only a new one may be one too many. @type {Set<string>} */
  #places = new Set();

  /** @param {Storage} storage @param {Clock} clock @param {string} scope the server and the user */
  constructor(storage, clock, scope) {
    this.#storage = storage;
    this.#clock = clock;
    this.#prefix = `${scope} cache `;
  }

  /** @returns {Promise<readonly Item[] | null>} */
  list() {
    return this.#get("list");
  }

  /** @returns {Promise<readonly Profile[] | null>} */
  profiles() {
    return this.#get("profiles");
  }

  /** @param {string} id @returns {Promise<Kept | null>} */
  async conversation(id) {
    return (await this.#get(`conversation ${id}`))?.kept ?? null;
  }

  /** @param {readonly Item[]} items */
  keepList(items) {
    this.#later("list", items.slice(0, MOST_ITEMS).map((item) => ({ ...item, online: false, stale: true })));
  }

  /** @param {readonly Profile[]} profiles */
  keepProfiles(profiles) {
    this.#later("profiles", profiles);
  }

  /** @param {string} id @param {Kept} kept */
  keepConversation(id, kept) {
    this.#later(`conversation ${id}`, { kept, at: this.#clock.wall() });
  }

  /** @param {string} id */
  forget(id) {
    this.#dirty.delete(`conversation ${id}`);
    void this.#storage.remove(`${this.#prefix}conversation ${id}`).catch(() => {});
  }

  /** Write what waits now: the page may be gone in a moment. */
  async flush() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    try {
      for (const [key, value] of dirty) await this.#storage.set(this.#prefix + key, value);
      const more = dirty.filter(([key]) => key.startsWith("conversation ") && !this.#places.has(key));
      if (more.length === 0) return;
      for (const [key] of more) this.#places.add(key);
      const all = await this.#storage.entries(`${this.#prefix}conversation `);
      const oldest = all.sort((a, b) => b[1].at - a[1].at).slice(MOST_CONVERSATIONS);
      for (const [key] of oldest) {
        this.#places.delete(key.slice(this.#prefix.length));
        await this.#storage.remove(key);
      }
    } catch {
      // No storage, or a full one.
    }
  }

  /** Write nothing more. */
  close() {
    this.#closed = true;
    this.#clock.clearTimeout(this.#timer);
    this.#dirty.clear();
  }

  /** Forget everything. */
  async clear() {
    this.close();
    await this.#storage.removeAll(this.#prefix).catch(() => {});
  }

  /** @param {string} key @returns {Promise<any>} */
  async #get(key) {
    try {
      return (await this.#storage.get(this.#prefix + key)) ?? null;
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {unknown} value */
  #later(key, value) {
    if (this.#closed) return;
    this.#dirty.set(key, value);
    this.#timer ??= this.#clock.setTimeout(() => void this.flush(), LATER_MS);
  }
}
