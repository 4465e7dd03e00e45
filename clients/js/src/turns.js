// Rooms tell the server what they wish one after the other, and not too many at once: whoever has left a room before its turn
// came need not join it.

/** @import { Clock } from "./clock.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Room } from "./room.js" */

/** So many requests at once, then so many a second. The server allows 100 and 20, for all of them. */
const BURST = 20;
const PER_SECOND = 8;

export class Turns {
  #connection;
  #clock;
  #rooms;
  #telling = false;
  /** @type {any} */
  #later = null;
  #tokens = BURST;
  #tokensAt = 0;

  /** @param {{connection: Connection, clock: Clock, rooms: ReadonlyMap<string, Room>}} init */
  constructor({ connection, clock, rooms }) {
    this.#connection = connection;
    this.#clock = clock;
    this.#rooms = rooms;
  }

  /** Somebody wishes something else: tell the server, when all who wish in this turn have said so. */
  begin() {
    if (this.#telling || !this.#connection.connected) return;
    this.#telling = true;
    queueMicrotask(() => this.#tellAll());
  }

  end() {
    this.#clock.clearTimeout(this.#later);
  }

  async #tellAll() {
    try {
      while (this.#connection.connected) {
        const now = this.#clock.now();
        const due = [...this.#rooms.values()].filter((room) => room.due !== null);
        const ready = due.filter(({ notBefore }) => notBefore <= now);
        const room = ready.find(({ due }) => due !== "join") ?? ready.sort((a, b) => b.heldAt - a.heldAt)[0];
        if (!room) {
          if (due.length > 0) this.#again(Math.min(...due.map(({ notBefore }) => notBefore)) - now);
          return;
        }
        const waitMs = this.#take(now);
        if (waitMs > 0) return this.#again(waitMs);
        await room.tell();
      }
    } finally {
      this.#telling = false;
    }
  }

  /** @param {number} ms */
  #again(ms) {
    this.end();
    this.#later = this.#clock.setTimeout(() => this.begin(), ms);
  }

  /** @param {number} now @returns {number} how long to wait; 0 if the turn was taken */
  #take(now) {
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#tokensAt) / 1_000) * PER_SECOND);
    this.#tokensAt = now;
    if (this.#tokens < 1) return ((1 - this.#tokens) / PER_SECOND) * 1_000;
    this.#tokens -= 1;
    return 0;
  }
}
