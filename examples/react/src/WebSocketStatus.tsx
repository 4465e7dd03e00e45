/** The state of the connection: a quiet line while all is well, a bar with the reason and a button when it is not. */
import { useChat, useStatus } from "chat-socketserver-client/react";
import { words } from "../../shared/words.js";

type Status = ReturnType<typeof useStatus>;

/** What the user should know, by code; all else is the server's own sentence. */
function reasonOf({ code, message }: Status) {
  return (code && words.ends[code]) ?? { text: message ?? words.lost, button: words.tryAgain };
}

function line({ state, latencyMs, attempt, of }: Status): string {
  switch (state) {
    case "connected":
      return words.connected(latencyMs);
    case "connecting":
      return words.connecting;
    case "retrying":
      return words.retrying(attempt, of);
    default:
      return words.disconnected;
  }
}

export function WebSocketStatus() {
  const status = useStatus();
  return (
    <span className="status-line" data-state={status.state}>
      {line(status)}
    </span>
  );
}

export function WebSocketBar() {
  const chat = useChat();
  const status = useStatus();
  const { state, attempt, of } = status;
  const { text, button } = reasonOf(status);
  const stopped = (state === "offline" && status.code !== "closed") || state === "ended";
  const sentences = [
    ...(stopped || state === "retrying" ? [text] : []),
    ...(state === "retrying" ? [`${words.retrying(attempt, of)}.`] : []),
    ...(stopped && state === "offline" ? [words.goesOn] : []),
    ...((stopped || state === "retrying") && status.storage === "memory" ? [words.notKept] : []),
  ];
  return (
    <div className="bar" data-state={status.code === "closed" ? "closed" : state}>
      <p role="status">{sentences.join(" ")}</p>
      {stopped && (
        <button type="button" onClick={chat.connect}>
          {button}
        </button>
      )}
    </div>
  );
}
