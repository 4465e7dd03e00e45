/** One conversation on the screen: header, history, who types, and the field to write in. */
import { memo, useEffect, useEffectEvent, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { Message, Participant } from "./events";
import { Avatar, clockTime, dayName, dayOf, hue, Icon, titleOf } from "./ui";
import { useConversation } from "./useConversation";
import type { Item } from "./useConversations";
import { useConnection, useWebSocket } from "./WebSocketContext";

const RUN_MS = 5 * 60_000; // messages of one person closer than this stand together
const NEAR_BOTTOM_PX = 60;
const MOST_CHARS = 4_000; // until the server has said its own bound

interface Props {
  conversationId: string;
  /** What the list knows of it; undefined before the list has arrived. */
  item: Item | undefined;
  onReading: (reading: boolean) => void;
  onBack: () => void;
}

export function ChatWindow({ conversationId, item, onReading, onBack }: Props) {
  const { me, outbox } = useWebSocket();
  const [atBottom, setAtBottom] = useState(true);
  const visible = usePageIsVisible() && atBottom;
  const { messages, pending, participants, reads, typing, joined, error, ...chat } = useConversation(
    conversationId,
    visible,
  );
  const { oldestSeq, hasOlder, loadOlder, setTyping } = chat;
  const scroller = useRef<HTMLDivElement>(null);

  useEffect(() => {
    onReading(visible);
    return () => onReading(false);
  }, [visible, onReading]);

  const others = participants.filter((each) => each.userId !== me.id);
  const group = item ? item.kind === "group" : others.length > 1;
  const title = item ? titleOf(item, me.id) : (chat.title ?? (others.map((each) => each.userId).join(", ") || "…"));

  // What has been read by others, as numbers: rows change only when their own state does.
  const known = others.length > 0 && participants.length >= chat.participantCount;
  const readByAll = known ? Math.min(...others.map((each) => reads.get(each.userId) ?? 0)) : 0;
  const rows = useMemo(() => {
    const waiting = pending.map((each) => ({ ...each, senderId: me.id, idempotencyKey: each.key, seq: null }));
    const stored = messages.map((each) => ({ ...each, failure: null }));
    return [...stored, ...waiting];
  }, [messages, pending, me.id]);

  // Counted from the newest message that was on the screen when the reader scrolled away.
  const lastSeq = messages.at(-1)?.seq ?? 0;
  const [leftAtSeq, setLeftAtSeq] = useState(0);
  const news = atBottom ? 0 : messages.filter(({ seq, senderId }) => seq > leftAtSeq && senderId !== me.id).length;

  const beginning = chat.cursor !== null ? "This is where the conversation begins." : "Loading…";
  const toBottom = () => scroller.current?.scrollTo({ top: 0 });

  return (
    <section
      className={group ? "conversation is-group" : "conversation"}
      aria-labelledby="title"
      onKeyDown={(event) => {
        if (event.key === "Escape") onBack();
      }}
    >
      <header className="chat-head">
        <button className="icon-button back" type="button" aria-label="Back to the conversations" onClick={onBack}>
          <Icon name="back" />
        </button>
        <Avatar name={title} group={group} />
        <div className="chat-head-text">
          <h1 id="title" dir="auto">
            {title}
          </h1>
          <p className="subtitle">
            {joined ? subtitle(others, chat.participantCount) : chat.cursor === null ? " " : "not connected"}
          </p>
        </div>
      </header>
      <div className="stage">
        {/* Laid out from the bottom (column-reverse): scrollTop is 0 there, and what loads above moves nothing. */}
        <div
          className="scroller"
          ref={scroller}
          tabIndex={0}
          role="region"
          aria-label="Message history"
          onScroll={(event) => {
            const bottom = event.currentTarget.scrollTop > -NEAR_BOTTOM_PX;
            if (atBottom && !bottom) setLeftAtSeq(lastSeq);
            setAtBottom(bottom);
          }}
        >
          <div className="column">
            {hasOlder && <LoadOlder key={oldestSeq} joined={joined} load={loadOlder} />}
            <p className="history">{error ?? (hasOlder ? "Loading earlier messages…" : beginning)}</p>
            <ol className="messages" aria-label="Messages">
              {rows.map((row, i) => {
                const [before, after] = [rows[i - 1], rows[i + 1]];
                const newDay = !before || dayOf(before.createdAt) !== dayOf(row.createdAt);
                return (
                  // The idempotencyKey is the same before and after: the bubble that waited stays, and only says so.
                  <Row
                    key={`${row.senderId} ${row.idempotencyKey}`}
                    name={row.idempotencyKey}
                    body={row.body}
                    senderId={row.senderId}
                    createdAt={row.createdAt}
                    seq={row.seq}
                    state={stateOf(row, row.senderId === me.id, readByAll)}
                    failure={row.failure}
                    day={newDay ? dayName(dayOf(row.createdAt)) : null}
                    begins={newDay || before.senderId !== row.senderId || row.createdAt - before.createdAt > RUN_MS}
                    ends={!after || after.senderId !== row.senderId || after.createdAt - row.createdAt > RUN_MS}
                  />
                );
              })}
            </ol>
          </div>
        </div>
        {!atBottom && (
          <button
            className="jump"
            type="button"
            onClick={toBottom}
            aria-label={news > 0 ? `${news} new messages` : "To the newest messages"}
          >
            <Icon name="down" />
            {news > 0 && <span>{news}</span>}
          </button>
        )}
      </div>
      <p className="column typing" role="status">
        {typing.length > 0 && (
          <>
            <span className="dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            {typing.join(" and ")} {typing.length === 1 ? "is" : "are"} typing
          </>
        )}
      </p>
      <Composer
        onTyping={setTyping}
        onSend={(body) => {
          toBottom();
          return outbox.send(conversationId, body);
        }}
      />
      {chat.cursor !== null && <Announcer newest={messages.at(-1)} />}
    </section>
  );
}

function stateOf(row: { seq: number | null; failure: string | null }, mine: boolean, readByAll: number) {
  if (row.seq === null) return row.failure === null ? "waiting" : "failed";
  if (!mine) return "theirs";
  return row.seq <= readByAll ? "seen" : "sent";
}

function subtitle(others: readonly Participant[], count: number): string {
  const [only] = others;
  if (only && others.length === 1) {
    if (only.online) return "online";
    return only.lastSeenAt === null
      ? "offline"
      : `last seen ${dayName(dayOf(only.lastSeenAt)).toLowerCase()}, ${clockTime(only.lastSeenAt)}`;
  }
  const online = others.filter((each) => each.online).length;
  return `${count} people${online > 0 ? `, ${online} of the others online` : ""}`;
}

function usePageIsVisible(): boolean {
  return useSyncExternalStore(
    (listener) => {
      document.addEventListener("visibilitychange", listener);
      return () => document.removeEventListener("visibilitychange", listener);
    },
    () => document.visibilityState === "visible",
  );
}

/** Once it has come near the screen it has earlier messages loaded: as soon as the conversation is joined. */
function LoadOlder({ joined, load }: { joined: boolean; load: (wanted: AbortSignal) => Promise<void> }) {
  const sentinel = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  const loadNow = useEffectEvent(load);
  useEffect(() => {
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) setNear(true);
      },
      { rootMargin: "800px 0px" },
    );
    if (sentinel.current) observer.observe(sentinel.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!near || !joined) return;
    const controller = new AbortController();
    void loadNow(controller.signal);
    return () => controller.abort();
  }, [near, joined]);
  return <div ref={sentinel} className="sentinel" />;
}

