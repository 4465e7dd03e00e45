/** Small things that several components draw: icons and faces. */
import { useState, type CSSProperties } from "react";
import type { Chat } from "chat-socketserver-client";
import { hueOf, initials } from "../../shared/names.js";

/** What the list knows of a conversation. */
export type Item = Chat["conversations"]["state"]["items"][number];

const ICONS = {
  plus: "M12 5v14M5 12h14",
  leave: "M10 4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h4M15 8l4 4-4 4M19 12H9",
  people: "M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M2.5 19c.6-3.4 3.2-5 6.5-5s5.9 1.6 6.5 5M16 5.5a3.3 3.3 0 0 1 0 6.2M18 14.4c2 .7 3.2 2.3 3.5 4.6",
  pin: "M9 4h6l-1 7 3 3H7l3-3zM12 14v6",
  muted: "M4 10v4h3l5 4V6L7 10zM16 10l4 4M20 10l-4 4",
  unread: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8",
  archive: "M4 5h16v4H4zM6 9v10h12V9M10 13h4",
  more: "M5 12h.1M12 12h.1M19 12h.1",
  reply: "M10 6l-6 6 6 6M4 12h9a7 7 0 0 1 7 7",
  edit: "M5 19l1-4L16 5l3 3L9 18z",
  remove: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  copy: "M9 9h10v11H9zM15 9V5H5v11h4",
  check: "M5 12.5l5 5L19 7.5",
  bell: "M6 16v-5a6 6 0 0 1 12 0v5l1.5 2h-15zM10 20.5h4",
  search: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12M15 15l5 5",
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

interface AvatarProps {
  /** Of the user, or of the conversation: the colour belongs to it. */
  id: string;
  name: string;
  picture?: string | undefined;
  group?: boolean;
  online?: boolean | undefined;
}

/** A picture, which is told nothing of this page; as long as there is none, or it cannot be had, initials on a colour. */
export function Avatar({ id, name, picture, group = false, online }: AvatarProps) {
  const [failed, setFailed] = useState<string>();
  return (
    <span className={group ? "avatar group" : "avatar"} style={hue(id)} aria-hidden="true">
      {initials(name) || "?"}
      {picture && picture !== failed && (
        <img
          src={picture}
          alt=""
          width={44}
          height={44}
          loading="lazy"
          decoding="async"
          referrerPolicy="no-referrer"
          onError={() => setFailed(picture)}
        />
      )}
      {online !== undefined && <span className="dot" data-online={online} />}
    </span>
  );
}

export function hue(id: string): CSSProperties {
  return { "--hue": hueOf(id) } as CSSProperties;
}
