// The messages of the open conversation: those on the screen are in the page, the others are numbers (shared/virtual.js).

import { $, arrange, draw } from "./dom.js";
import { connected, here } from "./here.js";
import { Marks } from "./marks.js";
import { News } from "./news.js";
import { Row } from "./rows.js";
import { keepPlace, placeIn } from "./shared/places.js";
import { dayName, dayOf } from "./shared/times.js";
import { NEWEST, VirtualList } from "./shared/virtual.js";
import { sentenceOf } from "./shared/words.js";
import { words } from "./words.js";

const RUN_MS = 5 * 60_000; // messages of one person closer than this stand together
const NEAR_TOP_PX = 1_000; // then earlier ones are loaded
/** As far back one goes by itself: to the first unread message, or to where one was. Further it takes a click. */
const FAR = 500;
const VAIN_MS = 100; // between two attempts to load what one seeks
const MOST_VAIN = 50;

export class History {
  #room;
  #view;
  #news;
  #range = NEWEST;
  #rows = new Map();
  /** Of all rows; made anew when the messages change. */
  #keys = [];
  #keysOf = [null, null];
  #drawing = false;
  #sought = null;
  #ends = new AbortController();

  /** @param {object} room  the conversation that was opened */
  constructor(room) {
    this.#room = room;
    this.#news = new News(room);
    const elements = { scroller: $("scroller"), above: $("above"), list: $("messages"), below: $("below") };
    $("messages").replaceChildren();
    this.#view = new VirtualList({ ...elements, onRange: (range) => this.#setRange(range) });
    const { signal } = this.#ends;
    $("scroller").addEventListener("scroll", () => this.#scrolled(), { passive: true, signal });
    $("jump").addEventListener("click", () => this.#toNews(), { signal });
    $("jump-up").addEventListener("click", () => this.#seek({ seq: this.#news.mark.after + 1 }), { signal });
    for (const type of ["focus", "blur", "visibilitychange"]) {
      addEventListener(type, () => this.#lookAgain(), { capture: true, signal });
    }
    this.draw();
    $("scroller").scrollTop = 0;
  }

  close() {
    this.#sought = null;
    this.#ends.abort();
    this.#view.close();
  }

  /** The message, stored or waiting, in which a node stands. */
  messageAt(node) {
    const index = Number(node.closest(".row")?.dataset.index);
    return this.#at(index);
  }

  /** To a message, as soon as it is loaded. */
  show(seq) {
    void this.#seek({ seq });
  }

  /** One has written: to the end, past everything that is new. */
  wrote() {
    this.#news.mark = null;
    this.#toEnd();
  }

  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    for (let i = 0, range = null; i < 4 && range !== this.#range; i += 1) {
      range = this.#range;
      this.#drawRows();
      this.#view.drawn(this.#keys, this.#from);
      if (this.#sought && this.#show(this.#sought)) this.#sought = null;
    }
    this.#drawing = false;
    const joined = this.#news.joined();
    if (joined === "first") this.#begin();
    else if (joined) draw(this.drawSoon);
    this.#look();
  }

  get #from() {
    return Math.max(0, this.#keys.length - this.#range.start);
  }

  #at(index) {
    const { messages, pending } = this.#room.state;
    return messages[index] ?? pending[index - messages.length];
  }

  #setRange(range) {
    this.#range = range;
    this.draw();
  }

  #drawRows() {
    const { state } = this.#room;
    const { messages, pending, lastSeq } = state;
    const me = here.me.id;
    if (this.#keysOf[0] !== messages || this.#keysOf[1] !== pending) {
      this.#keysOf = [messages, pending];
      const stored = messages.map(({ senderId, idempotencyKey }) => `${senderId} ${idempotencyKey}`);
      this.#keys = [...stored, ...pending.map(({ key }) => `${me} ${key}`)];
    }
    const count = this.#keys.length;
    const from = this.#from;
    const to = Math.max(from, count - this.#range.end);
    const marks = new Marks(state);
    const { lines } = this.#news;
    const nodes = [];
    const used = new Map();
    for (let index = from; index < to; index += 1) {
      const key = this.#keys[index];
      const row = this.#rows.get(key) ?? new Row();
      used.set(key, row);
      row.show(this.#lookOf(index, marks, lines));
      row.number(index < messages.length ? messages[index].seq : lastSeq + index - messages.length + 1, lastSeq + pending.length);
      row.node.dataset.index = index;
      nodes.push(row.node);
    }
    this.#rows = used;
    arrange($("messages"), nodes);
    $("history").textContent = this.#beginning();
  }

  #lookOf(index, marks, lines) {
    const { messages, quoted } = this.#room.state;
    const message = this.#at(index);
    const [before, after] = [this.#at(index - 1), this.#at(index + 1)];
    const newDay = !before || dayOf(before.createdAt) !== dayOf(message.createdAt);
    const sender = senderOf(message);
    const seq = index < messages.length ? message.seq : null;
    let [state, label] = ["theirs", ""];
    if (seq === null) [state, label] = message.error ? ["failed", words.ticks.failed] : ["waiting", connected() ? words.ticks.waiting : words.waiting];
    else if (sender === here.me.id) [state, label] = marks.stateOf(seq);
    const readers = seq === null ? NOBODY : marks.readersOf(seq, sender);
    return {
      message,
      state,
      label,
      day: newDay ? dayOf(message.createdAt) : null,
      news: lines.get(seq) ?? null,
      begins: newDay || !together(before, message),
      ends: !(after && together(message, after)),
      quoted: message.replyTo === undefined ? undefined : quoted.get(message.replyTo),
      readers: readers.length > 0 ? readers : NOBODY,
      profiles: here.chat.profiles.state,
    };
  }

  #beginning() {
    const { messages, cursor, hasOlder, error } = this.#room.state;
    if (error) return sentenceOf(error);
    if (cursor === null) return connected() ? words.loading : "";
    if (hasOlder) return words.loadingEarlier;
    return messages.length === 0 ? words.noMessages : words.beginning;
  }

  /** What is on the screen has changed, or somebody looks again. */
  #look() {
    const view = this.#view;
    const { joined, hasOlder } = this.#room.state;
    const [first, last] = view.visible();
    this.#drawDay(first);
    if (view.before < NEAR_TOP_PX && joined && hasOlder) void this.#room.loadOlder(); // once, however often it is asked
    if (this.#news.look(first, last, view.following)) draw(this.drawSoon);
    this.#drawJumps();
  }

  #drawDay(first) {
    const top = this.#at(first);
    const day = top ? dayOf(top.createdAt) : null;
    const sticky = $("sticky-day");
    sticky.hidden = day === null || dayOf(this.#at(first - 1)?.createdAt ?? 0) !== day;
    if (!sticky.hidden) sticky.firstElementChild.textContent = dayName(day);
  }

  #drawJumps() {
    const { mark, unseen } = this.#news;
    const news = this.#view.following ? 0 : this.#news.count;
    $("jump").hidden = this.#view.following;
    $("jump-text").textContent = news > 0 ? String(news) : "";
    $("jump").setAttribute("aria-label", news > 0 ? words.newBelow(news) : words.toNewest);
    $("jump-up").hidden = !(unseen && mark);
    if (!mark) return;
    $("jump-up-text").textContent = words.newMessages(mark.count);
    $("jump-up").setAttribute("aria-label", words.unreadAbove(mark.count));
  }

  #scrolled() {
    this.#view.scrolled();
    this.#look();
    this.#keep();
  }

