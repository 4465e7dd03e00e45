// One conversation as a client knows it: a pure function of what came, in the order in which it came. No socket, no clock.
//
// Two numbers carry it. `seq` is a message's place: what is known is not shown twice, and a hole can be seen. `change` counts
// what happened: what is the cursor + 1 moves the cursor on, what is larger says that something is missing, and of one
// message the newest `change` counts. A server with less than it once gave has another past, and begins everything anew.
//
// Deleted messages do not count as unread. Where all that is unread is loaded they are seen; else an answer says how many they
// are, and each change that it does not know of yet moves that number.

import { merged, NO_SETTINGS } from "./list.js";

/** @import { ChatError } from "./errors.js" */
/** @import { Conversation, JoinConversationAck, Message, MessagesRead, OwnSettings, Participant, Presence, Profile, UserTyping } from "./wire.js" */

/**
 * @typedef {object} State  never changed; another object when something does
 * @property {Conversation | null} conversation  null until it is known
 * @property {readonly Message[]} messages  what is stored and loaded, by rising `seq`
 * @property {readonly Participant[]} participants  with their present read marks; the first ones while the others are on their way
 * @property {readonly string[]} typing  the user ids of who types, without oneself
 * @property {number} unreadCount  0 while the user looks at it
 * @property {ReadonlyMap<number, Message | null>} quoted  by `seq`, the messages that some `replyTo` names, loaded or not; null
 *   while it is not at hand
 * @property {number} unreadMentions  how many of those that are unread mention oneself
 * @property {OwnSettings} settings  one's own
 * @property {boolean} hasOlder  there are messages before the first one at hand
 * @property {Role | null} role  one's own; null until it is known
 * @property {"removed" | "left" | "deleted" | null} removed  why one takes part no more
 * @property {number} firstSeq  the first message that one may see
 * @property {boolean} joined  on the present connection; while it is false nothing new arrives
 * @property {ChatError | null} error  why it cannot be joined
 * @property {number} lastSeq  the newest message's, loaded or not
 * @property {number} readSeq  one's own read mark
 * @property {string | null} me  one's own user id
 * @property {boolean} visible  whether the user looks at it
 * @property {number | null} cursor  the change up to which nothing is missing; null before the first join
 * @property {number} target  the change up to which the last answer says that there are changes; they are fetched from the cursor on
 * @property {readonly Message[]} ahead  what came before it was joined, or beyond the cursor
 * @property {ReadonlyMap<string, {change: number, role: Role | undefined, shown?: Profile}>} people  by user id, who was added (with a role),
 *   removed (undefined), or got another role since the last answer
 * @property {ReadonlyMap<number, Message>} aside  by `seq`, the latest changes of what is not loaded: an answer on its way may be older
 * @property {number} uncounted  how many after the read mark do not count as unread
 * @property {boolean} unsure  nobody knows any more how many
 * @property {ReadonlyMap<string, number>} reads  read marks of this connection by user id; events may be ahead of the participants
 */

/**
 * @typedef {{type: "known", me: string | null, kept?: Kept | null}
 *   | {type: "joined", ack: JoinConversationAck, after: number | null}
 *   | {type: "refused", error: ChatError}
 *   | {type: "message", message: Message}
 *   | {type: "history", messages: readonly Message[]}
 *   | {type: "changes", page: {messages: readonly Message[], change: number}}
 *   | {type: "quotes", messages: readonly Message[]}
 *   | {type: "forget", beforeSeq: number}
 *   | {type: "participants", participants: readonly Participant[], all?: boolean}
 *   | {type: "read", event: Pick<MessagesRead, "userId" | "readSeq" | "readAt">}
 *   | {type: "typing", event: UserTyping}
 *   | {type: "presence", event: Presence}
 *   | {type: "people", event: PeopleChanged}
 *   | {type: "removed", reason: "removed" | "left" | "deleted"}
 *   | {type: "updated", conversation: Conversation}
 *   | {type: "settings", settings: OwnSettings}
 *   | {type: "visible", visible: boolean}
 *   | {type: "lost"}} Action
 *
 * @typedef {"owner" | "admin" | "member"} Role
 * @typedef {{change: number, added: readonly {userId: string, role: Role}[], removed: readonly string[],
 *   roles: readonly {userId: string, role: Role}[], profiles?: readonly Profile[]}} PeopleChanged
 * @typedef {Pick<State, "conversation" | "messages" | "participants" | "lastSeq" | "readSeq" | "cursor" | "uncounted"
 *   | "unreadMentions" | "settings">} Kept
 */

