// One row of the history: a bubble with all that belongs to it. Its buttons say what they do (`data-do`); the history does it.
// A row is made once and then told what it shows; of it, only what differs is made anew, so that focus and animations stay.

import { arrange, el, icon, paintAvatar } from "./dom.js";
import { here, nameFor, pictureOf } from "./here.js";
import { linked } from "./shared/links.js";
import { marked } from "./shared/mentions.js";
import { hueOf } from "./shared/names.js";
import { clockTime, dayName, fullTime } from "./shared/times.js";
import { sentenceOf } from "./shared/words.js";
import { listOf, words } from "./words.js";

const MOST_READERS = 4;
const ICONS = { waiting: "clock", failed: "alert", sent: "sent", read: "read", seen: "read" };

/**
 * @typedef {object} Look  what a row shows
 * @property {object} message  a stored one, or one that waits
 * @property {string} state  `theirs`, `waiting`, `failed`, `sent`, `read` (by some) or `seen` (by all)
 * @property {string} label  the state in words
 * @property {number | null} day  the day that begins with it
 * @property {number | null} news  how many are new from here on
 * @property {boolean} begins  a run of one person's messages
 * @property {boolean} ends
 * @property {object | null | undefined} quoted  what it answers
 * @property {readonly string[]} readers  in a group: who has read up to here, and no further
 * @property {object} profiles
 */

export class Row {
  node = el("li", { className: "row" });
  #line = el("div", { className: "line" });
  #bubble = el("div", { className: "bubble" });
  #meta = el("span", { className: "meta" });
  /** @type {Look | null} */
  #look = null;
  /** By name: what it was made of, and the node, if there is one. */
  #parts = new Map();

  /** @param {Look} look */
  show(look) {
    const before = this.#look;
    if (before && Object.keys(look).every((key) => look[key] === before[key])) return;
    this.#look = look;
    const { message, state, label, day, news, begins, ends, readers } = look;
    const mine = state !== "theirs";
    const sender = mine ? here.me.id : message.senderId;
    const name = nameFor(sender);
    const deleted = message.deletedAt !== undefined;
    const { node } = this;
    node.className = ["row", mine && "mine", begins && "begins", ends && "ends"].filter(Boolean).join(" ");
    node.dataset.state = state;
    if (message.seq) node.dataset.seq = message.seq;
    const emoji = !deleted && this.#kept("emoji", message.body, () => isOnlyEmoji(message.body));
    this.#bubble.className = ["bubble", emoji && "emoji", deleted && "deleted"].filter(Boolean).join(" ");

    const removing = message.pending?.find(({ kind, error }) => kind === "remove" && error === null);
    const refused = message.seq ? message.pending?.find(({ error }) => error !== null) : message.error && message;
    arrange(this.#meta, parts(
      this.#kept("edited", message.editedAt !== undefined && !deleted, (edited) => edited && el("span", { textContent: words.edited })),
      this.#kept("time", message.createdAt, timeOf),
      this.#kept("tick", mine && !deleted ? `${state} ${label}` : "", (shown) => shown && tickOf(state, label)),
    ));
    arrange(this.#bubble, parts(
      // A reader that hears one row alone has to hear who wrote it.
      this.#kept("who", name, () => el("span", { className: "visually-hidden", textContent: `${mine ? words.you : name}: ` })),
      this.#kept("author", mine || !begins ? "" : name, (shown) => shown && authorOf(sender, name)),
      this.#quote(look),
      this.#body(look, deleted),
      this.#meta,
    ));
    arrange(this.#line, parts(
      this.#kept("face", mine ? "" : `${sender} ${name} ${pictureOf(sender)}`, (shown) => shown && faceOf(sender, name)),
      this.#bubble,
      this.#kept("more", !deleted, (shown) => shown && moreButton()),
      this.#kept("undo", removing?.key ?? "", (key) => key && action("discard", words.undo, { key })),
    ));
    // What the server itself says, of people who come and go, and of titles, is no bubble.
    const notice = message.kind === "system";
    arrange(node, parts(
      this.#kept("day", day, () => day !== null && el("p", { className: "day" }, el("span", { textContent: dayName(day) }))),
      this.#kept("news", news, () => news !== null && el("p", { className: "divider" }, el("span", { textContent: words.newMessages(news) }))),
      notice ? this.#kept("notice", message.body, (text) => el("p", { className: "told", dir: "auto", textContent: text })) : this.#line,
      this.#reactions(message, deleted),
      this.#kept("trouble", refused ? `${refused.key} ${refused.error.code}` : "", (shown) => shown && troubleOf(refused, message.seq)),
      this.#kept("readers", readers.map((id) => `${id} ${nameFor(id)}`).join("\u0000"), (shown) => shown && readersOf(readers)),
    ));
  }

  /** Its place among all messages, for a reader. */
  number(place, of) {
    if (this.place === place && this.of === of) return;
    this.place = place;
    this.of = of;
    this.node.setAttribute("aria-posinset", place);
    this.node.setAttribute("aria-setsize", of);
  }

  /** What `make` makes of that; made again only if that is another one. */
  #kept(name, of, make) {
    const known = this.#parts.get(name);
    if (known && known.of === of) return known.made;
    const made = make(of);
    this.#parts.set(name, { of, made });
    return made;
  }

  #body({ message }, deleted) {
    const mentions = (message.mentions ?? []).map((userId) => ({ userId, name: nameFor(userId) }));
    const of = deleted ? "" : JSON.stringify([message.body, mentions]);
    return this.#kept("body", of, () => el("span", { className: "body", dir: "auto" }, ...(deleted ? [words.deleted] : textNodes(message.body, mentions))));
  }

  #quote({ message, quoted }) {
    if (message.replyTo === undefined || message.deletedAt !== undefined) return this.#kept("quote", "", () => null);
    if (!quoted) return this.#kept("quote", String(quoted), () => el("span", { className: "quote", textContent: quoted === null ? words.loading : words.notThere }));
    const text = quoted.deletedAt === undefined ? quoted.body : words.deleted;
    const name = nameFor(quoted.senderId);
    return this.#kept("quote", `${name}\u0000${text}`, () => {
      const who = el("strong", { dir: "auto" }, el("span", { className: "visually-hidden", textContent: words.quoteOf("") }), name);
      const button = el("button", { type: "button", className: "quote", data: { do: "quote" } }, who, el("span", { dir: "auto", textContent: text }));
      button.style.setProperty("--hue", hueOf(quoted.senderId));
      return button;
    });
  }

  #reactions({ reactions = [] }, deleted) {
    const shown = deleted ? [] : reactions;
    const of = JSON.stringify(shown.map(({ reaction, count, userIds }) => [reaction, count, userIds.map(nameFor)]));
    return this.#kept("reactions", of, () => shown.length > 0 && el("div", { className: "reactions" }, ...shown.map(chipOf)));
  }
}

