// The list of one's conversations: a pure function of what came. Pinned ones first, then by recent activity; archived ones apart;
// what is unread, who is there.

/** @import { Conversation, ConversationSummary, ConversationUpdated, ListConversationsAck, MentionsChanged, Message, OwnSettings, Presence, SettingsChanged } from "./wire.js" */

/**
 * @typedef {Conversation & {lastSeq: number, readSeq: number, activityAt: number, unreadCount: number, unreadMentions: number,
 *   uncounted: number, change?: number, settings: OwnSettings, preview: Preview | null, online: boolean, stale: boolean}} Item  `uncounted`: after the read mark, what does not count as
 *   unread, such as deleted messages. `change`: of the last answer that counted; what events tell of before is in it. `online`: the other side of a direct conversation. `stale`: the present connection
 *   has said nothing of it yet
 * @typedef {{senderId: string, text: string, createdAt: number}} Preview  of the newest message that is not deleted
 */

/**
 * @typedef {object} ListState  never changed; another object when something does
 * @property {readonly Item[]} items  without archived ones: pinned ones first, then the most recent activity
 * @property {readonly Item[]} archived
 * @property {readonly Item[]} all  of both, by activity
 * @property {boolean} loaded  the first page has arrived
 * @property {boolean} hasMore  there are further ones, for `loadMore`
 * @property {number} unreadTotal  messages, in those that are loaded and neither muted nor archived; one for each that is marked as unread
 * @property {number} unreadConversations  of all, loaded or not
 * @property {number} unreadBeyond  of those that are not loaded
 * @property {string | null} nextBefore  where the next page begins
 * @property {string | null} me
 * @property {ReadonlyMap<string, boolean>} online  by user id
 * @property {ReadonlySet<string>} looking  at which conversations the user looks
 */

/**
 * @typedef {{type: "known", me: string | null, kept?: readonly Item[] | null}
 *   | {type: "connected"}
 *   | {type: "lost"}
 *   | {type: "page", page: ListConversationsAck, further: boolean, whole: boolean}
 *   | {type: "created", conversation: Conversation}
 *   | {type: "news", conversationId: string, seq: number, senderId: string, text: string | null, at: number, mentions?: readonly string[]}
 *   | {type: "settings", event: SettingsChanged}
 *   | {type: "removed", conversationId: string}
 *   | {type: "updated", event: ConversationUpdated, counts: boolean}
 *   | {type: "read", conversationId: string, readSeq: number, lastSeq?: number, uncounted?: number, unreadMentions?: number}
 *   | {type: "presence", event: Presence}
 *   | {type: "looking", ids: ReadonlySet<string>}} ListAction
 */

const PREVIEW_CHARS = 120;

/** @type {OwnSettings} */
export const NO_SETTINGS = Object.freeze({ muted: false, pinned: false, archived: false, markedUnread: false });

/** @type {ListState} */
export const NO_LIST = Object.freeze({
  items: Object.freeze([]),
  archived: Object.freeze([]),
  all: Object.freeze([]),
  loaded: false,
  hasMore: false,
  unreadTotal: 0,
  unreadConversations: 0,
  unreadBeyond: 0,
  nextBefore: null,
  me: null,
  online: new Map(),
  looking: new Set(),
});

/** @param {ListState} state @param {ListAction} action @returns {ListState} the same object if nothing changed */
export function reduceList(state, action) {
  const next = step(state, action);
  if (next === state) return state;
  const all = next.all.map((item) => {
    const { id, kind, participantIds, lastSeq, readSeq } = item;
    const looking = next.looking.has(id);
    const seen = looking || readSeq >= lastSeq;
    const more = {
      unreadCount: looking ? 0 : unreadOf(item),
      uncounted: readSeq >= lastSeq ? 0 : item.uncounted,
      unreadMentions: seen ? 0 : item.unreadMentions,
      online: kind === "direct" && participantIds.some((each) => each !== next.me && next.online.get(each) === true),
    };
    return merged(item, more);
  });
  all.sort((a, b) => b.activityAt - a.activityAt || (a.id < b.id ? 1 : -1));
  const items = all.filter(({ settings }) => !settings.archived).sort((a, b) => Number(b.settings.pinned) - Number(a.settings.pinned));
  const archived = all.filter(({ settings }) => settings.archived);
  const loud = items.filter(({ settings }) => !settings.muted);
  const unreadTotal = loud.reduce((sum, { unreadCount, settings }) => sum + (unreadCount || Number(settings.markedUnread)), 0);
  const unread = all.filter(({ unreadCount }) => unreadCount > 0).length;
  return { ...next, all, items, archived, unreadTotal, unreadConversations: unread + next.unreadBeyond };
}

