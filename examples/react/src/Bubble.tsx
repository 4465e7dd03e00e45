/** What stands in one row of the history. Its buttons say what they do (`data-do`); the history does it. */
import { memo } from "react";
import type { useConversation } from "chat-socketserver-client/react";
import { linked } from "../../shared/links.js";
import { marked } from "../../shared/mentions.js";
import { nameOf, type Profiles } from "../../shared/names.js";
import { clockTime, dayName, fullTime } from "../../shared/times.js";
import { listOf, sentenceOf, words } from "../../shared/words.js";
import { hue, Icon } from "./ui";

type Room = ReturnType<typeof useConversation>;
export type Stored = Room["messages"][number];
/** What is stored, and what waits to be. */
export type Row = Stored | Room["pending"][number];
export type RowState = "theirs" | "waiting" | "failed" | "sent" | "seen";

export const isStored = (row: Row): row is Stored => "seq" in row;
/** What the server itself says in the history, of people who come and go, and of titles. */
export const isNotice = (row: Row) => (row as { kind?: string }).kind === "system";

interface Props {
  row: Row;
  me: string;
  senderId: string;
  profiles: Profiles;
  /** What it answers; null while that is fetched, and where there is none to see. */
  quoted: Stored | null | undefined;
  state: RowState;
  /** The day that begins with it. */
  day: number | null;
  /** How many are new from here on; null if that is not here. */
  news: number | null;
  begins: boolean;
}

/** Memoised: a message is the same object until it changes, and a new one draws itself and its neighbour, not a hundred others. */
export const Bubble = memo(function Bubble({ row, me, senderId, profiles, quoted, state, day, news, begins }: Props) {
  const sender = nameOf(profiles, senderId);
  const stored = isStored(row) ? row : null;
  const deleted = stored?.deletedAt !== undefined;
  const removing = stored?.pending?.find(({ kind, error }) => kind === "remove" && error === null);
  const refused = isStored(row) ? row.pending?.find(({ error }) => error !== null) : row.error !== null ? row : undefined;
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
      {isNotice(row) ? (
        <p className="notice" dir="auto">
          {row.body}
        </p>
      ) : (
      <div className="line">
        <div className={deleted ? "bubble deleted" : "bubble"}>
          {/* A reader that hears one row alone has to hear who wrote it. */}
          <span className="visually-hidden">{state === "theirs" ? sender : words.you}: </span>
          {state === "theirs" && begins && (
            <span className="author" style={hue(senderId)} dir="auto" aria-hidden="true">
              {sender}
            </span>
          )}
          {row.replyTo !== undefined && !deleted && <Quote quoted={quoted} profiles={profiles} />}
          <span className="body" dir="auto">
            {deleted ? words.deleted : <Text text={row.body} mentions={row.mentions ?? []} me={me} profiles={profiles} />}
          </span>
          <span className="meta">
            {stored?.editedAt !== undefined && !deleted && <span>{words.edited}</span>}
            <time dateTime={new Date(row.createdAt).toISOString()} title={fullTime(row.createdAt)}>
              {clockTime(row.createdAt)}
            </time>
            {state !== "theirs" && !deleted && <Icon name={state} label={words.ticks[state]} />}
          </span>
        </div>
        {!deleted && (
          <button className="icon-button more-button" type="button" data-do="menu" aria-label={words.options} aria-haspopup="true">
            <Icon name="more" />
          </button>
        )}
        {removing && (
          <button className="link" type="button" data-do="discard" data-key={removing.key}>
            {words.undo}
          </button>
        )}
      </div>
      )}
      {stored?.reactions && !deleted && (
        <div className="reactions">
          {stored.reactions.map(({ reaction, count, userIds }) => (
            <button
              key={reaction}
              type="button"
              data-do="react"
              data-reaction={reaction}
              aria-pressed={userIds.includes(me)}
              title={words.reacted(reaction, listOf(userIds.map((id) => (id === me ? words.you : nameOf(profiles, id)))))}
            >
              {reaction} {count}
            </button>
          ))}
        </div>
      )}
      {refused?.error && (
        <p className="trouble" role="alert">
          {stored ? words.notChanged : words.notSent} {sentenceOf(refused.error)}{" "}
          <button type="button" className="link" data-do="retry" data-key={refused.key}>
            {words.retry}
          </button>{" "}
          <button type="button" className="link" data-do="discard" data-key={refused.key}>
            {words.discard}
          </button>
        </p>
      )}
    </>
  );
});

function Quote({ quoted, profiles }: { quoted: Stored | null | undefined; profiles: Profiles }) {
  if (!quoted) return <span className="quote">{quoted === null ? words.loading : words.notThere}</span>;
  const name = nameOf(profiles, quoted.senderId);
  return (
    <button className="quote" type="button" data-do="quote" style={hue(quoted.senderId)}>
      <strong dir="auto">
        <span className="visually-hidden">{words.quoteOf("")}</span>
        {name}
      </strong>
      <span dir="auto">{quoted.deletedAt === undefined ? quoted.body : words.deleted}</span>
    </button>
  );
}

interface TextProps {
  text: string;
  mentions: readonly string[];
  me: string;
  profiles: Profiles;
}

/** Text with its web addresses as links, and the names of those whom it mentions marked; all else stays text. */
function Text({ text, mentions, me, profiles }: TextProps) {
  const people = mentions.map((userId) => ({ userId, name: nameOf(profiles, userId) }));
  return linked(text).flatMap((piece, i) => {
    if (piece.href !== undefined) {
      return (
        <a key={i} href={piece.href} target="_blank" rel="noopener noreferrer">
          {piece.text}
        </a>
      );
    }
    return marked(piece.text, people).map(({ text, userId }, j) =>
      userId === undefined ? (
        text
      ) : (
        <mark key={`${i} ${j}`} className={userId === me ? "mention me" : "mention"}>
          {text}
        </mark>
      ),
    );
  });
}
