// What the page says: times, names, colours for names, sentences about errors and the connection. No DOM.

export const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const shortWeekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const longDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
export const fullTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function dayOf(ms) {
  const date = new Date(ms);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Whole days from then until today; rounded, because a day may have 23 or 25 hours. */
function daysSince(day) {
  return Math.round((dayOf(Date.now()) - day) / 86_400_000);
}

export function dayName(day) {
  const days = daysSince(day);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? weekday.format(day) : longDate.format(day);
}

export function listTime(ms) {
  const days = daysSince(dayOf(ms));
  if (days <= 0) return clockTime.format(ms);
  return days < 7 ? shortWeekday.format(ms) : shortDate.format(ms);
}

export function agoName(ms) {
  const minutes = Math.max(0, Math.round((Date.now() - ms) / 60_000));
  if (minutes < 60) return minutes < 1 ? "just now" : ago.format(-minutes, "minute");
  const hours = Math.round(minutes / 60);
  return hours < 24 ? ago.format(-hours, "hour") : ago.format(-Math.round(hours / 24), "day");
}

/** Names as a phrase; `count` is how many there are if only the first of them are known. */
export function listOf(names, count = names.length) {
  if (count <= 2) return names.join(" and ");
  return `${names[0]}, ${names[1]} and ${count === 3 && names.length === 3 ? names[2] : `${count - 2} others`}`;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

export function firstGrapheme(text) {
  return graphemes.segment(text)[Symbol.iterator]().next().value?.segment ?? "?";
}

export function initials(name) {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  if (words.length === 0) return "?";
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return chosen.map(firstGrapheme).join("").toUpperCase();
}

/** A hue, the same for a name everywhere; similar names get hues far apart (FNV-1a). */
export function hueOf(name) {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return (hash >>> 0) % 360;
}

export function isOnlyEmoji(text) {
  if (text.length > 40 || !/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(text)) return false;
  if (/[^\p{Extended_Pictographic}\p{Emoji_Component}\s]|^[\d#*\s]+$/u.test(text)) return false;
  return [...graphemes.segment(text)].filter(({ segment }) => segment.trim()).length <= 3;
}

/** What to say to the user about an error; the server's own sentences are for developers. */
export function sentence(error) {
  switch (error?.code) {
    case "rate_limited":
      return "A little too fast. What you wrote is sent in a moment.";
    case "timeout":
      return "The server is slow to answer.";
    case "disconnected":
      return "There is no connection at the moment.";
    case "store_unavailable":
    case "overloaded":
      return "The server cannot store messages at the moment.";
    case "internal_error":
      return "The server made a mistake.";
    case "conversation_not_found":
      return "This conversation does not exist, or you do not take part in it.";
    case "invalid_payload":
      return Object.values(error.fields ?? {}).flat(9).filter((line) => typeof line === "string").join(" ") || error.message;
    default:
      return error?.message ?? "Something went wrong.";
  }
}

/** What to call a conversation: its title, else the others in it. */
export function titleOf(conversation, me) {
  if (conversation.title) return conversation.title;
  const unnamed = conversation.participantCount - conversation.participantIds.length;
  const names = conversation.participantIds.filter((id) => id !== me.id).join(", ") || me.name;
  return unnamed > 0 ? `${names} and ${unnamed} more` : names;
}

export function describe(status) {
  const reasons = {
    no_network: "You are offline.",
    replaced: "The chat was opened in another tab or window, so this one is paused.",
    restart: "The server restarted.",
    rate_limited: "Too many connections in a short time.",
    auth_timeout: "The login took too long.",
    invalid_token: "The login is no longer valid.",
    token_expired: "The login has expired.",
  };
  const reason = reasons[status.code] ?? (status.code === "unreachable" || status.code === "closed" ? "" : (status.message ?? ""));
  switch (status.state) {
    case "connected":
      return { line: "Connected" };
    case "connecting":
      return { line: "Connecting…", bar: "Connecting…", busy: true };
    case "retrying": {
      const text = `Connection lost. Retrying, ${status.attempt} of ${status.of}…`;
      return { line: `Retrying ${status.attempt} of ${status.of}`, bar: reason ? `${reason} ${text}` : text, busy: true, tone: "warn" };
    }
    case "offline": {
      if (status.code === "closed") return { line: "Offline" };
      const text = `${reason || "The server cannot be reached."} It is tried again from time to time.`;
      return { line: "Not connected", bar: text, button: "Try again", tone: "bad" };
    }
    case "ended":
      return {
        line: status.code === "replaced" ? "Paused" : "Not connected",
        bar: reason || "The connection was ended.",
        button: status.code === "replaced" ? "Use it here" : "Reconnect",
        tone: status.code === "replaced" ? "quiet" : "bad",
      };
    default:
      return { line: "Offline" };
  }
}
