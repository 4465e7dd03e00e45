/** The messages of one conversation: those on the screen are in the page, the others are numbers (shared/virtual.js). */
import { useEffect, useEffectEvent, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState, type Ref } from "react";
import { useChat, useStatus, type useConversation } from "chat-socketserver-client/react";
import { keepPlace, placeIn } from "../../shared/places.js";
import type { Profiles } from "../../shared/names.js";
import { dayName, dayOf } from "../../shared/times.js";
import { sentenceOf, words } from "../../shared/words.js";
import { NEWEST, VirtualList } from "../../shared/virtual.js";
import { Bubble, isNotice, isStored, type Row, type RowState, type Stored } from "./Bubble";
import { MessageMenu } from "./MessageMenu";
import { mayChange } from "../../shared/may.js";
import { Icon } from "./ui";

const RUN_MS = 5 * 60_000; // messages of one person closer than this stand together
const NEAR_TOP_PX = 1_000; // then earlier ones are loaded
/** As far back one goes by itself: to the first unread message, or to where one was. Further it takes a click. */
const FAR = 500;
const VAIN_MS = 100; // between two attempts to load what one seeks
const MOST_VAIN = 50;
/** So long a deletion waits, and can be undone. */
const UNDO_MS = 6_000;
const READ_MS = 500; // between two read marks while one scrolls through what is new

export interface HistoryHandle {
  /** To the end, past everything that is new. */
  toEnd: () => void;
}

interface Props {
  conversationId: string;
  me: string;
  profiles: Profiles;
  room: ReturnType<typeof useConversation>;
  /** Up to where all others have read. */
  readByAll: number;
  /** Whether the newest messages are on the screen, and all before them were. */
  onCaughtUp: (caughtUp: boolean) => void;
  onReply: (message: Stored) => void;
  onEdit: (row: Row) => void;
  ref: Ref<HistoryHandle>;
}

type Sought = { seq: number; key?: string; px?: number } | null;

