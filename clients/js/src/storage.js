// Where the outbox and the cache keep things: a map from strings to values, shared by the tabs of one origin.

/**
 * @typedef {object} Storage  what `createChat` takes as `storage`, for platforms without IndexedDB
 * @property {boolean} lasting  whether it survives a reload
 * @property {(prefix: string) => Promise<[string, any][]>} entries  those whose keys begin so, by rising key
 * @property {(key: string) => Promise<any>} get  undefined if there is none
 * @property {(key: string, value: any) => Promise<void>} set  settles when it is kept
 * @property {(key: string) => Promise<void>} remove
 * @property {(prefix: string) => Promise<void>} removeAll
 * @property {(name: string, signal: AbortSignal, act: () => Promise<void>) => Promise<void>} exclusive  call `act` while no
 *   other tab is in one of that name; rejects if the signal comes while it waits
 * @property {(message: any) => void} tell  the other tabs
 * @property {(listener: (message: any) => void) => () => void} hear  what they tell; the answer ends it
 */

/** How long a browser may take to open a database. Some private windows never answer. */
const OPEN_MS = 3_000;
const TABLE = "kept";
/** Behind all strings that begin like a key of ours. */
const LAST = "\uffff";

/** The browser's, if it has any; else memory. @returns {Storage} */
export function defaultStorage() {
  return globalThis.indexedDB ? browserStorage("chat-socketserver-client") : memoryStorage();
}

/** IndexedDB, Web Locks, BroadcastChannel. Whatever is missing or blocked rejects. @param {string} name @returns {Storage} */
export function browserStorage(name) {
  /** @type {Promise<IDBDatabase> | null} */
  let opening = null;

  /** @returns {Promise<IDBDatabase>} */
  const open = () =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      const late = setTimeout(() => reject(new Error("IndexedDB does not answer.")), OPEN_MS);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        clearTimeout(late);
        const database = request.result;
        database.onversionchange = () => database.close();
        database.onclose = () => (opening = null);
        opening = Promise.resolve(database); // late, perhaps
        resolve(database);
      };
    });

  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(table: IDBObjectStore) => T} act
   * @returns {Promise<T>} when the transaction is through
   */
  async function run(mode, act) {
    const database = await (opening ??= open());
    return new Promise((resolve, reject) => {
      // Not `strict`: a page that is closed at once is likelier than a machine that dies, and waits for no disk.
      const transaction = database.transaction(TABLE, mode);
      const result = act(transaction.objectStore(TABLE));
      transaction.oncomplete = () => resolve(result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error ?? new Error("IndexedDB refuses."));
    });
  }

  const beginning = (/** @type {string} */ prefix) => IDBKeyRange.bound(prefix, prefix + LAST);
  /** While somebody listens. @type {BroadcastChannel | null} */
  let channel = null;
  /** @type {Set<(message: any) => void>} */
  const listeners = new Set();

  return {
    lasting: true,
    async entries(prefix) {
      const [keys, values] = await run("readonly", (table) => [table.getAllKeys(beginning(prefix)), table.getAll(beginning(prefix))]);
      return keys.result.map((/** @type {any} */ key, /** @type {number} */ i) => [key, values.result[i]]);
    },
    get: async (key) => (await run("readonly", (table) => table.get(key))).result,
    set: async (key, value) => void (await run("readwrite", (table) => table.put(value, key))),
    remove: async (key) => void (await run("readwrite", (table) => table.delete(key))),
    removeAll: async (prefix) => void (await run("readwrite", (table) => table.delete(beginning(prefix)))),
    async exclusive(lock, signal, act) {
      let entered = false;
      const enter = () => ((entered = true), act());
      try {
        if (globalThis.navigator?.locks) return await navigator.locks.request(`${name} ${lock}`, { signal }, enter);
      } catch (error) {
        if (entered || signal.aborted) throw error;
      }
      await act(); // without locks: the server stores a key once, whoever sends it
    },
    tell: (message) => channel?.postMessage(message),
    hear(listener) {
      listeners.add(listener);
      if (channel === null && globalThis.BroadcastChannel) {
        channel = new BroadcastChannel(name);
        channel.onmessage = ({ data }) => listeners.forEach((each) => each(data));
      }
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        channel?.close();
        channel = null;
      };
    },
  };
}

/** As long as the page; several chats that are given the same one are like tabs. @returns {Storage} */
export function memoryStorage() {
  /** @type {Map<string, any>} */
  const kept = new Map();
  /** @type {Map<string, Promise<void>>} */
  const locks = new Map();
  /** @type {Set<(message: any) => void>} */
  const listeners = new Set();
  const beginning = (/** @type {string} */ prefix) => [...kept.keys()].filter((key) => key.startsWith(prefix)).sort();
  return {
    lasting: false,
    entries: async (prefix) => beginning(prefix).map((key) => [key, kept.get(key)]),
    get: async (key) => kept.get(key),
    set: async (key, value) => void kept.set(key, value),
    remove: async (key) => void kept.delete(key),
    removeAll: async (prefix) => beginning(prefix).forEach((key) => kept.delete(key)),
    async exclusive(name, signal, act) {
      const before = locks.get(name);
      const run = (async () => {
        await before?.catch(() => {});
        signal.throwIfAborted();
        await act();
      })();
      locks.set(name, run);
      await run;
    },
    tell: (message) => queueMicrotask(() => listeners.forEach((listener) => listener(message))), // oneself too
    hear(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
