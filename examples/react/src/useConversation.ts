/**
 * One conversation, live: what has been said, what waits to be sent, who is there, who has read how far, who is typing.
 *
 * Joins on mount and after every reconnect, then with `after`, so that the server sends what was missed. Messages are
 * kept by `seq`, which counts without a hole: a known one is dropped, and a hole can be seen and filled.
 */
import { useEffect, useEffectEvent, useReducer, useRef, useState } from "react";
import { ChatError, type Connection } from "./connection";
import type { JoinConversationAck, ListParticipantsAck, Message, MessagesRead, Participant, Presence, UserTyping } from "./events";
import type { Pending } from "./outbox";
import { useConnectionId, useSocketEvent, useWebSocket } from "./WebSocketContext";

const PAGE = 50;
/** A longer hole is not filled: what lies before it is forgotten, and read again by scrolling. */
const LONGEST_HOLE = 1_000;

interface State {
  title: string | null;
  /** By rising seq. */
  messages: readonly Message[];
  /** All, or the first of them as long as the others are on their way. */
  participants: readonly Participant[];
  participantCount: number;
  /**
   * How far each has read, by user id: events may be ahead of the participants of an answer. A Map, as in an object
   * somebody called `constructor` or `__proto__` would be there before they have read anything.
   */
  reads: ReadonlyMap<string, number>;
  typing: readonly string[];
  /** The last change up to which nothing is missing: what `after` asks from. */
  cursor: number | null;
  /** The connection on which the conversation is joined. */
  joinedOn: string | null;
  /** Why it cannot be joined. */
  error: string | null;
}

type Action =
  | { type: "joined"; ack: JoinConversationAck; after: number | null; connectionId: string }
  | { type: "refused"; message: string }
  | { type: "participants"; participants: readonly Participant[] }
  | { type: "messages"; messages: readonly Message[] }
  | { type: "forget"; beforeSeq: number }
  | { type: "read"; event: MessagesRead }
  | { type: "presence"; event: Presence }
  | { type: "typing"; event: UserTyping };

const EMPTY: State = {
  title: null,
  messages: [],
  participants: [],
  participantCount: 0,
  reads: new Map(),
  typing: [],
  cursor: null,
  joinedOn: null,
  error: null,
};

function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "joined": {
      const { ack, after, connectionId } = action;
      // A server with less than we had from it has another past: its database was replaced.
      const kept = after !== null && ack.change < after ? EMPTY : state;
      const messages = merge(kept.messages, ack.messages);
      return {
        title: ack.conversation.title,
        messages,
        participants: ack.participants,
        participantCount: ack.conversation.participantCount,
        reads: advanceReads(advanceReads(kept.reads, ack.participants), sent(ack.messages)),
        typing: ack.typing,
        cursor: advanceCursor(ack.change, messages),
        joinedOn: connectionId,
        error: null,
      };
    }
    case "refused":
      return { ...state, error: action.message };
    case "participants": {
      const participants = new Map(state.participants.map((each) => [each.userId, each]));
      for (const each of action.participants) {
        participants.delete(each.userId); // so that all have the server's order in the end
        participants.set(each.userId, each);
      }
      return { ...state, participants: [...participants.values()], reads: advanceReads(state.reads, action.participants) };
    }
    case "messages": {
      const messages = merge(state.messages, action.messages);
      if (messages === state.messages) return state;
      return {
        ...state,
        messages,
        reads: advanceReads(state.reads, sent(action.messages)),
        typing: state.typing.filter((userId) => !action.messages.some((message) => message.senderId === userId)),
        cursor: state.cursor === null ? null : advanceCursor(state.cursor, messages),
      };
    }
    case "forget":
      return { ...state, messages: state.messages.filter((message) => message.seq >= action.beforeSeq) };
    case "read":
      return { ...state, reads: advanceReads(state.reads, [action.event]) };
    case "presence": {
      const { userId, online, lastSeenAt } = action.event;
      const participants = state.participants.map((each) =>
        each.userId === userId ? { ...each, online, lastSeenAt } : each,
      );
      return { ...state, participants };
    }
    case "typing": {
      const others = state.typing.filter((userId) => userId !== action.event.userId);
      return { ...state, typing: action.event.typing ? [...others, action.event.userId] : others };
    }
  }
}

