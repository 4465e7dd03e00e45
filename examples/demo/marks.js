// Who has read what, in the open conversation.

import { here, nameFor } from "./here.js";
import { listOf, words } from "./words.js";

export class Marks {
  #others;
  #all;
  #some;
  #group;
  /** By `seq`: who has read up to there. */
  #readers = new Map();

  constructor({ participants, messages, conversation }) {
    const me = here.me.id;
    this.#others = participants.filter(({ userId }) => userId !== me);
    const marks = this.#others.map(({ readSeq }) => readSeq);
    // Of a large group the others are on their way.
    const known = marks.length > 0 && participants.length >= (conversation?.participantCount ?? Infinity);
    this.#all = known ? Math.min(...marks) : 0;
    this.#some = marks.reduce((most, mark) => Math.max(most, mark), 0);
    this.#group = conversation?.kind === "group";
    const last = messages.at(-1)?.seq ?? 0;
    if (!this.#group) return;
    for (const { userId, readSeq } of this.#others) {
      const seq = Math.min(readSeq, last);
      this.#readers.set(seq, [...(this.#readers.get(seq) ?? []), userId]);
    }
  }

  /** Of a message of one's own. @returns {[string, string]} its state, and that in words */
  stateOf(seq) {
    if (seq <= this.#all) return ["seen", this.#group ? words.readByAll : words.ticks.seen];
    if (seq > this.#some) return ["sent", words.ticks.sent];
    const readers = this.#others.filter(({ readSeq }) => readSeq >= seq).map(({ userId }) => nameFor(userId));
    return ["read", words.readBy(listOf(readers))];
  }

  readersOf(seq, senderId) {
    return (this.#readers.get(seq) ?? []).filter((id) => id !== senderId);
  }
}