/** So many messages at the most while new ones come in; what goes is read again by scrolling. */
export const MOST_MESSAGES = 5_000;
/** Of a conversation that is kept for later. */
const KEPT_MESSAGES = 50;
/** So many of what came too early, or for no place that is loaded. */
const MOST_AHEAD = 200;

/** @type {State} */
export const EMPTY = Object.freeze({
  conversation: null,
  messages: Object.freeze([]),
  participants: Object.freeze([]),
  typing: Object.freeze([]),
  unreadCount: 0,
  unreadMentions: 0,
  settings: NO_SETTINGS,
  quoted: new Map(),
  role: null,
  removed: null,
  firstSeq: 1,
  hasOlder: false,
  joined: false,
  error: null,
  lastSeq: 0,
  readSeq: 0,
  me: null,
  visible: false,
  cursor: null,
  target: 0,
  ahead: Object.freeze([]),
  people: new Map(),
  aside: new Map(),
  uncounted: 0,
  unsure: false,
  reads: new Map(),
});

/** @param {State} state @param {Action} action @returns {State} the same object if nothing changed */
export function reduce(state, action) {
  const next = step(state, action);
  if (next === state) return state;
  const [first] = next.messages;
  next.hasOlder = first !== undefined && first.seq > next.firstSeq;
  const unread = next.messages.slice(placeOf(next.messages, next.readSeq + 1));
  if (unread.length === next.lastSeq - next.readSeq) {
    next.uncounted = unread.filter((message) => !counts(message)).length;
    next.unreadMentions = unread.filter((message) => mentions(message, next.me)).length;
    next.unsure = false;
  } else if (action.type !== "joined" && next.readSeq > state.readSeq) {
    next.unsure = true; // the mark moved into what is not loaded
  }
  next.unreadCount = next.visible && next.joined ? 0 : Math.max(0, next.lastSeq - next.readSeq - next.uncounted);
  return next;
}

