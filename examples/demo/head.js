// The head of the open conversation, who types in it, and what is read out of it.

import { $, announce, paintAvatar, setData, setText } from "./dom.js";
import { connected, conversationOf, here, nameFor, peerIn, pictureOf } from "./here.js";
import { titleOf } from "./shared/names.js";
import { clockTime, dayInWords } from "./shared/times.js";
import { listOf, words } from "./words.js";

const NAMED = 3;

/** All others once they are known, else the first of them. */
function othersIn(conversation) {
  const known = here.room.state.participants.map(({ userId }) => userId);
  return (known.length > 0 ? known : conversation.participantIds).filter((id) => id !== here.me.id);
}

function presenceOf(peer) {
  const person = here.room.state.participants.find(({ userId }) => userId === peer);
  if (person?.online) return words.online;
  if (here.chat.profiles.state.get(peer)?.known === false) return words.neverHere;
  if (!person?.lastSeenAt) return words.offline;
  return words.lastSeen(`${dayInWords(person.lastSeenAt)}, ${clockTime(person.lastSeenAt)}`);
}

function membersOf(conversation) {
  const names = [words.you, ...othersIn(conversation).map(nameFor)];
  const count = conversation.participantCount;
  const line = count <= NAMED && names.length >= count ? listOf(names) : words.andMore(names.slice(0, 2).join(", "), count - 2);
  if (!connected()) return line;
  const online = here.room.state.participants.filter(({ userId, online }) => online || userId === here.me.id).length;
  return words.onlineIn(line, Math.max(1, online));
}

export function drawHead() {
  const conversation = here.room && conversationOf(here.room.id);
  if (!conversation) return;
  const peer = peerIn(conversation);
  const name = titleOf(conversation, here.me.id, here.chat.profiles.state);
  setText($("title"), name);
  paintAvatar($("head-avatar"), peer ?? conversation.id, name, peer ? pictureOf(peer) : undefined);
  $("head-avatar").classList.toggle("group", !peer);
  $("conversation").classList.toggle("is-group", !peer);
  const presence = peer && (connected() ? presenceOf(peer) : "");
  setText($("subtitle"), peer ? presence : membersOf(conversation));
  setData($("subtitle"), "online", presence === words.online);
}

export function drawTyping() {
  const names = (here.room?.state.typing ?? []).map(nameFor);
  $("typing").hidden = names.length === 0;
  setText($("typing-text"), names.length > 0 ? words.typing(listOf(names), names.length) : "");
}

/** Reads new messages of others out: the history itself would be read again at every change. */
export class Announcer {
  /** Up to which message everything was drawn or read out; null before the first answer. */
  #to;

  constructor({ cursor, lastSeq }) {
    this.#to = cursor === null ? null : lastSeq;
  }

  look({ messages, cursor, lastSeq }) {
    const last = messages.at(-1);
    if (this.#to !== null && last && last.seq > this.#to) {
      const newest = messages.findLast(({ seq, senderId, kind }) => seq > this.#to && senderId !== here.me.id && kind !== "system");
      if (newest) announce(`${nameFor(newest.senderId)}: ${newest.body}`);
    }
    if (cursor !== null) this.#to = lastSeq;
  }
}
