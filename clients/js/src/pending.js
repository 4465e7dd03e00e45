// What one has written and is not stored yet: as a value, as a request, and as it shows on the messages. Pure.
import { ChatError } from "./errors.js";

/** @import { Limits, Message, Reaction } from "./wire.js" */

/**
 * @typedef {object} Content
 * @property {string} body
 * @property {Record<string, unknown> | null} metadata
 * @property {string[]} [mentions]
 *
 * @typedef {object} Common  never changed; another object when something does
 * @property {string} key  the idempotencyKey, where the request has one
 * @property {string} conversationId
 * @property {number} createdAt  rises from entry to entry of a tab
 * @property {number} [dueAt]  `Date.now()` from which it may be sent
 * @property {{code: ChatError["code"], message: string} | null} error  why the server does not take it; null while it waits
 *
 * @typedef {Common & Content & {kind: "send", replyTo?: number, sent?: Content, then?: "edit" | "remove"}} PendingMessage
 *   `sent`: what was tried, and may be stored already. `then`: what was done to it since, and follows when it is stored
 * @typedef {Common & ((Content & {kind: "edit", seq: number, ifChange?: number}) | {kind: "remove", seq: number}
 *   | {kind: "react", seq: number, reaction: string, on: boolean})} PendingChange
 * @typedef {PendingMessage | PendingChange} Pending
 * @typedef {Message & {pending?: readonly PendingChange[]}} ShownMessage  `pending`: one's own changes that are not stored; what
 *   waits shows already, what has an `error` does not
 */

/** @type {Record<Pending["kind"], ["send_message" | "edit_message" | "delete_message" | "set_reaction", string[]]>} */
const REQUESTS = {
  send: ["send_message", ["idempotencyKey", "body", "metadata", "replyTo", "mentions"]],
  edit: ["edit_message", ["idempotencyKey", "seq", "body", "metadata", "mentions", "ifChange"]],
  remove: ["delete_message", ["seq"]],
  react: ["set_reaction", ["seq", "reaction", "on"]],
};
/** What a packet has beside its payload: the event's name, the ack's id. */
const PACKET_BYTES = 64;

/** @param {Pending} entry */
export function requestOf(entry) {
  const [event, fields] = REQUESTS[entry.kind];
  /** @type {Record<string, any>} */
  const values = { ...entry, ...(entry.kind === "send" && entry.sent), idempotencyKey: entry.key };
  const given = fields.filter((field) => values[field] != null).map((field) => [field, values[field]]);
  return { event, payload: /** @type {any} */ ({ conversationId: entry.conversationId, ...Object.fromEntries(given) }) };
}

/** Whether an entry makes an older one needless, on its way or not. @param {PendingChange} entry @param {Pending} older */
export function supersedes(entry, older) {
  if (older.kind === "send" || older.conversationId !== entry.conversationId || older.seq !== entry.seq) return false;
  return entry.kind === "remove" || (older.kind === entry.kind && reactionOf(older) === reactionOf(entry));
}

const reactionOf = (/** @type {PendingChange} */ entry) => (entry.kind === "react" ? entry.reaction : null);

/** What a message that is stored now still needs, under a key that all tabs agree on; null if nothing. @param {Pending} entry @param {number} seq @returns {PendingChange | null} */
export function following(entry, seq) {
  if (entry.kind !== "send" || !entry.then) return null;
  const { key, conversationId, createdAt, body, metadata, mentions, then } = entry;
  const common = { key: `${key}-${then}`, conversationId, createdAt, error: null, seq };
  return then === "remove" ? { ...common, kind: then } : { ...common, kind: then, body, metadata, ...(mentions && { mentions }) };
}

/** A message with one's own changes that are not stored yet. @param {Message} message @param {readonly PendingChange[]} entries @param {string | null} me @returns {ShownMessage} */
export function withPending(message, entries, me) {
  let shown = message;
  for (const entry of entries) if (!entry.error && shown.deletedAt === undefined) shown = changed(shown, entry, me ?? "");
  return { ...shown, pending: entries };
}

/** @param {Message} message @param {PendingChange} entry @param {string} me @returns {Message} */
function changed(message, entry, me) {
  const { metadata, mentions, reactions = [], ...rest } = message;
  switch (entry.kind) {
    case "remove":
      return { ...rest, metadata: null, body: "", deletedAt: entry.createdAt, deletedBy: me };
    case "edit": {
      const more = { ...(entry.mentions?.length && { mentions: entry.mentions }), ...(message.reactions && { reactions }) };
      return { ...rest, body: entry.body, metadata: entry.metadata, editedAt: entry.createdAt, ...more };
    }
    case "react": {
      const now = reacted(reactions, entry.reaction, entry.on, me);
      return { ...rest, metadata, ...(mentions && { mentions }), ...(now.length > 0 && { reactions: now }) };
    }
  }
}

/** @param {readonly Reaction[]} reactions @param {string} reaction @param {boolean} on @param {string} me @returns {Reaction[]} */
function reacted(reactions, reaction, on, me) {
  const found = reactions.find((each) => each.reaction === reaction);
  if (!found) return on ? [...reactions, { reaction, count: 1, userIds: [me] }] : [...reactions];
  if (found.userIds.includes(me) === on) return [...reactions];
  const userIds = on ? [...found.userIds, me] : found.userIds.filter((each) => each !== me);
  const next = { ...found, count: found.count + (on ? 1 : -1), userIds };
  return reactions.map((each) => (each === found ? next : each)).filter(({ count }) => count > 0);
}

/** Why the server would never take it; null if nothing is wrong, or its limits are not known yet. @param {Pending} entry @param {Limits | null} limits */
export function tooLarge(entry, limits) {
  if (!limits) return null;
  const { payload } = requestOf(entry);
  const { bodyChars, eventBytes } = limits;
  if (bodyChars > 0 && Array.from(payload.body ?? "").length > bodyChars) return largeError(`At most ${bodyChars} characters.`);
  const bytes = new TextEncoder().encode(JSON.stringify(payload)).length + PACKET_BYTES;
  return eventBytes > 0 && bytes > eventBytes ? largeError() : null;
}

export function largeError(more = "") {
  return new ChatError({ code: "too_large", message: `This message is too large. ${more}`.trim() });
}

/** 128 random bits. `crypto.randomUUID` would need https or localhost. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
