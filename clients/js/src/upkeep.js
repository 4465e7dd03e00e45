// What a joined conversation still needs, for as long as one joining lasts: changes that did not fit into the answer, quotes,
// holes, the other participants, older pages. Each is asked for once at a time; answers that come too late do not count.
import { catchesUp, isBehind, missingQuotes, newestHole } from "./conversation.js";
import { ChatError } from "./errors.js";

/** @import { Action, State } from "./conversation.js" */
/** @import { Context } from "./room.js" */
/** @import { Requests } from "./wire.js" */

/**
 * @typedef {object} Host  the room
 * @property {string} id
 * @property {Context} context
 * @property {() => State} state
 * @property {(action: Action) => void} apply
 * @property {(anew: boolean) => void} rejoin  join again; `anew`: and forget what is known
 */

const PAGE = 50;
/** Of what is read to fill a hole. */
const FILL_PAGE = 100;
/** A longer hole is not filled: what lies before it is forgotten, and read again by scrolling. */
const LONGEST_HOLE = 1_000;
/** If more than that has changed meanwhile, the conversation begins anew. */
const MOST_CHANGES = 2_000;
const LARGE_PAGE = 200;
const MOST_QUOTES = 50; // of one request
/** How long live events may be ahead of one that comes late, before the conversation is joined again. */
const AHEAD_MS = 250;

export class Upkeep {
  #host;
  #ended = false;
  /** @type {Set<string>} */
  #busy = new Set();
  /** Quotes that were asked for. @type {Set<number>} */
  #asked = new Set();
  /** @type {any} */
  #timer = null;

  /** @param {Host} host */
  constructor(host) {
    this.#host = host;
  }

  end() {
    this.#ended = true;
    this.#host.context.clock.clearTimeout(this.#timer);
  }

  /** It has been joined, again perhaps: a quote that was not there may be. */
  joined() {
    this.#asked.clear();
    const { conversation, participants } = this.#host.state();
    if (participants.length < (conversation?.participantCount ?? 0)) void this.#once("participants", () => this.#listParticipants());
  }

  /** Something came: look after what is missing now. */
  look() {
    const state = this.#host.state();
    if (!state.joined) return;
    if (catchesUp(state)) void this.#once("changes", () => this.#catchUp());
    void this.#once("quotes", () => this.#fetchQuotes());
    if (isBehind(state)) {
      // What comes late is waited for, then asked for.
      this.#timer ??= this.#host.context.clock.setTimeout(() => {
        this.#timer = null;
        if (isBehind(this.#host.state())) this.#host.rejoin(false);
      }, AHEAD_MS);
    } else if (newestHole(state)) void this.#once("holes", () => this.#fillHoles());
  }

  loadOlder() {
    const [first] = this.#host.state().messages;
    return this.#once("older", async () => first && void (await this.#history({ beforeSeq: first.seq, limit: PAGE })));
  }

  /** Unless it is under way. @param {string} name @param {() => Promise<void>} act */
  async #once(name, act) {
    if (this.#busy.has(name)) return;
    this.#busy.add(name);
    try {
      await act();
    } catch (error) {
      ignore(error);
    } finally {
      this.#busy.delete(name);
    }
  }

  /**
   * @template {"fetch_changes" | "fetch_messages" | "fetch_history" | "list_participants"} E
   * @param {E} event
   * @param {Omit<Requests[E]["payload"], "conversationId">} where
   * @param {(page: Requests[E]["ack"]) => Action} take
   */
  #ask(event, where, take) {
    const { id, context, apply } = this.#host;
    const payload = /** @type {Requests[E]["payload"]} */ ({ conversationId: id, ...where });
    return context.insist(event, payload, () => !this.#ended, (page) => {
      context.learn("participants" in page ? page.participants : page.profiles);
      if (!this.#ended) apply(take(page));
    });
  }

  /** A group that is too large for one answer: its members come page by page. */
  async #listParticipants() {
    for (let after = /** @type {string | null | undefined} */ (undefined); after !== null && !this.#ended; ) {
      const where = { limit: LARGE_PAGE, ...(after && { after }) };
      const page = await this.#ask("list_participants", where, ({ participants }) => ({ type: "participants", participants }));
      after = page.nextAfter;
    }
  }

  /** Page by page, or anew if it is too much. */
  async #catchUp() {
    for (let state = this.#host.state(); catchesUp(state) && !this.#ended; state = this.#host.state()) {
      const after = state.cursor ?? 0;
      if (state.target - after > MOST_CHANGES) return this.#host.rejoin(true);
      await this.#ask("fetch_changes", { after, limit: LARGE_PAGE }, (page) => ({ type: "changes", page }));
    }
  }

  async #fetchQuotes() {
    while (!this.#ended) {
      const seqs = missingQuotes(this.#host.state()).filter((seq) => !this.#asked.has(seq)).slice(-MOST_QUOTES);
      if (seqs.length === 0) return;
      for (const seq of seqs) this.#asked.add(seq);
      const { messages, hasMore } = await this.#ask("fetch_messages", { seqs }, (page) => ({ type: "quotes", messages: page.messages }));
      if (hasMore && messages.length > 0) for (const seq of seqs) this.#asked.delete(seq);
    }
  }

  async #fillHoles() {
    for (let hole = newestHole(this.#host.state()); hole && !this.#ended; hole = newestHole(this.#host.state())) {
      if (hole.length > LONGEST_HOLE) this.#host.apply({ type: "forget", beforeSeq: hole.beforeSeq });
      else if ((await this.#history({ beforeSeq: hole.beforeSeq, limit: FILL_PAGE })) === 0) return;
    }
  }

  /** @param {{beforeSeq: number, limit: number}} where @returns {Promise<number>} how many messages came */
  async #history(where) {
    const { messages } = await this.#ask("fetch_history", where, (page) => ({ type: "history", messages: page.messages }));
    return messages.length;
  }
}

/** What failed is repeated, or has lost its meaning, with the next connection. @param {unknown} failure */
export function ignore(failure) {
  if (!(failure instanceof ChatError)) throw failure;
}
