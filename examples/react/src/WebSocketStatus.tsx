/** The state of the connection: a quiet line while all is well, a bar with the reason and a button when it is not. */
import { useChat, useStatus } from "chat-socketserver-client/react";

type Status = ReturnType<typeof useStatus>;

/** What the user should know, by code; all else is the server's own sentence. */
const WORDS: Partial<Record<NonNullable<Status["code"]>, { text: string; button: string }>> = {
  replaced: { text: "This chat was opened in another tab or on another device.", button: "Use it here" },
  token_expired: { text: "Your login has expired.", button: "Log in again" },
  invalid_token: { text: "Your login is no longer valid.", button: "Log in again" },
  no_token: { text: "Your login could not be renewed.", button: "Try again" },
  logged_out: { text: "You were logged out.", button: "Log in again" },
  kicked: { text: "An administrator ended the connection.", button: "Connect again" },
  too_many_connects: { text: "There were too many connections in a short time.", button: "Try again" },
  auth_timeout: { text: "You were not logged in in time.", button: "Try again" },
  restart: { text: "The server restarts.", button: "Try again" },
  unreachable: { text: "The server cannot be reached.", button: "Try again" },
  no_network: { text: "You are offline.", button: "Try again" },
};

function words({ code, message }: Status) {
  return (code && WORDS[code]) ?? { text: message ?? "The connection was lost.", button: "Try again" };
}

function line({ state, latencyMs, attempt, of }: Status): string {
  switch (state) {
    case "connected":
      return latencyMs === null ? "Connected" : `Connected · ${latencyMs} ms`;
    case "connecting":
      return "Connecting…";
    case "retrying":
      return `Retrying, ${attempt} of ${of}`;
    default:
      return "Not connected";
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
  const { text, button } = words(status);
  const stopped = (state === "offline" && status.code !== "closed") || state === "ended";
  return (
    <div className="bar" data-state={status.code === "closed" ? "closed" : state}>
      <p role="status">
        {state === "retrying" && `${text} Retrying, ${attempt} of ${of}.`}
        {stopped && text}
        {stopped && state === "offline" && " It is tried again from time to time."}
        {(stopped || state === "retrying") && status.storage === "memory" && " What you write is lost if you close this page."}
      </p>
      {stopped && (
        <button type="button" onClick={chat.connect}>
          {button}
        </button>
      )}
    </div>
  );
}