interface RowProps {
  /** The idempotencyKey. */
  name: string;
  body: string;
  senderId: string;
  createdAt: number;
  seq: number | null;
  state: "theirs" | "waiting" | "failed" | "sent" | "seen";
  failure: string | null;
  /** The day's name above the first message of a day. */
  day: string | null;
  begins: boolean;
  ends: boolean;
}

const TICKS = { waiting: "Sending", failed: "Not sent", sent: "Sent", seen: "Read" };

/** Memoised, with plain values for props: a new message draws itself and its neighbour, not a thousand others. */
const Row = memo(function Row({ name, body, senderId, createdAt, seq, state, failure, day, begins, ends }: RowProps) {
  const { outbox } = useWebSocket();
  const classes = ["row", state === "theirs" ? "" : "mine", begins ? "begins" : "", ends ? "ends" : ""];
  return (
    <li className={classes.filter(Boolean).join(" ")} data-state={state} data-seq={seq}>
      {day && (
        <p className="day">
          <span>{day}</span>
        </p>
      )}
      <div className="bubble">
        {state === "theirs" && begins && (
          <span className="author" style={hue(senderId)} dir="auto">
            {senderId}
          </span>
        )}
        <span className="body" dir="auto">
          <Text text={body} />
        </span>
        <span className="meta">
          <time dateTime={new Date(createdAt).toISOString()}>{clockTime(createdAt)}</time>
          {state !== "theirs" && <Icon name={state} label={TICKS[state]} />}
        </span>
      </div>
      {failure !== null && (
        <p className="trouble" role="alert">
          Not sent. {failure}{" "}
          <button type="button" className="link" onClick={() => outbox.retry(name)}>
            Try again
          </button>{" "}
          <button type="button" className="link" onClick={() => outbox.discard(name)}>
            Discard
          </button>
        </p>
      )}
    </li>
  );
});

/** Text with its web addresses as links; all else stays text. */
function Text({ text }: { text: string }) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?'’”)\]])/u).map((part, i) =>
    i % 2 === 1 ? (
      <a key={i} href={part} target="_blank" rel="noopener noreferrer">
        {part}
      </a>
    ) : (
      part
    ),
  );
}

/** Has a state of its own, so that a key pressed does not draw the history again. */
function Composer({ onSend, onTyping }: { onSend: (body: string) => boolean; onTyping: (typing: boolean) => void }) {
  const [text, setText] = useState("");
  const [full, setFull] = useState(false);
  const { limits } = useConnection();
  const left = (limits?.bodyChars ?? MOST_CHARS) - Array.from(text).length;
  const sendable = text.trim() !== "" && left >= 0;

  const send = () => {
    if (!sendable) return;
    onTyping(false);
    const taken = onSend(text.trim());
    setFull(!taken);
    if (taken) setText("");
  };

  return (
    <form
      className="column composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {(full || left < 200) && (
        <p className={full || left < 0 ? "counter over" : "counter"} role="status">
          {full ? "Too many messages wait already. Go online first." : left}
        </p>
      )}
      <textarea
        aria-label="Message"
        placeholder="Write a message"
        rows={1}
        dir="auto"
        autoFocus
        enterKeyHint="send"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          onTyping(event.target.value !== "");
        }}
        onBlur={() => onTyping(false)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      <button className="send" type="submit" aria-label="Send" title="Send (Enter)" disabled={!sendable}>
        <Icon name="send" />
      </button>
    </form>
  );
}

/** Reads new messages out to a screen reader; the history itself would be read again at every change. */
function Announcer({ newest }: { newest: Message | undefined }) {
  const { me } = useWebSocket();
  const [first] = useState(newest?.seq);
  return (
    <p className="visually-hidden" role="log" aria-live="polite">
      {newest && newest.seq !== first && newest.senderId !== me.id && `${newest.senderId}: ${newest.body}`}
    </p>
  );
}
