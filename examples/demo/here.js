// Who this tab is, and what it has open: the few things that every part of the page asks for.

import { nameOf } from "./shared/names.js";

export const here = {
  /** The client, once somebody is logged in. */
  chat: null,
  /** The user. */
  me: null,
  /** The open conversation: its room, until it is closed. */
  room: null,
};

export const nameFor = (id) => nameOf(here.chat.profiles.state, id);
export const pictureOf = (id) => here.chat.profiles.state.get(id)?.avatar;
export const connected = () => here.chat.status.state === "connected";
export const conversationOf = (id) => here.chat.conversations.state.all.find((conversation) => conversation.id === id);

/** The other side of a direct conversation; null in a group. */
export function peerIn(conversation) {
  return conversation.kind === "direct" ? (conversation.participantIds.find((id) => id !== here.me.id) ?? null) : null;
}

/** What to do with a promise of what is written: what becomes of it, the row says. */
export function quietly(act) {
  try {
    act()?.stored?.catch(() => {});
    return true;
  } catch {
    return false; // too many wait already
  }
}
