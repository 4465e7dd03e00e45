// How people and conversations are called, and how a name looks where there is no picture.
import { words } from "./words.js";

/** @typedef {ReadonlyMap<string, {name?: string, avatar?: string, known?: boolean}>} Profiles  by user id */

/** @param {Profiles} profiles @param {string} id */
export const nameOf = (profiles, id) => profiles.get(id)?.name ?? id;

/**
 * A conversation's title, or else the others in it.
 *
 * @param {{title: string | null, participantIds: readonly string[], participantCount: number}} conversation
 * @param {string} me
 * @param {Profiles} profiles
 */
export function titleOf({ title, participantIds, participantCount }, me, profiles) {
  if (title !== null) return title;
  const names = participantIds.filter((id) => id !== me).map((id) => nameOf(profiles, id));
  if (names.length === 0) return nameOf(profiles, me);
  const unnamed = participantCount - participantIds.length;
  return unnamed > 0 ? words.andMore(names.join(", "), unnamed) : names.join(", ");
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The first letters of the first and the last word. @param {string} name */
export function initials(name) {
  const all = name.split(/[\s_-]+|\.(?=\p{L})/u).filter(Boolean);
  return (all.length > 1 ? [all[0], all.at(-1)] : all)
    .map((word) => graphemes.segment(word ?? "")[Symbol.iterator]().next().value?.segment ?? "")
    .join("")
    .toUpperCase();
}

/** A hue that belongs to a user, wherever the user appears. @param {string} id */
export function hueOf(id) {
  let hash = 7;
  for (const character of id) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return Math.round((hash * 0.618034) % 360);
}

/** For comparing what somebody types with names: without case and accents. @param {string} text */
export const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
