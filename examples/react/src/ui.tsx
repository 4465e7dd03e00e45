/** Small things that several components draw: icons, faces, times. */
import type { Chat } from "chat-socketserver-client";
import type { CSSProperties } from "react";

/** What the list knows of a conversation. */
export type Item = Chat["conversations"]["state"]["items"][number];

const ICONS = {
  plus: "M12 5v14M5 12h14",
  leave: "M10 4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h4M15 8l4 4-4 4M19 12H9",
  back: "M15 5l-7 7 7 7",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  close: "M6 6l12 12M18 6L6 18",
  send: "M5 12h13M13 6l6 6-6 6",
  waiting: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M12 8v4.5l2.5 1.5",
  failed: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M12 8v5M12 16v.2",
  sent: "M5 12.5l5 5L19 7.5",
  seen: "M2 12.5l5 5L16 7.5M12 16.9l.7.6L22 7.5",
};

export function Icon({ name, label }: { name: keyof typeof ICONS; label?: string }) {
  return (
    <svg
      className="icon"
      viewBox="0 0 24 24"
      aria-hidden={label === undefined}
      role={label && "img"}
      aria-label={label}
    >
      <path d={ICONS[name]} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" fill="currentColor" aria-hidden="true">
      <path opacity=".45" d="M6 4h14a4 4 0 0 1 4 4v7a4 4 0 0 1-4 4h-8l-5 4v-4H6a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z" />
      <path d="M13 12h13a4 4 0 0 1 4 4v6a4 4 0 0 1-4 4v4l-5-4h-8a4 4 0 0 1-4-4v-6a4 4 0 0 1 4-4z" />
    </svg>
  );
}

/** Initials on a colour that belongs to the name. */
export function Avatar({ name, group = false, online }: { name: string; group?: boolean; online?: boolean }) {
  const words = name.split(/[\s_-]+|\.(?=\p{L})/u).filter(Boolean);
  const initials = [words[0], words.length > 1 ? words.at(-1) : undefined].map(
    (word) => Array.from(word ?? "")[0] ?? "",
  );
  return (
    <span className={group ? "avatar group" : "avatar"} style={hue(name)} aria-hidden="true">
      {initials.join("").toUpperCase() || "?"}
      {online !== undefined && <span className="dot" data-online={online} />}
    </span>
  );
}

export function hue(name: string): CSSProperties {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return { "--hue": Math.round((hash * 0.618034) % 360) } as CSSProperties;
}

/** A conversation's title, or else the others in it. */
export function titleOf(
  conversation: { title: string | null; participantIds: readonly string[]; participantCount: number },
  me: string,
): string {
  const unnamed = conversation.participantCount - conversation.participantIds.length;
  const names = conversation.participantIds.filter((id) => id !== me).join(", ") || me;
  return conversation.title ?? (unnamed > 0 ? `${names} and ${unnamed} more` : names);
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });

/** The start of the day, as a number to compare and to name days by. */
export function dayOf(ms: number): number {
  return new Date(ms).setHours(0, 0, 0, 0);
}

export function clockTime(ms: number): string {
  return clock.format(ms);
}

export function dayName(day: number): string {
  const days = Math.round((dayOf(Date.now()) - day) / 86_400_000); // a day may have 23 or 25 hours
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? weekday.format(day) : date.format(day);
}

export function listTime(ms: number): string {
  const day = dayOf(ms);
  return day === dayOf(Date.now()) ? clockTime(ms) : dayName(day);
}