/** Both lists as one, by seq, each seq once; the first list itself if the second brings nothing new. */
function merge(known: readonly Message[], more: readonly Message[]): readonly Message[] {
  const seqs = new Set(known.map(({ seq }) => seq));
  const fresh = more.filter(({ seq }) => !seqs.has(seq));
  return fresh.length === 0 ? known : [...known, ...fresh].sort((a, b) => a.seq - b.seq);
}

function advanceCursor(cursor: number, messages: readonly Message[]): number {
  for (const { change } of messages) if (change === cursor + 1) cursor = change;
  return cursor;
}

type Read = Pick<MessagesRead, "userId" | "readSeq">;

function advanceReads(known: State["reads"], more: readonly Read[]): State["reads"] {
  const reads = new Map(known);
  for (const { userId, readSeq } of more) reads.set(userId, Math.max(reads.get(userId) ?? 0, readSeq));
  return reads;
}

/** Sending counts as reading. */
function sent(messages: readonly Message[]): readonly Read[] {
  return messages.map(({ senderId, seq }) => ({ userId: senderId, readSeq: seq }));
}

/** The seq after the newest hole, and how many messages are missing there. */
function newestHole(messages: readonly Message[]): { beforeSeq: number; length: number } | null {
  for (let i = messages.length - 1; i > 0; i -= 1) {
    const [earlier, later] = [messages[i - 1], messages[i]];
    if (earlier && later && earlier.seq + 1 !== later.seq) {
      return { beforeSeq: later.seq, length: later.seq - earlier.seq - 1 };
    }
  }
  return null;
}

