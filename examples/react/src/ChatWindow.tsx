/** One conversation on the screen: header, history, who types, and the field to write in. */
import { memo, useEffect, useEffectEvent, useMemo, useRef, useState } from "react";
import { useChat, useConversation, useStatus } from "chat-socketserver-client/react";
import type { Message, Participant, User } from "chat-socketserver-client/wire";
import { draftOf, keepDraft } from "./drafts";
import { Avatar, clockTime, dayName, dayOf, hue, Icon, titleOf, type Item } from "./ui";

const RUN_MS = 5 * 60_000; // messages of one person closer than this stand together
const NEAR_BOTTOM_PX = 60;
const MOST_CHARS = 4_000; // until the server has said its own bound

interface Props {
  conversationId: string;
  me: User;
  /** What the list knows of it; undefined before the list has arrived. */
  item: Item | undefined;
  onBack: () => void;
}

export function ChatWindow({ conversationId, me, item, onBack }: Props) {
  const chat = useChat();
  const [atBottom, setAtBottom] = useState(true);
  const room = useConversation(conversationId, { visible: atBottom });
  const { messages, pending, participants, typing, joined, error, hasOlder, loadOlder, setTyping, send } = room;
  const scroller = useRef<HTMLDivElement>(null);
  const oldestSeq = messages[0]?.seq ?? null;

  const others = participants.filter((each) => each.userId !== me.id);
  const group = item ? item.kind === "group" : others.length > 1;
  const people = others.map((each) => each.userId).join(", ") || "…";
  const title = item ? titleOf(item, me.id) : (room.conversation?.title ?? people);
  const count = room.conversation?.participantCount ?? 0;

  // What has been read by others, as numbers: rows change only when their own state does.
  const known = others.length > 0 && participants.length >= count;
  const readByAll = known ? Math.min(...others.map((each) => each.readSeq)) : 0;
  const rows = useMemo(() => {
    const waiting = pending.map(({ key, body, createdAt, error: wrong }) => {
      return { body, createdAt, senderId: me.id, idempotencyKey: key, seq: null, failure: wrong && wrong.message };
    });
    const stored = messages.map((each) => ({ ...each, failure: null }));
    return [...stored, ...waiting];
  }, [messages, pending, me.id]);

  // Counted from the newest message that was on the screen when the reader scrolled away.
  const lastSeq = messages.at(-1)?.seq ?? 0;
  const [leftAtSeq, setLeftAtSeq] = useState(0);
  const news = atBottom ? 0 : messages.filter(({ seq, senderId }) => seq > leftAtSeq && senderId !== me.id).length;

  // The lines above what is new: what was unread when the conversation was opened, and what came while one read further up.
  const [readTo, setReadTo] = useState(item && item.unreadCount > 0 ? item.readSeq : null);
  const [unread, setUnread] = useState(item?.unreadCount ?? 0);
  const firstAfter = (last: number) => messages.find(({ seq, senderId }) => seq > last && senderId !== me.id)?.seq;
  const firstUnread = readTo !== null && (oldestSeq ?? Infinity) <= readTo + 1 ? firstAfter(readTo) : undefined;
  const firstNews = news > 0 ? firstAfter(leftAtSeq) : undefined;

  const beginning = room.cursor !== null ? "This is where the conversation begins." : "Loading…";
  const toBottom = () => scroller.current?.scrollTo({ top: 0 });
  /** The newest line, if it is below the screen; else the end. */
  const toNews = () => {
    const line = [...(scroller.current?.querySelectorAll(".divider") ?? [])].at(-1);
    const bottom = scroller.current?.getBoundingClientRect().bottom ?? 0;
    if (line && line.getBoundingClientRect().top > bottom) line.scrollIntoView({ block: "start" });
    else toBottom();
  };
  const toUnread = async () => {
    setUnread(0);
    const { snapshot } = chat.room(conversationId);
    const wanted = () => (snapshot().messages[0]?.seq ?? 0) > (readTo ?? 0) + 1 && snapshot().joined;
    for (let oldest = Infinity; wanted() && (snapshot().messages[0]?.seq ?? 0) < oldest; ) {
      oldest = snapshot().messages[0]?.seq ?? 0;
      await loadOlder();
    }
    requestAnimationFrame(() => scroller.current?.querySelector(".divider")?.scrollIntoView({ block: "start" }));
  };

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
            {joined ? subtitle(others, count) : room.cursor === null ? " " : "not connected"}
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
            if (!atBottom && bottom && news > 0) setReadTo(leftAtSeq);
            setAtBottom(bottom);
          }}
        >
          <div className="column">
            {hasOlder && <LoadOlder key={oldestSeq} joined={joined} load={loadOlder} />}
            <p className="history">{error?.message ?? (hasOlder ? "Loading earlier messages…" : beginning)}</p>
            <ol className="messages" aria-label="Messages">
              {rows.map((row, i) => {
                const [before, after] = [rows[i - 1], rows[i + 1]];
                const newDay = !before || dayOf(before.createdAt) !== dayOf(row.createdAt);
                return (
                  // The idempotencyKey is the same before and after: the bubble that waited stays, and only says so.
                  <Row
                    key={`${row.senderId} ${row.idempotencyKey}`}
                    name={row.idempotencyKey}
                    conversationId={conversationId}
                    body={row.body}
                    senderId={row.senderId}
                    createdAt={row.createdAt}
                    seq={row.seq}
                    state={stateOf(row, row.senderId === me.id, readByAll)}
                    failure={row.failure}
                    day={newDay ? dayName(dayOf(row.createdAt)) : null}
                    divider={row.seq !== null && (row.seq === firstUnread || row.seq === firstNews)}
                    begins={newDay || before.senderId !== row.senderId || row.createdAt - before.createdAt > RUN_MS}
                    ends={!after || after.senderId !== row.senderId || after.createdAt - row.createdAt > RUN_MS}
                  />
                );
              })}
            </ol>
          </div>
        </div>
        {unread > 0 && <UnreadAbove key={firstUnread} count={unread} shown={() => setUnread(0)} onClick={() => void toUnread()} />}
        {!atBottom && (
          <button
            className="jump"
            type="button"
            onClick={toNews}
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
        conversationId={conversationId}
        onTyping={setTyping}
        onSend={(body) => {
          toBottom();
          setReadTo(null);
          try {
            send(body);
            return true;
          } catch {
            return false; // too many wait already
          }
        }}
      />
      {room.cursor !== null && <Announcer me={me} newest={messages.at(-1)} />}
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

/** How many unread messages begin above the screen, and a way to the first; gone once that has been on the screen. */
function UnreadAbove({ count, shown, onClick }: { count: number; shown: () => void; onClick: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  const onShown = useEffectEvent(shown);
  useEffect(() => {
    const line = button.current?.parentElement?.querySelector(".divider");
    if (!line) return;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) onShown();
    });
    observer.observe(line);
    return () => observer.disconnect();
  }, []);
  return (
    <button ref={button} className="jump above" type="button" onClick={onClick} aria-label={`${count} unread messages above`}>
      <Icon name="up" />
      <span>{count} new</span>
    </button>
  );
}