const parts = (...nodes) => nodes.filter(Boolean);

function timeOf(ms) {
  return el("time", { dateTime: new Date(ms).toISOString(), title: fullTime(ms), textContent: clockTime(ms) });
}

function tickOf(state, label) {
  return el("span", { className: "tick", role: "img", title: label, aria: { label } }, icon(ICONS[state]));
}

function authorOf(id, name) {
  const node = el("span", { className: "author", dir: "auto", textContent: name, aria: { hidden: "true" } });
  node.style.setProperty("--hue", hueOf(id));
  return node;
}

function faceOf(id, name, className = "avatar small") {
  const node = el("span", { className, aria: { hidden: "true" } });
  paintAvatar(node, id, name, pictureOf(id));
  return node;
}

function action(does, text, data = {}) {
  return el("button", { type: "button", className: "link", textContent: text, data: { do: does, ...data } });
}

function moreButton() {
  return el("button", { type: "button", className: "icon-button more-button", data: { do: "menu" }, aria: { label: words.options, haspopup: "true" } }, icon("more"));
}

function chipOf({ reaction, count, userIds }) {
  const names = listOf(userIds.map((id) => (id === here.me.id ? words.you : nameFor(id))));
  const pressed = String(userIds.includes(here.me.id));
  return el("button", { type: "button", textContent: `${reaction} ${count}`, title: words.reacted(reaction, names), data: { do: "react", reaction }, aria: { pressed } });
}

function troubleOf({ key, error }, stored) {
  const text = el("span", { textContent: `${stored ? words.notChanged : words.notSent} ${sentenceOf(error)}` });
  return el("p", { className: "trouble", role: "alert" }, text, action("retry", words.retry, { key }), " ", action("discard", words.discard, { key }));
}

function readersOf(ids) {
  const label = words.readBy(listOf(ids.map(nameFor)));
  // So small a face has room for one letter.
  const faces = ids.slice(0, MOST_READERS).map((id) => faceOf(id, first(nameFor(id)), "avatar tiny"));
  return el("div", { className: "readers", role: "img", title: label, aria: { label } }, ...faces, ids.length > MOST_READERS ? `+${ids.length - MOST_READERS}` : "");
}

/** A text as nodes: its web addresses as links, the names of those whom it mentions marked. */
function textNodes(text, mentions) {
  return linked(text).flatMap((piece) => {
    if (piece.href) return el("a", { href: piece.href, target: "_blank", rel: "noopener noreferrer", textContent: piece.text });
    return marked(piece.text, mentions).map(({ text: part, userId }) => {
      if (userId === undefined) return part;
      return el("mark", { className: userId === here.me.id ? "mention me" : "mention", textContent: part });
    });
  });
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

const first = (text) => graphemes.segment(text)[Symbol.iterator]().next().value?.segment ?? "";

/** Whether a text is up to three emoji, which are shown large. */
function isOnlyEmoji(text) {
  if (text.length > 40 || !/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(text)) return false;
  if (/[^\p{Extended_Pictographic}\p{Emoji_Component}\s]|^[\d#*\s]+$/u.test(text)) return false;
  return [...graphemes.segment(text)].filter(({ segment }) => segment.trim()).length <= 3;
}
