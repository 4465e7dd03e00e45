// What was begun and not sent, by conversation: it survives another conversation in between, and a reload.

const KEY = "chat.drafts";
/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {Readonly<Record<string, string>> | null} */
let drafts = null;

/** All of them; the same object until one changes. @returns {Readonly<Record<string, string>>} */
export function allDrafts() {
  try {
    drafts ??= /** @type {Record<string, string>} */ (JSON.parse(sessionStorage.getItem(KEY) ?? "{}"));
  } catch {
    drafts ??= {};
  }
  return drafts;
}

/** @param {string} conversationId */
export const draftOf = (conversationId) => allDrafts()[conversationId] ?? "";

/** @param {string} conversationId @param {string} text */
export function keepDraft(conversationId, text) {
  const others = Object.entries(allDrafts()).filter(([id]) => id !== conversationId);
  drafts = Object.fromEntries(text.trim() === "" ? others : [...others, [conversationId, text]]);
  try {
    sessionStorage.setItem(KEY, JSON.stringify(drafts));
  } catch {
    // As long as the page, then.
  }
  for (const listener of listeners) listener();
}

export function forgetDrafts() {
  drafts = {};
  sessionStorage.removeItem(KEY);
}

/** @param {() => void} listener @returns {() => void} ends it */
export function onDrafts(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