export function History({ conversationId, me, profiles, room, readByAll, onCaughtUp, onReply, onEdit, ref }: Props) {
  const { messages, pending, cursor, joined, error, hasOlder, lastSeq, readSeq, unreadCount } = room;
  const { loadOlder, markRead, retry, discard, react, remove, quoted } = room;
  const { limits } = useStatus();
  const { snapshot } = useChat().room(conversationId);
  const [menu, setMenu] = useState<{ row: Row; opener: HTMLElement } | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const above = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const below = useRef<HTMLDivElement>(null);
  const view = useRef<VirtualList>(null);
  const [range, setRange] = useState(NEWEST);
  const [following, setFollowing] = useState(true);
  const [day, setDay] = useState<number | null>(null);

  const count = messages.length + pending.length;
  const keys = useMemo(() => {
    return [
      ...messages.map(({ senderId, idempotencyKey }) => `${senderId} ${idempotencyKey}`),
      ...pending.map(({ key }) => `${me} ${key}`),
    ];
  }, [messages, pending, me]);
  const from = Math.max(0, count - range.start);
  const to = Math.max(from, count - range.end);

  // What is new: after the read mark that was there when the conversation was opened, and after what one saw last of its end.
  const [mark, setMark] = useState<{ after: number; count: number } | null>(null);
  const [leftAt, setLeftAt] = useState(0);
  const [unseen, setUnseen] = useState(false); // the first of them is above the screen, and was never on it
  const [entered, setEntered] = useState(false);
  const sought = useRef<Sought>(null);
  const readTo = useRef(0);
  const away = useRef(false); // nobody looks at the page
  const isNews = (after: number) => (each: Stored) => each.seq > after && each.senderId !== me && each.deletedAt === undefined && !isNotice(each);
  const news = following ? 0 : messages.filter(isNews(leftAt)).length;
  const firstOf = (after: number) => ((messages[0]?.seq ?? Infinity) <= after + 1 ? messages.find(isNews(after))?.seq : undefined);
  const firstUnread = mark ? firstOf(mark.after) : undefined;
  const firstNews = news > 0 ? firstOf(leftAt) : undefined;

  const together = (a: Row, b: Row) => isNotice(a) === isNotice(b) && senderOf(a) === senderOf(b) && b.createdAt - a.createdAt <= RUN_MS;
  const rowAt = (index: number): Row | undefined => messages[index] ?? pending[index - messages.length];
  const seqAt = (index: number) => messages[index]?.seq ?? Infinity;
  const senderOf = (row: Row) => (isStored(row) ? row.senderId : me);

  const show = (wanted: Exclude<Sought, null>): boolean => {
    const index = messages.findIndex(({ seq }) => seq >= wanted.seq);
    const key = wanted.key ?? keys[index];
    if ((messages[0]?.seq ?? Infinity) > wanted.seq || key === undefined) return false;
    if (wanted.px === undefined) view.current?.show(key);
    else view.current?.restore({ key, px: wanted.px });
    return true;
  };

  // The answer to a join says up to where one had read: the first one, and that after a connection was lost.
  const [wasJoined, setWasJoined] = useState(false);
  if (joined !== wasJoined) {
    setWasJoined(joined);
    if (joined && !entered) setLeftAt(lastSeq);
    if (joined) setEntered(true);
    if (joined && (!entered || following) && unreadCount > 0) {
      setMark({ after: readSeq, count: unreadCount });
      setUnseen(true);
    }
  }

  const reading = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(reading.current), []);
  const read = () => {
    if (readTo.current <= readSeq) return;
    reading.current ??= setTimeout(() => {
      reading.current = undefined;
      markRead(readTo.current).catch(() => undefined); // the next one says so too
    }, READ_MS);
  };

  /** What is on the screen has changed, or somebody looks again. */
  const look = () => {
    const list = view.current;
    if (!list) return;
    const [first, last] = list.visible();
    const top = rowAt(first);
    const today = top ? dayOf(top.createdAt) : null;
    setFollowing(list.following);
    setDay(today === dayOf(rowAt(first - 1)?.createdAt ?? 0) ? today : null);
    if (list.before < NEAR_TOP_PX && joined && hasOlder) void loadOlder();
    if (!entered || !top) return;
    // It counts as read what is on the screen, if everything before it was.
    if (seqAt(first) > Math.max(readTo.current, readSeq) + 1) return;
    setUnseen(false);
    if (document.visibilityState !== "visible" || !document.hasFocus()) return;
    readTo.current = Math.max(readTo.current, messages[Math.min(last, messages.length - 1)]?.seq ?? 0);
    if (list.following) onCaughtUp(true);
    else read();
  };

  /** Bring a message to the screen, as soon as it is loaded. */
  const seek = async (wanted: Exclude<Sought, null>) => {
    sought.current = wanted;
    if (show(wanted)) sought.current = null;
    const first = () => snapshot().messages[0]?.seq ?? 0;
    for (let vain = 0; sought.current === wanted && first() > wanted.seq && vain < MOST_VAIN; ) {
      const before = first();
      await loadOlder();
      vain = first() < before ? 0 : vain + 1; // a page may be on its way already, or the connection be lost
      if (vain > 0) await new Promise((resolve) => setTimeout(resolve, VAIN_MS));
    }
  };

  useLayoutEffect(() => {
    if (!scroller.current || !above.current || !list.current || !below.current) return undefined;
    const elements = { scroller: scroller.current, above: above.current, list: list.current, below: below.current };
    const made = new VirtualList({ ...elements, onRange: setRange });
    view.current = made;
    return () => made.close();
  }, []);

  useLayoutEffect(() => {
    view.current?.drawn(keys, from);
    if (sought.current && show(sought.current)) sought.current = null;
  });

  const drawn = useEffectEvent(look);
  useEffect(() => drawn(), [keys, range, joined, hasOlder, entered]);

  // One begins at the first unread message, or where one was, or at the end.
  const begin = useEffectEvent(() => {
    const place = placeIn(conversationId);
    if (mark && mark.count <= FAR) void seek({ seq: mark.after + 1 });
    else if (place && !mark && lastSeq - place.seq <= FAR) void seek(place);
  });
  useEffect(() => {
    if (entered) begin();
  }, [entered]);
  const keep = () => {
    const place = view.current?.place;
    const seq = messages[view.current?.visible()[0] ?? 0]?.seq;
    keepPlace(conversationId, place && seq ? { ...place, seq } : null);
  };

  const lost = useEffectEvent(() => onCaughtUp(false));
  useEffect(() => {
    if (!joined) lost(); // what was missed nobody has seen
  }, [joined]);

  const lookAgain = useEffectEvent(() => {
    const here = document.visibilityState === "visible" && document.hasFocus();
    if (here && away.current && following) {
      const missed = messages.filter(isNews(leftAt)).length;
      if (missed > 0) setMark({ after: leftAt, count: missed });
      setUnseen(missed > 0);
    }
    if (here) look();
    else if (!away.current) {
      // What comes now nobody sees.
      onCaughtUp(false);
      if (following) setLeftAt(lastSeq);
    }
    away.current = !here;
  });
  useEffect(() => {
    const events = ["focus", "blur", "visibilitychange"];
    for (const event of events) addEventListener(event, lookAgain, true);
    return () => {
      for (const event of events) removeEventListener(event, lookAgain, true);
    };
  }, []);

  const toEnd = () => {
    sought.current = null;
    readTo.current = lastSeq;
    setUnseen(false);
    view.current?.toEnd();
    onCaughtUp(true);
  };
  useImperativeHandle(ref, () => ({
    toEnd: () => {
      setMark(null);
      toEnd();
    },
  }));
  /** The newest line, if it is below the screen; else the end. */
  const toNews = () => {
    const line = firstNews ?? firstUnread;
    const last = view.current?.visible()[1] ?? 0;
    if (line !== undefined && line > seqAt(last)) void seek({ seq: line });
    else toEnd();
  };

  /** One listener for all buttons of all rows, so that rows need no functions. */
  const act = (target: HTMLElement) => {
    const button = target.closest<HTMLElement>("button[data-do]");
    const row = rowAt(Number(button?.closest<HTMLElement>(".row")?.dataset.index));
    if (!button || !row) return;
    const { key = "", reaction = "" } = button.dataset;
    switch (button.dataset.do) {
      case "menu":
        setMenu({ row, opener: button });
        return;
      case "react":
        if (isStored(row)) attempt(() => react(row.seq, reaction, button.ariaPressed !== "true"));
        return;
      case "quote":
        if (row.replyTo !== undefined) void seek({ seq: row.replyTo });
        return;
      case "retry":
        retry(key);
        return;
      case "discard":
        discard(key);
    }
  };

  const beginning = cursor !== null ? words.beginning : words.loading;
  return (
    <div className="stage">
      {/* Laid out from the bottom (column-reverse): scrollTop is 0 there, and what loads above moves nothing. */}
      <div
        className="scroller"
        ref={scroller}
        tabIndex={0}
        role="region"
        aria-label={words.history}
        onScroll={() => {
          const before = view.current?.following ?? true;
          view.current?.scrolled();
          const now = view.current?.following ?? true;
          if (before && !now) setLeftAt(lastSeq);
          if (!before && now && news > 0) setMark({ after: leftAt, count: news });
          if (before && !now) onCaughtUp(false);
          look();
          keep();
        }}
      >
        <div className="column">
          <p className="history">
            {error ? sentenceOf(error) : hasOlder ? words.loadingEarlier : beginning}
          </p>
          <div ref={above} />
          <ol className="messages" aria-label={words.messages} ref={list} onClick={(event) => act(event.target as HTMLElement)}>
            {keys.slice(from, to).map((key, i) => {
              const index = from + i;
              const row = rowAt(index);
              if (!row) return null;
              const [before, after] = [rowAt(index - 1), rowAt(index + 1)];
              const newDay = !before || dayOf(before.createdAt) !== dayOf(row.createdAt);
              const begins = newDay || !together(before, row);
              const state = stateOf(row, senderOf(row) === me, readByAll);
              const classes = ["row", state !== "theirs" && "mine", begins && "begins", !(after && together(row, after)) && "ends"];
              const seq = isStored(row) ? row.seq : null;
              const isNew = seq === null ? null : seq === firstNews ? news : seq === firstUnread ? (mark?.count ?? 0) : null;
              return (
                // The idempotencyKey is the same before and after: the bubble that waited stays, and only says so.
                <li
                  key={key}
                  className={classes.filter(Boolean).join(" ")}
                  data-state={state}
                  data-seq={seq}
                  data-index={index}
                  aria-posinset={seq ?? lastSeq + index - messages.length + 1}
                  aria-setsize={lastSeq + pending.length}
                >
                  <Bubble
                    row={row}
                    me={me}
                    senderId={senderOf(row)}
                    profiles={profiles}
                    quoted={row.replyTo === undefined ? undefined : quoted.get(row.replyTo)}
                    state={state}
                    day={newDay ? dayOf(row.createdAt) : null}
                    news={isNew}
                    begins={begins}
                  />
                </li>
              );
            })}
          </ol>
          <div ref={below} />
        </div>
      </div>
      {menu && (
        <MessageMenu
          opener={menu.opener}
          stored={isStored(menu.row)}
          mayEdit={mayChange(menu.row, me, limits?.editWindowS)}
          mayRemove={mayChange(menu.row, me, limits?.deleteWindowS)}
          onReact={(reaction) => attempt(() => isStored(menu.row) && react(menu.row.seq, reaction))}
          onReply={() => isStored(menu.row) && onReply(menu.row)}
          onEdit={() => onEdit(menu.row)}
          onRemove={() => attempt(() => (isStored(menu.row) ? remove(menu.row.seq, { undoMs: UNDO_MS }) : remove(menu.row.key)))}
          onCopy={() => void navigator.clipboard.writeText(menu.row.body)}
          onClose={() => setMenu(null)}
        />
      )}
      {day !== null && (
        <p className="day sticky" aria-hidden="true">
          <span>{dayName(day)}</span>
        </p>
      )}
      {unseen && mark && (
        <button
          className="jump above"
          type="button"
          onClick={() => void seek({ seq: mark.after + 1 })}
          aria-label={words.unreadAbove(mark.count)}
        >
          <Icon name="up" />
          <span>{words.newMessages(mark.count)}</span>
        </button>
      )}
      {!following && (
        <button className="jump" type="button" onClick={toNews} aria-label={news > 0 ? words.newBelow(news) : words.toNewest}>
          <Icon name="down" />
          {news > 0 && <span>{news}</span>}
        </button>
      )}
    </div>
  );
}

function stateOf(row: Row, mine: boolean, readByAll: number): RowState {
  if (!isStored(row)) return row.error === null ? "waiting" : "failed";
  if (!mine) return "theirs";
  return row.seq <= readByAll ? "seen" : "sent";
}

/** Too much waits already: then nothing happens, and the row shows it. What becomes of it later the row says too. */
function attempt(act: () => { stored: Promise<unknown> } | false) {
  try {
    const written = act();
    if (written) written.stored.catch(() => undefined);
  } catch {
    // outbox_full
  }
}
