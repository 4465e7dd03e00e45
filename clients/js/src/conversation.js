// One conversation as a client knows it: a pure function of what came, in the order in which it came. No socket, no clock.
//
// Two numbers carry it. `seq` is a message's place: what is known is not shown twice, and a hole can be seen. `change` counts
// what happened: what is the cursor + 1 moves the cursor on, what is larger says that something is missing, and of one
// message the newest `change` counts. A server with less than it once gave has another past, and begins everything anew.

/** @import { ChatError } from "./errors.js" */
/** @import { Conversation, JoinConversationAck, Message, MessagesRead, Participant, Presence, UserTyping } from "./wire.js" */

/**
 * @typedef {object} State  never changed; another object when something does
 * @property {Conversation | null} conversation  null until it is known
 * @property {readonly Message[]} messages  what is stored and loaded, by rising `seq`
 * @property {readonly Participant[]} participants  with their present read marks; the first ones while the others are on their way
 * @property {readonly string[]} typing  the user ids of who types, without oneself
 * @property {number} unreadCount  0 while the user looks at it
 * @property {boolean} hasOlder  there are messages before the first one at hand
 * @property {boolean} joined  on the present connection; while it is false nothing new arrives
 * @property {ChatError | null} error  why it cannot be joined
 * @property {number} lastSeq  the newest message's, loaded or not
 * @property {number} readSeq  one's own read mark
 * @property {string | null} me  one's own user id
 * @property {boolean} visible  whether the user looks at it
 * @property {number | null} cursor  the change up to which nothing is missing; null before the first join
 * @property {readonly number[]} ahead  changes beyond the cursor that came already
 * @property {readonly Message[]} early  what came on this connection before it was joined
 * @property {ReadonlyMap<string, number>} reads  read marks by user id; events may be ahead of the participants
 */

/**
 * @typedef {{type: "known", me: string | null, kept?: Kept | null}
 *   | {type: "joined", ack: JoinConversationAck, after: number | null}
 *   | {type: "refused", error: ChatError}
 *   | {type: "message", message: Message}
 *   | {type: "history", messages: readonly Message[]}
 *   | {type: "forget", beforeSeq: number}
 *   | {type: "participants", participants: readonly Participant[], all?: boolean}
 *   | {type: "read", event: Pick<MessagesRead, "userId" | "readSeq" | "readAt">}
 *   | {type: "typing", event: UserTyping}
 *   | {type: "presence", event: Presence}
 *   | {type: "visible", visible: boolean}
 *   | {type: "lost"}} Action
 *
 * @typedef {Pick<State, "conversation" | "messages" | "participants" | "lastSeq" | "readSeq" | "cursor">} Kept
 */

/** So many messages at the most while new ones come in; what goes is read again by scrolling. */
export const MOST_MESSAGES = 5_000;
/** Of a conversation that is kept for later. */
const KEPT_MESSAGES = 50;

/** @type {State} */
export const EMPTY = Object.freeze({
  conversation: null,
  messages: Object.freeze([]),
  participants: Object.freeze([]),
  typing: Object.freeze([]),
  unreadCount: 0,
  hasOlder: false,
  joined: false,
  error: null,
  lastSeq: 0,
  readSeq: 0,
  me: null,
  visible: false,
  cursor: null,
  ahead: Object.freeze([]),
  early: Object.freeze([]),
  reads: new Map(),
});

/** @param {State} state @param {Action} action @returns {State} the same object if nothing changed */
export function reduce(state, action) {
  const next = step(state, action);
  if (next === state) return state;
  const [first] = next.messages;
  next.hasOlder = first !== undefined && first.seq > 1;
  next.unreadCount = next.visible && next.joined ? 0 : Math.max(0, next.lastSeq - next.readSeq);
  return next;
}