/** Give the component that calls this a `key` of the conversation's id: it is about one conversation for life. */
export function useConversation(conversationId: string, visible: boolean) {
  const { connection, outbox, me } = useWebSocket();
  const connectionId = useConnectionId();
  const [state, dispatch] = useReducer(reduce, EMPTY);
  const [setTyping] = useState(() => makeTyping(connection, conversationId));
  const [pending, setPending] = useState(outbox.entries);
  const toldVisible = useRef(visible);
  const { messages, cursor } = state;
  const joined = connectionId !== null && state.joinedOn === connectionId;

  // Live events overtook others that never came: join again, from where nothing was missing.
  const behind = joined && cursor !== null && (messages.at(-1)?.change ?? 0) > cursor;

  const wish = useEffectEvent(() => {
    toldVisible.current = visible;
    return { conversationId, limit: PAGE, visible, ...(cursor !== null && { after: cursor }) };
  });
  useEffect(() => {
    if (connectionId === null || (joined && !behind)) return;
    const controller = new AbortController();
    let after: number | null = null;
    const payload = () => {
      const current = wish();
      after = current.after ?? null;
      return current;
    };
    const take = (ack: JoinConversationAck) => {
      if (!controller.signal.aborted) dispatch({ type: "joined", ack, after, connectionId });
    };
    connection.insist("join_conversation", payload, controller.signal, take).catch((failure: unknown) => {
      if (!(failure instanceof ChatError)) throw failure;
      if (!failure.retryable) dispatch({ type: "refused", message: failure.message });
    });
    return () => controller.abort();
  }, [connection, connectionId, joined, behind]);

  // A group that is too large for one answer: its members come page by page.
  const partly = joined && state.participants.length < state.participantCount;
  useEffect(() => {
    if (!partly) return;
    const controller = new AbortController();
    listParticipants(connection, conversationId, controller.signal, (participants) => {
      if (!controller.signal.aborted) dispatch({ type: "participants", participants });
    }).catch(ignore);
    return () => controller.abort();
  }, [connection, conversationId, partly]);

  useEffect(
    () => () => {
      connection.request("leave_conversation", { conversationId }).catch(ignore);
    },
    [connection, conversationId],
  );

  useEffect(() => {
    if (!joined || toldVisible.current === visible) return;
    toldVisible.current = visible;
    connection.request("set_visibility", { conversationId, visible }).catch(ignore);
  }, [connection, conversationId, joined, visible]);

  // More was missed than one answer holds: read the history backwards until it meets what was known.
  const hole = newestHole(messages);
  const holeBeforeSeq = hole?.beforeSeq ?? null;
  const holeIsTooLong = (hole?.length ?? 0) > LONGEST_HOLE;
  useEffect(() => {
    if (!joined || holeBeforeSeq === null) return;
    const controller = new AbortController();
    if (holeIsTooLong) {
      dispatch({ type: "forget", beforeSeq: holeBeforeSeq });
    } else {
      connection
        .insist("fetch_history", () => ({ conversationId, beforeSeq: holeBeforeSeq, limit: PAGE }), controller.signal)
        .then((page) => {
          dispatch({ type: "messages", messages: page.messages });
        }, ignore);
    }
    return () => controller.abort();
  }, [connection, conversationId, joined, holeBeforeSeq, holeIsTooLong]);

  useEffect(
    () =>
      outbox.subscribe((stored) => {
        // Both in one render: the bubble that waited becomes the one that is stored, without a gap in between.
        if (stored?.conversationId === conversationId) dispatch({ type: "messages", messages: [stored] });
        setPending(outbox.entries);
      }),
    [outbox, conversationId],
  );

  useSocketEvent("message_created", ({ message }) => {
    if (message.conversationId === conversationId) dispatch({ type: "messages", messages: [message] });
  });
  useSocketEvent("messages_read", (event) => {
    if (event.conversationId === conversationId) dispatch({ type: "read", event });
  });
  useSocketEvent("user_typing", (event) => {
    if (event.conversationId === conversationId && event.userId !== me.id) dispatch({ type: "typing", event });
  });
  useSocketEvent("presence_changed", (event) => {
    dispatch({ type: "presence", event });
  });

  const oldestSeq = messages[0]?.seq ?? null;
  const loadOlder = async (wanted: AbortSignal) => {
    if (oldestSeq === null) return;
    try {
      const payload = { conversationId, beforeSeq: oldestSeq, limit: PAGE };
      const page = await connection.insist("fetch_history", () => payload, wanted);
      dispatch({ type: "messages", messages: page.messages });
    } catch (failure) {
      ignore(failure);
    }
  };

  const storedKeys = new Set(messages.filter(({ senderId }) => senderId === me.id).map((each) => each.idempotencyKey));
  return {
    ...state,
    joined,
    /** What waits in the outbox for this conversation. */
    pending: pending.filter(
      (each): each is Pending => each.conversationId === conversationId && !storedKeys.has(each.key),
    ),
    oldestSeq,
    hasOlder: oldestSeq !== null && oldestSeq > 1,
    loadOlder,
    typing: joined ? state.typing : [],
    setTyping,
  };
}

async function listParticipants(
  connection: Connection,
  conversationId: string,
  wanted: AbortSignal,
  take: (participants: readonly Participant[]) => void,
) {
  let after: string | null = null;
  do {
    const where = { conversationId, limit: 200, ...(after !== null && { after }) };
    const page: ListParticipantsAck = await connection.insist("list_participants", () => where, wanted, (ack) =>
      take(ack.participants),
    );
    after = page.nextAfter;
  } while (after !== null && !wanted.aborted);
}

const TYPING_REPEAT_MS = 3_000; // the server forgets after 6 s
const TYPING_IDLE_MS = 5_000;

/** Tells the others that one types, at most every three seconds; and that it is over, five seconds after the last key. */
function makeTyping(connection: Connection, conversationId: string): (typing: boolean) => void {
  let toldAt = -Infinity;
  let idle: ReturnType<typeof setTimeout> | undefined;

  return function tell(typing) {
    clearTimeout(idle);
    if (typing) {
      idle = setTimeout(() => tell(false), TYPING_IDLE_MS);
      if (performance.now() - toldAt < TYPING_REPEAT_MS) return;
    } else if (toldAt === -Infinity) {
      return;
    }
    toldAt = typing ? performance.now() : -Infinity;
    connection.request("set_typing", { conversationId, typing }).catch(ignore);
  };
}

/** What failed is not worth a word: it is repeated, or lost its meaning, with the next connection. */
function ignore(failure: unknown): void {
  if (!(failure instanceof ChatError)) throw failure;
}
