// Naming people in a message: what is being typed, whom a text names, and where.
import { plain } from "./names.js";

/** @typedef {{userId: string, name: string}} Person */

const MOST = 6;

/** The name that is being typed at the caret, after its sign. @param {string} text @param {number} caret @returns {{start: number, query: string} | null} */
export function mentionAt(text, caret) {
  const found = /(?:^|[\s(])@([^\s@]*(?: [^\s@]+)?)$/u.exec(text.slice(0, caret));
  return found && { start: caret - (found[1] ?? "").length - 1, query: found[1] ?? "" };
}

/** Whom that may mean: those of whose names a word, or whose id, begins so. @param {string} query @param {readonly Person[]} people @returns {Person[]} */
export function candidates(query, people) {
  const wanted = plain(query);
  const fits = (/** @type {Person} */ { userId, name }) =>
    plain(name).startsWith(wanted) || plain(userId).startsWith(wanted) || plain(name).split(/[\s.-]/u).some((word) => word.startsWith(wanted));
  return people.filter(fits).slice(0, MOST);
}

/** Those whom a text names. @param {string} text @param {readonly Person[]} people @returns {Person[]} */
export function mentioned(text, people) {
  const found = new Set(marked(text, people).map(({ userId }) => userId));
  return people.filter(({ userId }) => found.has(userId));
}

/**
 * A text in pieces, those that name somebody with whom. Of two names that fit the longer one counts.
 *
 * @param {string} text
 * @param {readonly Person[]} people
 * @returns {{text: string, userId?: string}[]}
 */
export function marked(text, people) {
  const names = [...people].sort((a, b) => b.name.length - a.name.length);
  /** @type {{text: string, userId?: string}[]} */
  const pieces = [];
  let end = 0;
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    if (at < end) continue;
    const person = names.find(({ name }) => text.startsWith(name, at + 1) && !/^[\p{L}\p{N}]/u.test(text.slice(at + 1 + name.length)));
    if (!person) continue;
    if (at > end) pieces.push({ text: text.slice(end, at) });
    end = at + 1 + person.name.length;
    pieces.push({ text: text.slice(at, end), userId: person.userId });
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}
