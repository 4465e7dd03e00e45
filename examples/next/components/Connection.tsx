"use client";

import { useChat, useStatus } from "chat-socketserver-client/react";
import { useWords } from "./Language";

/** Empty while all is well; else why not, what happens now, and a button where nothing happens by itself. */
export function Connection() {
  const words = useWords();
  const { connect } = useChat();
  const { state, code, message, attempt, of, storage } = useStatus();
  const stopped = state === "ended" || (state === "offline" && code !== "closed");
  const troubled = stopped || state === "retrying";
  return (
    <div className="bar" data-state={state}>
      <p role="status">
        {troubled && (words.status[code ?? ""] ?? message)}
        {state === "retrying" && ` ${words.retrying(attempt, of)}`}
        {troubled && storage === "memory" && ` ${words.lostWithPage}`}
      </p>
      {stopped && <button onClick={connect}>{code === "replaced" ? words.useHere : words.tryAgain}</button>}
    </div>
  );
}