/** @param {State} state @param {Action} action @returns {State} */
function step(state, action) {
  switch (action.type) {
    case "known": {
      const { kept, me } = action;
      if (!kept || state.cursor !== null || state.messages.length > 0) return { ...state, me };
      return take({ ...state, ...kept, me, messages: [] }, kept.messages, true);
    }
    case "joined":
      return join(state, action.ack, action.after);
    case "refused":
      return { ...state, error: action.error, joined: false };
    case "message": {
      const { message } = action;
      const next = take(state, [message]);
      if (state.joined) return next;
      // As long as the answer to the join is out it may turn out that all that was known before is of another past.
      return { ...next, ahead: [...state.ahead, message].slice(-MOST_AHEAD) };
    }
    case "history":
      return take(state, action.messages, true);
    case "changes": {
      const { messages, change } = action.page;
      const next = take(state, messages);
      return advance({ ...next, cursor: Math.max(next.cursor ?? 0, change) }, []);
    }
    case "quotes":
      return take(state, action.messages);
    case "forget":
      return { ...state, messages: state.messages.filter(({ seq }) => seq >= action.beforeSeq) };
    case "participants": {
      const named = new Set(action.participants.map(({ userId }) => userId));
      const others = action.all ? [] : state.participants.filter(({ userId }) => !named.has(userId));
      return mark(withPeople({ ...state, participants: [...others, ...action.participants] }), action.participants);
    }
    case "read":
      return mark(state, [action.event]);
    case "typing": {
      const { userId, typing } = action.event;
      if (state.typing.includes(userId) === typing || userId === state.me) return state;
      return { ...state, typing: typing ? [...state.typing, userId] : state.typing.filter((each) => each !== userId) };
    }
    case "presence": {
      const { userId, online, lastSeenAt } = action.event;
      if (!state.participants.some((each) => each.userId === userId)) return state;
      const seen = (/** @type {Participant} */ each) => (each.userId === userId ? { ...each, online, lastSeenAt } : each);
      return { ...state, participants: state.participants.map(seen) };
    }
    case "people": {
      const { change, added, removed, roles, profiles = [] } = action.event;
      const people = new Map(state.people);
      const gone = removed.map((userId) => ({ userId, role: undefined }));
      for (const { userId, role } of [...added, ...roles, ...gone]) {
        const shown = profiles.find((each) => each.userId === userId);
        if ((people.get(userId)?.change ?? 0) < change) people.set(userId, { change, role, shown });
      }
      return withPeople({ ...state, people });
    }
    case "removed":
      return { ...EMPTY, me: state.me, visible: state.visible, conversation: state.conversation, removed: action.reason };
    case "updated":
      return { ...state, conversation: action.conversation };
    case "settings":
      return { ...state, settings: action.settings };
    case "visible":
      return state.visible === action.visible ? state : { ...state, visible: action.visible };
    case "lost": {
      // Without a cursor the next answer could not tell that what came so far is of another past.
      if (state.cursor === null) return state.removed ? state : { ...EMPTY, me: state.me, visible: state.visible };
      // Who comes, goes and types is not heard of any more.
      const away = (/** @type {Participant} */ each) => (each.online ? { ...each, online: false } : each);
      const { typing, ahead, aside, people, target, reads } = EMPTY;
      return { ...state, joined: false, typing, ahead, aside, people, target, reads, participants: state.participants.map(away) };
    }
  }
}

/** @param {State} state @param {JoinConversationAck} ack @param {number | null} after what was asked for @returns {State} */
function join(state, ack, after) {
  const { conversation, participants, change, updatesThrough = change } = ack;
  // Another past; or so much has changed that what is known is not worth to be brought up to date.
  const anew = after === null ? state.cursor !== null : change < after;
  const { me, visible, ahead, reads, people } = state;
  const known = anew ? { ...EMPTY, me, visible, reads, people } : state;
  const named = new Set(participants.map(({ userId }) => userId));
  const others = participants.length < conversation.participantCount ? known.participants : [];
  // What came beyond the cursor may have changed since, in what the answer left out.
  const told = new Set([...ack.updates, ...ack.messages].map(({ seq }) => seq));
  const isSure = (/** @type {Message} */ each) => each.change <= (after ?? 0) || each.change > change || told.has(each.seq);
  /** @type {State["quoted"]} */
  const quoted = new Map([...known.quoted].map(([seq, message]) => [seq, message && isSure(message) ? message : null]));
  // Events may have overtaken the answer: then what it counts is older than what is known.
  const overtaken = (known.cursor ?? 0) > change;
  const { lastSeq, readSeq, unreadCount, unreadMentions, settings, role = null, firstSeq = 1 } = /** @type {JoinConversationAck & {role?: Role | null, firstSeq?: number}} */ (ack);
  const own = Math.max(known.readSeq, readSeq);
  const beyond = ahead.filter((each) => each.change > change);
  const unsure = own > readSeq || beyond.length > 0;
  const counted = { lastSeq, uncounted: lastSeq - readSeq - unreadCount, unreadMentions, unsure, ahead: EMPTY.ahead };
  /** @type {State} */
  const joined = {
    ...known,
    messages: known.messages.filter(isSure),
    quoted,
    conversation,
    participants: [...participants, ...others.filter(({ userId }) => !named.has(userId))],
    joined: true,
    error: null,
    cursor: Math.max(known.cursor ?? 0, updatesThrough),
    target: change,
    readSeq: own,
    settings,
    role,
    removed: null,
    firstSeq,
    people: new Map([...people].filter(([, each]) => each.change > change)),
    ...(!overtaken && counted),
  };
  const taken = take(take(mark(withPeople(joined), participants), ack.updates), ack.messages, true);
  const whole = take(taken, beyond);
  return { ...whole, typing: ack.typing };
}