/** Once it has come near the screen it has earlier messages loaded: as soon as the conversation is joined. */
function LoadOlder({ joined, load }: { joined: boolean; load: () => Promise<void> }) {
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
    if (near && joined) void loadNow();
  }, [near, joined]);
  return <div ref={sentinel} className="sentinel" />;
}

interface RowProps {
  /** The idempotencyKey. */
  name: string;
  conversationId: string;
  body: string;
  senderId: string;
  createdAt: number;
  seq: number | null;
  state: "theirs" | "waiting" | "failed" | "sent" | "seen";
  failure: string | null;
  /** The day's name above the first message of a day. */
  day: string | null;
  /** What is new begins here. */
  divider: boolean;
  begins: boolean;
  ends: boolean;
}

const TICKS = { waiting: "Sending", failed: "Not sent", sent: "Sent", seen: "Read" };

/** Memoised, with plain values for props: a new message draws itself and its neighbour, not a thousand others. */
const Row = memo(function Row(props: RowProps) {
  const { name, conversationId, body, senderId, createdAt, seq, state, failure, day, divider, begins, ends } = props;
  const { retry, discard } = useChat().room(conversationId);
  const classes = ["row", state === "theirs" ? "" : "mine", begins ? "begins" : "", ends ? "ends" : ""];
  return (
    <li className={classes.filter(Boolean).join(" ")} data-state={state} data-seq={seq}>
      {day && (
        <p className="day">
          <span>{day}</span>
        </p>
      )}
      {divider && (
        <p className="divider">
          <span>New messages</span>
        </p>
      )}
      <div className="bubble">
        {/* A reader that hears one row alone has to hear who wrote it. */}
        <span className="visually-hidden">{state === "theirs" ? senderId : "You"}: </span>
        {state === "theirs" && begins && (
          <span className="author" style={hue(senderId)} dir="auto" aria-hidden="true">
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
          <button type="button" className="link" onClick={() => retry(name)}>
            Try again
          </button>{" "}
          <button type="button" className="link" onClick={() => discard(name)}>
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

interface ComposerProps {
  conversationId: string;
  onSend: (body: string) => boolean;
  onTyping: (typing: boolean) => void;
}

/** Has a state of its own, so that a key pressed does not draw the history again. */
function Composer({ conversationId, onSend, onTyping }: ComposerProps) {
  const [text, setText] = useState(() => draftOf(conversationId));
  const [full, setFull] = useState(false);
  const { limits } = useStatus();
  const left = (limits?.bodyChars ?? MOST_CHARS) - Array.from(text).length;
  const sendable = text.trim() !== "" && left >= 0;

  const send = () => {
    if (!sendable) return;
    onTyping(false);
    const taken = onSend(text.trim());
    setFull(!taken);
    if (!taken) return;
    setText("");
    keepDraft(conversationId, "");
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
          keepDraft(conversationId, event.target.value);
          onTyping(event.target.value !== "");
        }}
        onBlur={() => onTyping(false)}
        onKeyDown={(event) => {
          // Safari sends the Enter that ends a composition behind its end, and only this code tells.
          // eslint-disable-next-line @typescript-eslint/no-deprecated
          const composing = event.nativeEvent.isComposing || event.keyCode === 229;
          if (event.key !== "Enter" || event.shiftKey || composing) return;
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
function Announcer({ me, newest }: { me: User; newest: Message | undefined }) {
  const [first] = useState(newest?.seq);
  return (
    <p className="visually-hidden" role="log" aria-live="polite">
      {newest && newest.seq !== first && newest.senderId !== me.id && `${newest.senderId}: ${newest.body}`}
    </p>
  );
}