/** @param {State} state @param {Action} action @returns {State} */
function step(state, action) {
  switch (action.type) {
    case "known":
      return { ...state, me: action.me, ...(state.cursor === null && state.messages.length === 0 ? action.kept : null) };
    case "joined":
      return join(state, action.ack, action.after);
    case "refused":
      return { ...state, error: action.error, joined: false };
    case "message": {
      const next = take(state, [action.message]);
      // As long as the answer to the join is out it may turn out that all that was known before is of another past.
      return state.joined ? next : { ...next, early: [...state.early, action.message].slice(-KEPT_MESSAGES) };
    }
    case "history":
      return take(state, action.messages, true);
    case "forget":
      return { ...state, messages: state.messages.filter(({ seq }) => seq >= action.beforeSeq) };
    case "participants": {
      const named = new Set(action.participants.map(({ userId }) => userId));
      const others = action.all ? [] : state.participants.filter(({ userId }) => !named.has(userId));
      return mark({ ...state, participants: [...others, ...action.participants] }, action.participants);
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
    case "visible":
      return state.visible === action.visible ? state : { ...state, visible: action.visible };
    case "lost": {
      // Without a cursor the next answer could not tell that what came so far is of another past.
      if (state.cursor === null) return { ...EMPTY, me: state.me, visible: state.visible };
      // Who comes, goes and types is not heard of any more.
      const away = (/** @type {Participant} */ each) => (each.online ? { ...each, online: false } : each);
      return { ...state, joined: false, typing: EMPTY.typing, early: EMPTY.early, participants: state.participants.map(away) };
    }
  }
}

/** @param {State} state @param {JoinConversationAck} ack @param {number | null} after what was asked for @returns {State} */
function join(state, ack, after) {
  const { conversation, participants, change } = ack;
  const restored = after !== null && change < after;
  const { me, visible, early } = state;
  const known = restored ? { ...EMPTY, me, visible } : state;
  const cursor = Math.max(known.cursor ?? 0, change);
  const named = new Set(participants.map(({ userId }) => userId));
  const others = participants.length < conversation.participantCount ? known.participants : [];
  /** @type {State} */
  const joined = {
    ...known,
    conversation,
    participants: [...participants, ...others.filter(({ userId }) => !named.has(userId))],
    typing: ack.typing,
    joined: true,
    error: null,
    lastSeq: Math.max(known.lastSeq, ack.lastSeq),
    readSeq: Math.max(known.readSeq, ack.readSeq),
    cursor,
    ahead: known.ahead.filter((each) => each > cursor),
    early: EMPTY.early,
  };
  const marked = mark(joined, participants);
  const taken = take(marked, ack.messages, true);
  const whole = take(taken, early); // those that came before the answer were taken in already, unless it began anew
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
  let messages = state.messages;
  let typing = state.typing;
  /** @type {Message[] | null} */
  let copy = null;
  for (const message of news) {
    const at = placeOf(messages, message.seq);
    const known = messages[at]?.seq === message.seq ? messages[at] : undefined;
    if (known && known.change >= message.change) continue;
    if (at === 0 && !known && messages.length > 0 && !older) continue; // it comes by scrolling, in its present state
    messages = copy ??= [...messages];
    copy.splice(at, known ? 1 : 0, message);
    if (!known) typing = typing.includes(message.senderId) ? typing.filter((each) => each !== message.senderId) : typing;
  }
  if (!older && messages.length > MOST_MESSAGES) messages = messages.slice(-MOST_MESSAGES);
  const lastSeq = Math.max(state.lastSeq, ...news.map(({ seq }) => seq));
  const moved = messages === state.messages && lastSeq === state.lastSeq ? state : { ...state, messages, typing, lastSeq };
  // Sending counts as reading.
  return mark(advance(moved, news), news.map(({ senderId, seq, createdAt }) => ({ userId: senderId, readSeq: seq, readAt: createdAt })));
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

/** The one rule of `change`. @param {State} state @param {readonly {change: number}[]} news @returns {State} */
function advance(state, news) {
  if (state.cursor === null) return state;
  const ahead = new Set(state.ahead);
  for (const { change } of news) if (change > state.cursor) ahead.add(change);
  let { cursor } = state;
  while (ahead.delete(cursor + 1)) cursor += 1;
  if (cursor === state.cursor && ahead.size === state.ahead.length) return state;
  return { ...state, cursor, ahead: [...ahead].filter((each) => each > cursor).slice(0, KEPT_MESSAGES) };
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

/** Whether live events overtook one that has not come: after a moment it is time to join again. @param {State} state */
export const isBehind = (state) => state.ahead.length > 0;

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
  const { conversation, participants, lastSeq, readSeq, cursor } = state;
  const hole = newestHole(state);
  const messages = state.messages.filter(({ seq }) => hole === null || seq >= hole.beforeSeq).slice(-KEPT_MESSAGES);
  const away = participants.map((each) => ({ ...each, online: false }));
  return { conversation, messages, participants: away, lastSeq, readSeq, cursor };
}