/** @param {ListState} state @param {ListAction} action @returns {ListState} */
function step(state, action) {
  switch (action.type) {
    case "known":
      return { ...state, me: action.me, ...(state.loaded || !action.kept ? null : { all: action.kept, loaded: true }) };
    case "connected":
      return { ...state, all: state.all.map((item) => ({ ...item, stale: true })) };
    case "lost":
      return { ...state, online: new Map() };
    case "page": {
      const { conversations, presence, nextBefore, unreadConversations } = action.page;
      const named = new Set(conversations.map(({ id }) => id));
      // Of the whole list: what is not in it is of another past, or of a page that was kept.
      const known = action.whole ? state.all.filter(({ stale }) => !stale) : state.all;
      const items = new Map([...known, ...state.all.filter(({ id }) => named.has(id))].map((item) => [item.id, item]));
      for (const summary of conversations) items.set(summary.id, summarized(summary, items.get(summary.id)));
      const online = new Map(state.online);
      for (const each of presence) online.set(each.userId, each.online);
      // The first page goes on where it ends; read again it says nothing of what was loaded behind it.
      const goesOn = action.further || !state.loaded || state.nextBefore === null;
      // The server counts all of them on the first page; a further one has some of those that were beyond what is loaded.
      const loaded = unreadIn([...items.values()]);
      const beyond = unreadConversations === undefined ? state.unreadBeyond + unreadIn(state.all) : unreadConversations;
      const unreadBeyond = Math.max(0, beyond - loaded);
      return { ...state, all: [...items.values()], online, loaded: true, unreadBeyond, ...(goesOn && { nextBefore, hasMore: nextBefore !== null }) };
    }
    case "created": {
      const { conversation } = action;
      if (state.all.some(({ id }) => id === conversation.id)) return state;
      const nothing = { lastSeq: 0, readSeq: 0, unreadCount: 0, unreadMentions: 0, uncounted: 0, preview: null, online: false, stale: false };
      return { ...state, all: [...state.all, { ...conversation, ...nothing, settings: NO_SETTINGS, activityAt: conversation.createdAt }] };
    }
    case "news": {
      const { conversationId, seq, senderId, text, at, mentions = [] } = action;
      // Before all others, also where the server's clock was set back.
      const newest = Math.max(0, ...state.all.map(({ activityAt }) => activityAt));
      return changed(state, conversationId, (item) => {
        if (item.lastSeq >= seq) return item;
        const readSeq = senderId === state.me ? seq : item.readSeq; // sending counts as reading
        const activityAt = at >= newest ? at : newest + 1;
        // What was left out between does not count: each message that does is told of. Unless that was before this connection.
        const skipped = item.stale ? 0 : seq - item.lastSeq - 1;
        const uncounted = item.uncounted + skipped + Number(text === null);
        const common = { lastSeq: seq, readSeq, activityAt, uncounted, stale: false };
        if (text === null) return { ...item, ...common }; // one of the server's own
        const unreadMentions = item.unreadMentions + (mentions.includes(state.me ?? "") ? 1 : 0);
        return { ...item, ...common, unreadMentions, preview: { senderId, text, createdAt: at } };
      });
    }
    case "updated": {
      const { conversation, lastMessage, uncountedSeq = 0, mentions, ...event } = /** @type {ConversationUpdated & {activityAt?: number}} */ (action.event);
      return changed(state, conversation.id, (item) => {
        // The answer that told of the conversation may have had it already.
        if ((event.change ?? Infinity) <= (item.change ?? 0)) return { ...item, ...conversation };
        const preview = lastMessage === undefined ? item.preview : previewOf(lastMessage);
        const activityAt = Math.max(item.activityAt, event.activityAt ?? 0);
        if (!action.counts) return { ...item, ...conversation, activityAt, preview };
        const uncounted = item.uncounted + (uncountedSeq > item.readSeq ? 1 : 0);
        const unreadMentions = item.unreadMentions + (mentions && mentions.seq > item.readSeq ? mentionsMore(mentions, state.me) : 0);
        return { ...item, ...conversation, activityAt, preview, uncounted, unreadMentions };
      });
    }
    case "read":
      return changed(state, action.conversationId, (item) => {
        const readSeq = Math.max(item.readSeq, action.readSeq);
        // Nobody says how many of them the mark has left behind, unless the conversation is open; the list is read again then.
        const lastSeq = Math.max(item.lastSeq, action.lastSeq ?? 0);
        const { uncounted = item.uncounted, unreadMentions = item.unreadMentions } = action;
        return merged(item, { readSeq, lastSeq, uncounted, unreadMentions });
      });
    case "settings": {
      const { conversationId, settings } = action.event;
      return changed(state, conversationId, (item) => merged(item, { settings: merged(item.settings, settings) }));
    }
    case "removed":
      return { ...state, all: state.all.filter(({ id }) => id !== action.conversationId) };
    case "presence": {
      const { userId, online } = action.event;
      return state.online.get(userId) === online ? state : { ...state, online: new Map(state.online).set(userId, online) };
    }
    case "looking":
      return { ...state, looking: action.ids };
  }
}

