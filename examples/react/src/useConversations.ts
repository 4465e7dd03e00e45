/** The list of conversations, most recent activity first, with what is unread; and who of the others is online. */
import { useEffect, useReducer, useState, type Dispatch } from "react";
import { ChatError, type Connection } from "./connection";
import type { Conversation, ListConversationsAck, Message, Presence } from "./events";
import { useConnectionId, useSocketEvent, useWebSocket } from "./WebSocketContext";

const PAGE = 50;

export interface Item extends Conversation {
  lastSeq: number;
  readSeq: number;
  activityAt: number;
  /** The beginning of the newest message. */
  preview: { senderId: string; text: string } | null;
  /** The present connection has said nothing of it yet: the server's database may have been replaced. */
  stale: boolean;
}

interface State {
  items: Readonly<Record<string, Item>>;
  /** By user id; a Map, as users may be called `constructor`. */
  online: ReadonlyMap<string, boolean>;
  /** Where the list goes on; undefined before it has arrived. */
  nextBefore: string | null | undefined;
}

type Action =
  | { type: "connected" }
  | { type: "page"; page: ListConversationsAck; further: boolean }
  | { type: "created"; conversation: Conversation }
  | { type: "activity"; conversationId: string; seq: number; senderId: string; text: string; at: number; mine: boolean }
  | { type: "read"; conversationId: string; readSeq: number }
  | { type: "presence"; presence: Presence[] };

function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "connected": {
      const items = Object.values(state.items).map((item) => [item.id, { ...item, stale: true }]);
      return { ...state, items: Object.fromEntries(items) as State["items"] };
    }
    case "page": {
      const items = { ...state.items };
      for (const { lastMessage, ...summary } of action.page.conversations) {
        const found = items[summary.id];
        // An event may have overtaken the answer: numbers only grow. But those of a replaced database count anew.
        const known = found?.stale && found.lastSeq > summary.lastSeq ? undefined : found;
        const newer = known && known.lastSeq > summary.lastSeq ? known : { ...summary, preview: preview(lastMessage) };
        items[summary.id] = { ...newer, readSeq: Math.max(summary.readSeq, known?.readSeq ?? 0), stale: false };
      }
      const goesOn = action.further || state.nextBefore === undefined;
      const next = reduce(state, { type: "presence", presence: action.page.presence });
      return { ...next, items, nextBefore: goesOn ? action.page.nextBefore : state.nextBefore };
    }
    case "created": {
      const { conversation } = action;
      if (state.items[conversation.id]) return state;
      const item = { ...conversation, lastSeq: 0, readSeq: 0, activityAt: conversation.createdAt, preview: null, stale: false };
      return { ...state, items: { ...state.items, [item.id]: item } };
    }
    case "activity": {
      const { conversationId, seq, senderId, text, at, mine } = action;
      const item = state.items[conversationId];
      if (!item || item.lastSeq >= seq) return state;
      const readSeq = mine ? seq : item.readSeq; // sending counts as reading
      // Before all others, also where the server's clock was set back.
      const newest = Math.max(...Object.values(state.items).map(({ activityAt }) => activityAt));
      const activityAt = at >= newest ? at : newest + 1;
      const changed = { ...item, lastSeq: seq, readSeq, activityAt, preview: { senderId, text }, stale: false };
      return { ...state, items: { ...state.items, [item.id]: changed } };
    }
    case "read": {
      const item = state.items[action.conversationId];
      if (!item || item.readSeq >= action.readSeq) return state;
      return { ...state, items: { ...state.items, [item.id]: { ...item, readSeq: action.readSeq } } };
    }
    case "presence": {
      const online = new Map(state.online);
      for (const each of action.presence) online.set(each.userId, each.online);
      return { ...state, online };
    }
  }
}

/** The first characters of a text: whole ones, so that an emoji at the end is not cut in the middle. */
export function cut(text: string, most: number): string {
  return Array.from(text.slice(0, 2 * most))
    .slice(0, most)
    .join("");
}

function preview(message: Message | null): Item["preview"] {
  return message && { senderId: message.senderId, text: cut(message.body, 120) };
}

function makeList(connection: Connection, dispatch: Dispatch<Action>) {
  const always = new AbortController().signal;
  let loading = false;
  let again = false;
  /** The latest activity of which an answer told. */
  let knownAt = Infinity;

  async function read(before?: string, further = false): Promise<ListConversationsAck> {
    return connection.insist("list_conversations", () => ({ limit: PAGE, before }), always, (page) =>
      dispatch({ type: "page", page, further }),
    );
  }

  /** The newest page, and further ones until they reach what was known before. */
  async function readNewest(): Promise<void> {
    const first = await read();
    let page = first;
    while (page.nextBefore !== null && (page.conversations.at(-1)?.activityAt ?? 0) >= knownAt) {
      page = await read(page.nextBefore);
    }
    knownAt = first.conversations[0]?.activityAt ?? 0;
  }

  /** One request at a time, and one more for all that came meanwhile: a hundred new conversations are no flood. */
  async function load(): Promise<void> {
    again = true;
    if (loading) return;
    loading = true;
    try {
      while (again) {
        again = false;
        await readNewest();
      }
    } catch (error) {
      ignore(error);
    } finally {
      loading = false;
    }
  }

  return { load, loadMore: (before: string) => void read(before, true).catch(ignore) };
}

/** Without a connection: the next one loads the list again. */
function ignore(failure: unknown): void {
  if (!(failure instanceof ChatError)) throw failure;
}

export function useConversations() {
  const { connection, me } = useWebSocket();
  const connectionId = useConnectionId();
  const [state, dispatch] = useReducer(reduce, { items: {}, online: new Map(), nextBefore: undefined });
  const [{ load, loadMore }] = useState(() => makeList(connection, dispatch));

  useEffect(() => {
    if (connectionId === null) return;
    dispatch({ type: "connected" });
    void load();
  }, [load, connectionId]);

  const activity = (conversationId: string, seq: number, senderId: string, text: string, at: number) => {
    // Somebody wrote in a conversation that is further down in the list than what has been loaded.
    if (!state.items[conversationId]) void load();
    else dispatch({ type: "activity", conversationId, seq, senderId, text, at, mine: senderId === me.id });
  };
  useSocketEvent("conversation_activity", (event) =>
    activity(event.conversationId, event.seq, event.senderId, event.preview, event.createdAt),
  );
  useSocketEvent("message_created", ({ message }) =>
    activity(message.conversationId, message.seq, message.senderId, cut(message.body, 120), message.createdAt),
  );
  useSocketEvent("conversation_created", ({ conversation }) => {
    dispatch({ type: "created", conversation });
    void load(); // its answer has the others' presence, and makes the server tell of it
  });
  useSocketEvent("messages_read", ({ conversationId, userId, readSeq }) => {
    if (userId === me.id) dispatch({ type: "read", conversationId, readSeq });
  });
  useSocketEvent("presence_changed", (presence) => {
    dispatch({ type: "presence", presence: [presence] });
  });

  const { nextBefore } = state;
  return {
    items: Object.values(state.items).sort((a, b) => b.activityAt - a.activityAt || (a.id < b.id ? 1 : -1)),
    online: state.online,
    loaded: nextBefore !== undefined,
    loadMore: typeof nextBefore === "string" ? () => loadMore(nextBefore) : null,
    add: (conversation: Conversation) => {
      dispatch({ type: "created", conversation });
    },
  };
}
