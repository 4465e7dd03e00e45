/** The state of the connection: a quiet line while all is well, a bar with the reason and a button when it is not. */
import { ATTEMPTS, type Reason, type Status } from "./connection";
import { useConnection, useWebSocket } from "./WebSocketContext";

/** What the user should know, by code; all else is the server's own sentence. */
const WORDS: Partial<Record<Reason["code"], { text: string; button: string }>> = {
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
};

function words(reason: Reason | undefined) {
  return (reason && WORDS[reason.code]) ?? { text: reason?.message ?? "The connection was lost.", button: "Try again" };
}

function line(status: Status, latencyMs: number | null): string {
  switch (status.state) {
    case "connected":
      return latencyMs === null ? "Connected" : `Connected · ${latencyMs} ms`;
    case "connecting":
      return "Connecting…";
    case "retrying":
      return `Retrying, ${status.attempt} of ${ATTEMPTS}`;
    default:
      return "Not connected";
  }
}

export function WebSocketStatus() {
  const { status, latencyMs } = useConnection();
  return (
    <span className="status-line" data-state={status.state}>
      {line(status, latencyMs)}
    </span>
  );
}

export function WebSocketBar() {
  const { connection } = useWebSocket();
  const { status } = useConnection();
  const { state } = status;
  const { text, button } = words("reason" in status ? status.reason : undefined);
  const stopped = state === "gave_up" || state === "ended";
  return (
    <div className="bar" data-state={state}>
      <p role="status">
        {state === "retrying" && `${text} Retrying, ${status.attempt} of ${ATTEMPTS}.`}
        {state === "gave_up" && `${text} Gave up after ${ATTEMPTS} attempts.`}
        {state === "ended" && text}
      </p>
      {stopped && (
        <button type="button" onClick={connection.connect}>
          {button}
        </button>
      )}
    </div>
  );
}
