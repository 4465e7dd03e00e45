// The state of the connection: a quiet line while all is well, a bar with the reason and a button when it is not.

import { $, setData, setText } from "./dom.js";
import { here } from "./here.js";
import { words } from "./words.js";

/** How a state looks: the line beside one's name, and the bar. */
function describe(status) {
  const { state, code, attempt, of, latencyMs } = status;
  const { text, button } = words.ends[code] ?? { text: status.message ?? words.lost, button: words.tryAgain };
  const notKept = status.storage === "memory" ? ` ${words.notKept}` : "";
  switch (state) {
    case "connected":
      return { line: words.connected(latencyMs) };
    case "connecting":
      return { line: words.connecting, bar: words.connecting, busy: true };
    case "retrying":
      return { line: words.retrying(attempt, of), bar: `${text} ${words.retrying(attempt, of)}.${notKept}`, busy: true, tone: "warn" };
    case "offline":
      if (code === "closed") return { line: words.disconnected };
      return { line: words.disconnected, bar: `${text} ${words.goesOn}${notKept}`, button, tone: "bad" };
    default: {
      const paused = code === "replaced";
      return { line: paused ? words.paused : words.disconnected, bar: text, button, tone: paused ? "quiet" : "bad" };
    }
  }
}

/** @returns whether more than the time of an answer has changed */
export function drawStatus() {
  const { status } = here.chat;
  const { line, bar = "", busy = false, button = "", tone = "quiet" } = describe(status);
  const drawn = `${status.state} ${status.attempt} ${status.code}`;
  setText($("me-status"), line);
  if (drawn === $("shell").dataset.drawn) return false;
  setData($("shell"), "drawn", drawn);
  setData($("shell"), "status", status.state);
  setData($("shell"), "tone", tone);
  setData($("bar"), "tone", tone);
  $("bar").classList.toggle("open", bar !== "");
  $("bar").classList.toggle("busy", busy);
  // While the bar folds it keeps its words; a folded one is not read out, so the status has a place of its own for that.
  if (bar) setText($("bar-text"), bar);
  setText($("status"), bar || line);
  $("bar-button").hidden = !button;
  if (button) setText($("bar-button"), button);
  return true;
}

/** @param {() => void} logOut  for a login that is over */
export function listenToBar(logOut) {
  $("bar-button").addEventListener("click", () => {
    const { code } = here.chat.status;
    if (code === "invalid_token" || code === "token_expired") logOut();
    else here.chat.connect();
  });
}
