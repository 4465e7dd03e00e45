// Where somebody was in each conversation, for when it is opened again: as long as the tab lives, over reloads too.

const KEY = "chat.places";
const MOST = 200;

/** @typedef {{key: string, px: number, seq: number}} Place  a row, where its edge was, and its message's `seq` */

/** By conversation; the one left last is the last. @type {Map<string, Place> | null} */
let places = null;

function all() {
  if (places) return places;
  try {
    places = new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
  } catch {
    places = new Map();
  }
  addEventListener("pagehide", () => {
    try {
      if (all().size === 0) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, JSON.stringify([...all()].slice(-MOST)));
    } catch {
      // As long as the page, then.
    }
  });
  return places;
}

/** @param {string} conversationId @returns {Place | null} null: at the end */
export const placeIn = (conversationId) => all().get(conversationId) ?? null;

/** @param {string} conversationId @param {Place | null} place */
export function keepPlace(conversationId, place) {
  all().delete(conversationId);
  if (place) all().set(conversationId, place);
}

export function forgetPlaces() {
  all().clear();
  sessionStorage.removeItem(KEY);
}