  drawSoon = () => {
    if (!this.#ends.signal.aborted) this.draw();
  };

  #lookAgain() {
    this.#news.lookedAt(document.visibilityState === "visible" && document.hasFocus(), this.#view.following);
    this.draw();
  }

  // Where one is

  /** One begins at the first unread message, or where one was, or at the end. */
  #begin() {
    const { mark } = this.#news;
    const place = placeIn(this.#room.id);
    if (mark && mark.count <= FAR) void this.#seek({ seq: mark.after + 1 });
    else if (place && !mark && this.#room.state.lastSeq - place.seq <= FAR) void this.#seek(place);
    else draw(this.drawSoon);
  }

  #keep() {
    const { place } = this.#view;
    const seq = this.#room.state.messages[this.#view.visible()[0]]?.seq;
    keepPlace(this.#room.id, place && seq ? { ...place, seq } : null);
  }

  /** Bring a message to the screen, as soon as it is loaded. */
  async #seek(wanted) {
    this.#sought = wanted;
    const first = () => this.#room.state.messages[0]?.seq ?? 0;
    draw(this.drawSoon);
    if (this.#show(wanted)) this.#sought = null;
    for (let vain = 0; this.#sought === wanted && first() > wanted.seq && vain < MOST_VAIN; ) {
      const before = first();
      await this.#room.loadOlder();
      vain = first() < before ? 0 : vain + 1; // a page may be on its way already, or the connection be lost
      if (vain > 0) await new Promise((resolve) => setTimeout(resolve, VAIN_MS));
    }
  }

  #show({ seq, key, px }) {
    const { messages } = this.#room.state;
    const found = key ?? this.#keys[messages.findIndex((message) => message.seq >= seq)];
    if ((messages[0]?.seq ?? Infinity) > seq || found === undefined) return false;
    return px === undefined ? this.#view.show(found) : this.#view.restore({ key: found, px });
  }

  #toEnd() {
    this.#sought = null;
    this.#news.seen();
    this.#view.toEnd();
    draw(this.drawSoon);
  }

  /** The line of the newest, if it is below the screen; else the end. */
  #toNews() {
    const line = this.#news.line;
    const last = this.#room.state.messages[this.#view.visible()[1]]?.seq ?? Infinity;
    if (line !== undefined && line > last) void this.#seek({ seq: line });
    else this.#toEnd();
  }
}

const NOBODY = Object.freeze([]);
const senderOf = (message) => message.senderId ?? here.me.id;
const together = (a, b) => a.kind === b.kind && senderOf(a) === senderOf(b) && b.createdAt - a.createdAt <= RUN_MS;
