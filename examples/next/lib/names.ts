/** Whom a page names, and how. */
import type { Conversation, Profile } from "chat-socketserver-client/wire";
import type { Words } from "./words";

type Profiles = ReadonlyMap<string, Profile>;

/** The name that the others know somebody by; the id of somebody who has never been here. */
export function nameOf(id: string, profiles: Profiles): string {
  return profiles.get(id)?.name ?? id;
}

/** A conversation's title, or else the others in it. */
export function titleOf({ title, participantIds, participantCount }: Conversation, me: string | null, profiles: Profiles, words: Words): string {
  const names = participantIds.filter((id) => id !== me).map((id) => nameOf(id, profiles));
  const unnamed = participantCount - participantIds.length;
  return title ?? [...names, ...(unnamed > 0 ? [words.others(unnamed)] : [])].join(", ");
}
