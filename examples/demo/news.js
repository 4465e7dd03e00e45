// What is new in the open conversation, and what of it counts as read: what was on the screen, if everything before it was.

import { here } from "./here.js";

const READ_MS = 500; // between two read marks while one scrolls through what is new

export class News {
  /** What was unread when it was opened, or came while nobody looked: after which message, and how many. */
  mark = null;
  /** The first of them is above the screen, and was never on it. */
  unseen = false;
  #room;
  #joined = false;
  #entered = false;
  #caughtUp = false;
  #readTo = 0;
  /** The last message when one left the end. */
  #leftAt = 0;
  #following = true;
  #away = false;
  #timer = 0;

  constructor(room) {
    this.#room = room;
  }

  /** The answer to a join says up to where one had read: the first one, and that after a connection was lost. @returns which of them has come */
  joined() {
    const { joined, lastSeq, unreadCount, readSeq } = this.#room.state;
    if (joined === this.#joined) return null;
    this.#joined = joined;
    if (!joined) {
      this.#setCaughtUp(false); // what is missed nobody has seen
      return null;
    }
    const first = !this.#entered;
    this.#entered = true;
    if (first) this.#leftAt = lastSeq;
    if ((first || this.#following) && unreadCount > 0) {
      this.mark = { after: readSeq, count: unreadCount };
      this.unseen = true;
    }
    return first ? "first" : "again";
  }

  /** How many came since one left the end. */
  get count() {
    return this.#following ? 0 : this.#after(this.#leftAt).length;
  }

  /** The first message that is new, if it is loaded. */
  get line() {
    return this.#first(this.count > 0 ? this.#leftAt : this.mark?.after);
  }

  /** Where lines stand: by the first message that is new, how many are. */
  get lines() {
    const lines = new Map();
    if (this.mark) lines.set(this.#first(this.mark.after), this.mark.count);
    const { count } = this;
    if (count > 0) lines.set(this.#first(this.#leftAt), count);
    return lines;
  }

  /** The rows on the screen are these. @returns whether a line has come */
  look(first, last, following) {
    const { messages, readSeq } = this.#room.state;
    const line = this.#follow(following);
    const top = messages[first]?.seq ?? Infinity;
    // It counts as read what is on the screen, if everything before it was.
    if (!this.#joined || (messages.length > 0 && top > Math.max(this.#readTo, readSeq) + 1)) return line;
    this.unseen = false;
    if (document.visibilityState !== "visible" || !document.hasFocus()) return line;
    this.#readTo = Math.max(this.#readTo, messages[Math.min(last, messages.length - 1)]?.seq ?? 0);
    if (following) this.#setCaughtUp(true);
    else this.#read();
    return line;
  }

  /** One has come to the end, or left it, or neither. */
  #follow(following) {
    const { count } = this;
    if (following === this.#following) return false;
    this.#following = following;
    if (following) {
      if (count > 0) this.mark = { after: this.#leftAt, count };
      return count > 0;
    }
    this.#leftAt = this.#room.state.lastSeq;
    this.#setCaughtUp(false);
    return false;
  }

  /** Somebody looks at the page, or nobody does. */
  lookedAt(looks, following) {
    if (looks && this.#away && following) {
      const missed = this.#after(this.#leftAt).length;
      if (missed > 0) this.mark = { after: this.#leftAt, count: missed };
      this.unseen = missed > 0;
    }
    if (!looks && !this.#away) {
      // What comes now nobody sees.
      this.#setCaughtUp(false);
      if (following) this.#leftAt = this.#room.state.lastSeq;
    }
    this.#away = !looks;
  }

  /** One has gone to the end: everything counts as seen. */
  seen() {
    this.#readTo = this.#room.state.lastSeq;
    this.#following = true;
    this.unseen = false;
    this.#setCaughtUp(true);
  }

  #after(seq) {
    const { messages } = this.#room.state;
    let start = messages.length;
    while (start > 0 && messages[start - 1].seq > seq) start -= 1;
    return messages.slice(start).filter(({ senderId, deletedAt, kind }) => senderId !== here.me.id && deletedAt === undefined && kind !== "system");
  }

  #first(after) {
    if (after === undefined || (this.#room.state.messages[0]?.seq ?? Infinity) > after + 1) return undefined;
    return this.#after(after)[0]?.seq;
  }

  #setCaughtUp(caughtUp) {
    if (this.#caughtUp === caughtUp) return;
    this.#caughtUp = caughtUp;
    this.#room.setVisible(caughtUp);
  }

  #read() {
    if (this.#timer || this.#readTo <= this.#room.state.readSeq) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#room.markRead(this.#readTo).catch(() => {}); // the next one says so too
    }, READ_MS);
  }
}
