"use client";

import { useChat } from "chat-socketserver-client/react";
import { memo } from "react";
import { useWords } from "./Language";

interface Props {
  conversationId: string;
  /** The idempotencyKey. */
  messageKey: string;
  /** Null: oneself. */
  author: string | null;
  body: string;
  createdAt: number;
  /** When the message above was sent: another day begins with its name. */
  previousAt: number | null;
  state: "sending" | "notSent" | "sent" | "read";
  /** Why the server does not take it. */
  problem: string | null;
}

const TICKS = { sending: "…", notSent: "!", sent: "✓", read: "✓✓" };

/** One message. Memoised, with plain values: a new one draws itself, and not the thousand above. */
export const Bubble = memo(function Bubble(props: Props) {
  const { conversationId, messageKey, author, body, createdAt, previousAt, state, problem } = props;
  const words = useWords();
  const { retry, discard } = useChat().room(conversationId);
  const sentAt = new Date(createdAt);
  const newDay = previousAt === null || new Date(previousAt).toDateString() !== sentAt.toDateString();
  return (
    <li className={author === null ? "mine" : undefined} data-state={state}>
      {newDay && <p className="day">{sentAt.toLocaleDateString(words.locale, { weekday: "long", day: "numeric", month: "long" })}</p>}
      <div className="bubble">
        <span className={author === null ? "hidden" : "author"} dir="auto">
          {author ?? words.you}
          <span className="hidden">: </span>
        </span>
        <span className="body" dir="auto">
          {body}
        </span>
        <small>
          <time dateTime={sentAt.toISOString()}>{sentAt.toLocaleTimeString(words.locale, { hour: "2-digit", minute: "2-digit" })}</time>
          {author === null && (
            <span role="img" aria-label={words[state]}>
              {TICKS[state]}
            </span>
          )}
        </small>
      </div>
      {problem !== null && (
        <p className="problem" role="alert">
          {words.notSent} {problem} <button onClick={() => retry(messageKey)}>{words.tryAgain}</button>{" "}
          <button onClick={() => discard(messageKey)}>{words.discard}</button>
        </p>
      )}
    </li>
  );
});
