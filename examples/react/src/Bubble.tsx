/** What stands in one row of the history. */
import { memo } from "react";
import { linked } from "../../shared/links.js";
import { clockTime, dayName, fullTime } from "../../shared/times.js";
import { words } from "../../shared/words.js";
import { hue, Icon } from "./ui";

export type RowState = "theirs" | "waiting" | "failed" | "sent" | "seen";

interface Props {
  /** The idempotencyKey. */
  name: string;
  body: string;
  senderId: string;
  sender: string;
  createdAt: number;
  state: RowState;
  failure: string | null;
  /** The day that begins with it. */
  day: number | null;
  /** How many are new from here on; null if that is not here. */
  news: number | null;
  begins: boolean;
  retry: (key: string) => void;
  discard: (key: string) => void;
}

/** Memoised, with plain values for props: a new message draws itself and its neighbour, not a hundred others. */
export const Bubble = memo(function Bubble(props: Props) {
  const { name, body, senderId, sender, createdAt, state, failure, day, news, begins, retry, discard } = props;
  return (
    <>
      {day !== null && (
        <p className="day">
          <span>{dayName(day)}</span>
        </p>
      )}
      {news !== null && (
        <p className="divider">
          <span>{words.newMessages(news)}</span>
        </p>
      )}
      <div className="bubble">
        {/* A reader that hears one row alone has to hear who wrote it. */}
        <span className="visually-hidden">{state === "theirs" ? sender : words.you}: </span>
        {state === "theirs" && begins && (
          <span className="author" style={hue(senderId)} dir="auto" aria-hidden="true">
            {sender}
          </span>
        )}
        <span className="body" dir="auto">
          <Text text={body} />
        </span>
        <span className="meta">
          <time dateTime={new Date(createdAt).toISOString()} title={fullTime(createdAt)}>
            {clockTime(createdAt)}
          </time>
          {state !== "theirs" && <Icon name={state} label={words.ticks[state]} />}
        </span>
      </div>
      {failure !== null && (
        <p className="trouble" role="alert">
          {words.notSent} {failure}{" "}
          <button type="button" className="link" onClick={() => retry(name)}>
            {words.retry}
          </button>{" "}
          <button type="button" className="link" onClick={() => discard(name)}>
            {words.discard}
          </button>
        </p>
      )}
    </>
  );
});

/** Text with its web addresses as links; all else stays text. */
function Text({ text }: { text: string }) {
  return linked(text).map((piece, i) =>
    piece.href === undefined ? (
      piece.text
    ) : (
      <a key={i} href={piece.href} target="_blank" rel="noopener noreferrer">
        {piece.text}
      </a>
    ),
  );
}