/**
 * Messages in their present state. Of one that is known the newest `change` counts.
 *
 * @param {State} state
 * @param {readonly Message[]} news
 * @param {boolean} [older]  those before the first one at hand are wanted too
 * @returns {State} the same if there was nothing new
 */
function take(state, news, older = false) {
  let { messages, typing, quoted, aside, lastSeq, uncounted, unreadMentions, unsure } = state;
  const toldUpTo = Math.max(state.cursor ?? 0, state.target); // what was before is in the counts already
  for (let message of news) {
    const { seq, senderId, replyTo } = message;
    const at = placeOf(messages, seq);
    const known = messages[at]?.seq === seq ? messages[at] : undefined;
    if (seq > state.readSeq && message.change > toldUpTo && !(known && known.change >= message.change)) {
      uncounted += Number(!counts(message)) - Number(known !== undefined && !counts(known));
      unreadMentions += Number(mentions(message, state.me)) - Number(known !== undefined && mentions(known, state.me));
      unsure ||= !known && seq <= lastSeq; // nobody knows what it was before
    }
    lastSeq = Math.max(lastSeq, seq);
    const late = aside.get(seq);
    if (late && late.change > message.change) message = late;
    const { change } = message;
    if (quoted.has(seq) && (quoted.get(seq)?.change ?? 0) < change) quoted = new Map(quoted).set(seq, message);
    if (known && known.change >= change) continue;
    if (at === 0 && !known && messages.length > 0 && !older) {
      if (message !== late) aside = new Map([...aside].slice(1 - MOST_AHEAD)).set(seq, message);
      continue; // it comes by scrolling
    }
    if (messages === state.messages) messages = [...messages];
    /** @type {Message[]} */ (messages).splice(at, known ? 1 : 0, message);
    if (!known && typing.includes(senderId)) typing = typing.filter((each) => each !== senderId);
    if (replyTo !== undefined && !quoted.has(replyTo)) {
      const answered = messages[placeOf(messages, replyTo)];
      quoted = new Map(quoted).set(replyTo, (answered?.seq === replyTo ? answered : aside.get(replyTo)) ?? null);
    }
  }
  if (!older && messages.length > MOST_MESSAGES) messages = messages.slice(-MOST_MESSAGES);
  if (quoted.size > MOST_MESSAGES) quoted = new Map([...quoted].slice(-MOST_MESSAGES));
  const moved = merged(state, { messages, typing, quoted, aside, lastSeq, uncounted, unreadMentions, unsure });
  // Sending counts as reading.
  return mark(advance(moved, news), news.map(({ senderId, seq, createdAt }) => ({ userId: senderId, readSeq: seq, readAt: createdAt })));
}

/** Whether it counts as unread: neither deleted, nor of the server's own. @param {Message & {kind?: string}} message */
export const counts = ({ deletedAt, kind }) => deletedAt === undefined && kind !== "system";

/** @param {Message} message @param {string | null} me */
const mentions = (message, me) => counts(message) && message.mentions !== undefined && message.mentions.includes(me ?? "");

/** Who takes part, with what events said since the answer. @param {State} state @returns {State} */
function withPeople(state) {
  const { people, me, lastSeq } = state;
  if (people.size === 0) return state;
  const participants = /** @type {(Participant & {role?: Role})[]} */ ([...state.participants])
    .filter(({ userId }) => people.get(userId)?.role !== undefined || !people.has(userId))
    .map((each) => ({ ...each, role: people.get(each.userId)?.role ?? each.role }));
  for (const [userId, { role, shown }] of people) {
    if (role === undefined || participants.some((each) => each.userId === userId)) continue;
    // Who is added starts with everything before as read.
    participants.push({ ...shown, userId, role, readSeq: lastSeq, readAt: null, online: false, lastSeenAt: null });
  }
  return { ...state, participants, role: people.get(me ?? "")?.role ?? state.role };
}

