// Desktop notifications: off until the user asks for them, and silent about what is on the screen already.
import { nameOf, titleOf } from "./names.js";

/**
 * @typedef {object} Item  what the list knows of a conversation
 * @property {string} id
 * @property {"direct" | "group"} kind
 * @property {string | null} title
 * @property {readonly string[]} participantIds
 * @property {number} participantCount
 * @property {{senderId: string, text: string} | null} preview
 * @property {number} lastSeq
 * @property {number} unreadCount
 * @property {boolean} stale  the present connection has not confirmed it
 * @property {{muted: boolean}} [settings]
 */

const KEY = "chat.notifications";
/** @type {Set<() => void>} */
const listeners = new Set();

const possible = () => "Notification" in globalThis;
const wanted = () => possible() && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";

/** Whether they are on; null where there are none. @returns {boolean | null} */
export const notifying = () => (possible() ? wanted() : null);

/** @param {() => void} listener @returns {() => void} ends it */
export function onNotifying(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Turn them on or off, after a click: browsers ask the user only then. @param {boolean} on @returns {Promise<boolean>} whether the browser allows it */
export async function setNotifying(on) {
  const allowed = !on || (await Notification.requestPermission()) === "granted";
  if (on && allowed) localStorage.setItem(KEY, "on");
  else localStorage.removeItem(KEY);
  for (const listener of listeners) listener();
  return allowed;
}

/** Shows one for each conversation in which somebody wrote, unless that is open and in front. */
export class Notifier {
  #icon;
  /** The last message of each conversation that is no news. @type {Map<string, number>} */
  #known = new Map();

  /** @param {string} icon  the address of a picture */
  constructor(icon) {
    this.#icon = icon;
  }

  /**
   * The list has changed.
   *
   * @param {readonly Item[]} items
   * @param {{me: string, openId: string | null, profiles: import("./names.js").Profiles, open: (id: string) => void}} page
   */
  look(items, page) {
    for (const item of items) {
      const before = this.#known.get(item.id);
      // What was there when the page began, and what the present connection has not confirmed, is no news.
      if (before !== undefined && item.lastSeq > before && !item.stale) tell(item, this.#icon, page);
      if (before === undefined || !item.stale) this.#known.set(item.id, item.lastSeq);
    }
  }
}

/** @param {Item} item @param {string} icon @param {Parameters<Notifier["look"]>[1]} page */
function tell(item, icon, { me, openId, profiles, open }) {
  const { preview } = item;
  const looking = openId === item.id && document.visibilityState === "visible" && document.hasFocus();
  if (!preview || preview.senderId === me || item.unreadCount === 0 || item.settings?.muted || looking || !wanted()) return;
  const sender = item.kind === "group" ? `${nameOf(profiles, preview.senderId)}: ` : "";
  // One per conversation: the newest takes the place of the one before.
  const note = new Notification(titleOf(item, me, profiles), { body: sender + preview.text, tag: item.id, icon });
  note.onclick = () => {
    window.focus();
    open(item.id);
    note.close();
  };
}
