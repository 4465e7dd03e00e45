/** The messages of one conversation: those on the screen are in the page, the others are numbers (shared/virtual.js). */
import { useEffect, useEffectEvent, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState, type Ref } from "react";
import type { useConversation } from "chat-socketserver-client/react";
import { keepPlace, placeIn } from "../../shared/places.js";
import { nameOf, type Profiles } from "../../shared/names.js";
import { dayName, dayOf } from "../../shared/times.js";
import { sentenceOf, words } from "../../shared/words.js";
import { NEWEST, VirtualList } from "../../shared/virtual.js";
import { Bubble, type RowState } from "./Bubble";
import { Icon } from "./ui";

const RUN_MS = 5 * 60_000; // messages of one person closer than this stand together
const NEAR_TOP_PX = 1_000; // then earlier ones are loaded
/** As far back one goes by itself: to the first unread message, or to where one was. Further it takes a click. */
const FAR = 500;
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
  ref: Ref<HistoryHandle>;
}

type Sought = { seq: number; key?: string; px?: number } | null;

export function History({ conversationId, me, profiles, room, readByAll, onCaughtUp, ref }: Props) {
  const { messages, pending, cursor, joined, error, hasOlder, lastSeq, readSeq, unreadCount } = room;
  const { loadOlder, markRead, retry, discard } = room;
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
  const oldest = useRef(0);
  const away = useRef(false); // nobody looks at the page
  const isNews = (after: number) => (each: { seq: number; senderId: string }) => each.seq > after && each.senderId !== me;
  const news = following ? 0 : messages.filter(isNews(leftAt)).length;
  const firstOf = (after: number) => ((messages[0]?.seq ?? Infinity) <= after + 1 ? messages.find(isNews(after))?.seq : undefined);
  const firstUnread = mark ? firstOf(mark.after) : undefined;
  const firstNews = news > 0 ? firstOf(leftAt) : undefined;

  const rowAt = (index: number) => {
    const message = messages[index];
    if (message) return { ...message, failure: null };
    const waiting = pending[index - messages.length];
    if (!waiting) return null;
    const { key, body, createdAt, error: wrong } = waiting;
    return { body, createdAt, senderId: me, idempotencyKey: key, seq: null, failure: wrong && sentenceOf(wrong) };
  };

  const show = (wanted: Exclude<Sought, null>): boolean => {
    const index = messages.findIndex(({ seq }) => seq >= wanted.seq);
    const key = wanted.key ?? keys[index];
    if ((messages[0]?.seq ?? Infinity) > wanted.seq || key === undefined) return false;
    if (wanted.px === undefined) view.current?.show(key);
    else view.current?.restore({ key, px: wanted.px });
    return true;
  };

  // The first answer says up to where one had read.
  if (joined && !entered) {
    setEntered(true);
    setLeftAt(lastSeq);
    if (unreadCount > 0) {
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
    const [top, bottom] = [rowAt(first), rowAt(last)];
    const today = top && dayOf(top.createdAt);
    setFollowing(list.following);
    setDay(today === dayOf(rowAt(first - 1)?.createdAt ?? 0) ? today : null);
    if (list.before < NEAR_TOP_PX && joined && hasOlder) void loadOlder();
    if (!entered || !top) return;
    // It counts as read what is on the screen, if everything before it was.
    if ((top.seq ?? Infinity) > Math.max(readTo.current, readSeq) + 1) return;
    setUnseen(false);
    if (document.visibilityState !== "visible" || !document.hasFocus()) return;
    readTo.current = Math.max(readTo.current, bottom?.seq ?? 0);
    if (list.following) onCaughtUp(true);
    else read();
  };

  /** Bring a message to the screen, as soon as it is loaded. */
  const seek = async (wanted: Exclude<Sought, null>) => {
    sought.current = wanted;
    if (show(wanted)) sought.current = null;
    for (let before = Infinity; sought.current && oldest.current > wanted.seq && oldest.current < before; ) {
      before = oldest.current;
      await loadOlder();
    }
  };

  useLayoutEffect(() => {
    if (!scroller.current || !above.current || !list.current || !below.current) return;
    const elements = { scroller: scroller.current, above: above.current, list: list.current, below: below.current };
    const made = new VirtualList({ ...elements, onRange: setRange });
    view.current = made;
    return () => made.close();
  }, []);

  useLayoutEffect(() => {
    oldest.current = messages[0]?.seq ?? 0;
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
    const last = rowAt(view.current?.visible()[1] ?? 0)?.seq ?? Infinity;
    if (line !== undefined && line > last) void seek({ seq: line });
    else toEnd();
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
          <ol className="messages" aria-label={words.messages} ref={list}>
            {keys.slice(from, to).map((key, i) => {
              const index = from + i;
              const row = rowAt(index);
              if (!row) return null;
              const [before, after] = [rowAt(index - 1), rowAt(index + 1)];
              const newDay = !before || dayOf(before.createdAt) !== dayOf(row.createdAt);
              const begins = newDay || before.senderId !== row.senderId || row.createdAt - before.createdAt > RUN_MS;
              const ends = !after || after.senderId !== row.senderId || after.createdAt - row.createdAt > RUN_MS;
              const state = stateOf(row, row.senderId === me, readByAll);
              const classes = ["row", state !== "theirs" && "mine", begins && "begins", ends && "ends"];
              const isNew = row.seq === null ? null : row.seq === firstNews ? news : row.seq === firstUnread ? (mark?.count ?? 0) : null;
              return (
                // The idempotencyKey is the same before and after: the bubble that waited stays, and only says so.
                <li
                  key={key}
                  className={classes.filter(Boolean).join(" ")}
                  data-state={state}
                  data-seq={row.seq}
                  aria-posinset={row.seq ?? lastSeq + index - messages.length + 1}
                  aria-setsize={lastSeq + pending.length}
                >
                  <Bubble
                    name={row.idempotencyKey}
                    body={row.body}
                    senderId={row.senderId}
                    sender={nameOf(profiles, row.senderId)}
                    createdAt={row.createdAt}
                    state={state}
                    failure={row.failure}
                    day={newDay ? dayOf(row.createdAt) : null}
                    news={isNew}
                    begins={begins}
                    retry={retry}
                    discard={discard}
                  />
                </li>
              );
            })}
          </ol>
          <div ref={below} />
        </div>
      </div>
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

function stateOf(row: { seq: number | null; failure: string | null }, mine: boolean, readByAll: number): RowState {
  if (row.seq === null) return row.failure === null ? "waiting" : "failed";
  if (!mine) return "theirs";
  return row.seq <= readByAll ? "seen" : "sent";
}