/** Where a seq stands, or would stand. @param {readonly Message[]} messages @param {number} seq */
function placeOf(messages, seq) {
  let low = 0;
  let high = messages.length;
  const newest = messages[high - 1];
  if (newest === undefined || newest.seq < seq) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {Message} */ (messages[middle]).seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The one rule of `change`. @param {State} state @param {readonly Message[]} news @returns {State} */
function advance(state, news) {
  if (state.cursor === null) return state;
  let { cursor } = state;
  const ahead = new Map([...state.ahead, ...news].map((message) => [message.change, message]));
  while (ahead.delete(cursor + 1)) cursor += 1;
  const beyond = [...ahead.values()].filter(({ change }) => change > cursor);
  if (cursor === state.cursor && beyond.length === state.ahead.length) return state;
  return { ...state, cursor, ahead: beyond.sort((a, b) => a.change - b.change).slice(0, MOST_AHEAD) };
}

/** Read marks, which only grow. @param {State} state @param {readonly {userId: string, readSeq: number, readAt?: number | null}[]} marks @returns {State} */
function mark(state, marks) {
  const reads = new Map(state.reads);
  /** @type {Map<string, number | null>} */
  const moved = new Map();
  for (const { userId, readSeq, readAt = null } of marks) {
    if (readSeq <= (reads.get(userId) ?? 0)) continue;
    reads.set(userId, readSeq);
    moved.set(userId, readAt);
  }
  const behind = state.participants.some(({ userId, readSeq }) => readSeq < (reads.get(userId) ?? 0));
  if (moved.size === 0 && !behind) return state;
  const participants = state.participants.map((each) => {
    const readSeq = reads.get(each.userId) ?? 0;
    return each.readSeq >= readSeq ? each : { ...each, readSeq, readAt: moved.get(each.userId) ?? each.readAt };
  });
  const readSeq = Math.max(state.readSeq, (state.me !== null && reads.get(state.me)) || 0);
  return { ...state, reads, participants, readSeq };
}

/** Whether changes are to be fetched from the cursor on: more than the answer to the join had. @param {State} state */
export const catchesUp = ({ joined, cursor, target }) => joined && cursor !== null && cursor < target;

/** Whether live events overtook one that has not come: after a moment it is time to join again. @param {State} state */
export const isBehind = (state) => state.joined && !catchesUp(state) && (state.ahead.length > 0 || state.unsure);

/** What quotes wait for. @param {State} state */
export const missingQuotes = ({ quoted }) => [...quoted].filter(([, message]) => message === null).map(([seq]) => seq);

/** The newest hole in what is loaded, which `fetch_history` fills. @param {State} state @returns {{beforeSeq: number, length: number} | null} */
export function newestHole({ messages }) {
  for (let i = messages.length - 1; i > 0; i -= 1) {
    const later = /** @type {Message} */ (messages[i]).seq;
    const earlier = /** @type {Message} */ (messages[i - 1]).seq;
    if (later - earlier > 1) return { beforeSeq: later, length: later - earlier - 1 };
  }
  return null;
}

/** What is worth keeping for a page without a connection; null while something is missing. @param {State} state @returns {Kept | null} */
export function toKeep(state) {
  if (state.cursor === null || isBehind(state)) return null;
  const { conversation, participants, lastSeq, readSeq, cursor, uncounted, unreadMentions, settings } = state;
  const hole = newestHole(state);
  const messages = state.messages.filter(({ seq }) => hole === null || seq >= hole.beforeSeq).slice(-KEPT_MESSAGES);
  const away = participants.map((each) => ({ ...each, online: false }));
  return { conversation, messages, participants: away, lastSeq, readSeq, cursor, uncounted, unreadMentions, settings };
}
