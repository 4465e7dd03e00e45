// The list of conversations, live: read at every connect, and again when something comes that is not in it.
import { Listenable } from "./listeners.js";
import { NO_LIST, reduceList } from "./list.js";
import { ignore } from "./upkeep.js";

/** @import { ListAction, ListState } from "./list.js" */
/** @import { Context } from "./room.js" */

const PAGE = 50;

export class Conversations extends Listenable {
  /** @type {ListState} */
  state = NO_LIST;
  #insist;
  #onChange;
  #learn;
  #loading = false;
  #again = false;
  /** The latest activity of which an answer told. */
  #knownAt = Infinity;

  /** @param {{insist: Context["insist"], learn: Context["learn"], changed: (state: ListState) => void}} init */
  constructor({ insist, learn, changed }) {
    super();
    this.#learn = learn;
    this.#insist = insist;
    this.#onChange = changed;
  }

  snapshot = () => this.state;

  /** Load the next page; does nothing if there is none, or no connection. */
  loadMore = async () => {
    const { nextBefore } = this.state;
    if (nextBefore === null) return;
    try {
      await this.#readPage({ limit: PAGE, before: nextBefore }, true);
    } catch (error) {
      ignore(error);
    }
  };

  // For the chat

  /** @param {string} wanted */
  has(wanted) {
    return this.state.all.some(({ id }) => id === wanted);
  }

  /** @param {ListAction} action */
  apply(action) {
    const next = reduceList(this.state, action);
    if (next === this.state) return;
    this.state = next;
    this.#onChange(next);
    this.notify();
  }

  forget() {
    this.state = NO_LIST;
    this.#knownAt = Infinity;
    this.notify();
  }

  /** Read it. One request at a time, and one more for all that came meanwhile: a hundred new conversations are no flood. */
  async load() {
    this.#again = true;
    if (this.#loading) return;
    this.#loading = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#readNewest();
      }
    } catch (error) {
      ignore(error); // the next connection asks again
    } finally {
      this.#loading = false;
    }
  }

  /** The newest page, and further ones until they reach what was known before. */
  async #readNewest() {
    let page = await this.#readPage({ limit: PAGE }, false);
    const newest = page.conversations[0]?.activityAt ?? 0;
    while (page.nextBefore !== null && (page.conversations.at(-1)?.activityAt ?? 0) >= this.#knownAt) {
      page = await this.#readPage({ limit: PAGE, before: page.nextBefore }, false);
    }
    this.#knownAt = newest;
  }

  /** @param {{limit: number, before?: string}} where @param {boolean} further */
  #readPage(where, further) {
    const first = where.before === undefined;
    return this.#insist("list_conversations", where, () => true, (page) => {
      this.#learn(page.profiles);
      this.apply({ type: "page", page, further, whole: first && page.nextBefore === null });
    });
  }
}