/** The same object if nothing is new. @template {object} T @param {T} known @param {Partial<T>} more @returns {T} */
export function merged(known, more) {
  const same = Object.entries(more).every(([key, value]) => known[/** @type {keyof T} */ (key)] === value);
  return same ? known : { ...known, ...more };
}

/** @param {readonly Item[]} items */
const unreadIn = (items) => items.filter((item) => unreadOf(item) > 0).length;

/** @param {Item} item */
const unreadOf = ({ lastSeq, readSeq, uncounted }) => Math.max(0, lastSeq - readSeq - uncounted);

/** How many more mentions of somebody there are: 1, 0 or -1. @param {MentionsChanged} mentions @param {string | null} me */
const mentionsMore = ({ added, removed }, me) => Number(added.includes(me ?? "")) - Number(removed.includes(me ?? ""));

/** @param {Message | null} message @returns {Preview | null} */
const previewOf = (message) => message && { senderId: message.senderId, text: cut(message.body), createdAt: message.createdAt };

/** @param {ConversationSummary} summary @param {Item | undefined} found @returns {Item} */
function summarized({ lastMessage, ...summary }, found) {
  // An event may have overtaken the answer: numbers only grow. But those of a database that was replaced count anew.
  const known = found?.stale && Math.max(found.lastSeq, found.readSeq) > summary.lastSeq ? undefined : found;
  const uncounted = summary.lastSeq - summary.readSeq - summary.unreadCount;
  const common = { readSeq: Math.max(summary.readSeq, known?.readSeq ?? 0), stale: false };
  if (!known || known.lastSeq <= summary.lastSeq) return { ...summary, ...common, uncounted, preview: previewOf(lastMessage), online: false };
  return { ...known, ...common, ...(known.readSeq <= summary.readSeq && { uncounted, change: summary.change }) };
}

/** @param {ListState} state @param {string} id @param {(item: Item) => Item} change @returns {ListState} */
function changed(state, id, change) {
  const found = state.all.find((item) => item.id === id);
  const next = found && change(found);
  return next === found ? state : { ...state, all: state.all.map((item) => (item === found && next ? next : item)) };
}

/** The beginning of a text, in whole characters: an emoji at its end is not cut in the middle. @param {string} text */
export function cut(text) {
  return Array.from(text.slice(0, 2 * PREVIEW_CHARS)).slice(0, PREVIEW_CHARS).join("");
}
