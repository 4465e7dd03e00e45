// Which conversation is open. The address says so: it survives a reload, and the browser's back button leads to the list.

import { focusComposer, openComposer, setTask } from "./composer.js";
import { $, draw, setData } from "./dom.js";
import { Announcer, drawHead, drawTyping } from "./head.js";
import { conversationOf, here, quietly } from "./here.js";
import { History } from "./history.js";
import { drawList, focusItem } from "./list.js";
import { openMenu } from "./menu.js";
import { mayChange } from "./shared/may.js";

/** So long a deletion waits, and can be undone. */
const UNDO_MS = 6_000;

const phone = matchMedia("(max-width: 760px)");
let shown = null;
let announcer = null;
let stopListening = () => {};

function addressed() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, such as #%E0%A4%A: no conversation has that id
  }
}

export function openConversation(id) {
  if (addressed() !== id) {
    const address = `${location.pathname}${location.search}#${encodeURIComponent(id)}`;
    if (addressed()) history.replaceState(history.state, "", address);
    else history.pushState({ fromList: true }, "", address);
  }
  if (here.room?.id === id) focusComposer();
  else followAddress();
}

export function closeConversation() {
  if (!addressed()) return;
  if (history.state?.fromList) {
    history.back();
  } else {
    history.replaceState(null, "", location.pathname + location.search);
    followAddress();
  }
}

/** Show what the address names. */
export function followAddress() {
  if (!here.chat) return;
  const id = addressed();
  if (!id || !conversationOf(id)) {
    // Named, but not known yet: the list will bring it.
    if (!id || here.chat.conversations.state.loaded) showNothing();
    return;
  }
  if (here.room?.id === id) return;
  leave();
  here.room = here.chat.open(id);
  stopListening = here.room.subscribe(() => draw(roomMoved));
  announcer = new Announcer(here.room.state);
  $("nothing").hidden = true;
  $("conversation").hidden = false;
  setData($("shell"), "view", "chat");
  shown = new History(here.room);
  openComposer();
  drawHead();
  drawTyping();
  drawList();
}

function leave() {
  stopListening();
  shown?.close();
  shown = null;
  here.room?.setTyping(false);
  here.room?.close();
  here.room = null;
}

function showNothing() {
  const id = here.room?.id;
  setData($("shell"), "view", "list");
  leave();
  $("nothing").hidden = false;
  $("conversation").hidden = true;
  drawList();
  if (id) focusItem(id);
}

function roomMoved() {
  if (!here.room) return;
  announcer.look(here.room.state);
  drawConversation();
  drawTyping();
}

/** All that the open conversation shows. */
export function drawConversation() {
  shown?.draw();
  drawHead();
}

export function wrote() {
  shown?.wrote();
}

/** A button of a row was pressed: one listener for all of them. */
function act(button) {
  const { room } = here;
  const message = shown.messageAt(button);
  if (!message) return;
  const { seq } = message;
  const { key = "", reaction = "" } = button.dataset;
  switch (button.dataset.do) {
    case "menu":
      return offer(message, button);
    case "react":
      return void quietly(() => room.react(seq, reaction, button.ariaPressed !== "true"));
    case "quote":
      return shown.show(message.replyTo);
    case "retry":
      room.retry(key);
      return $("body").focus();
    case "discard":
      room.discard(key);
      return $("body").focus();
  }
}

function offer(message, button) {
  const { room, me, chat } = here;
  const { seq } = message;
  const { editWindowS, deleteWindowS } = chat.status.limits ?? {};
  openMenu(button, {
    react: seq ? (reaction) => quietly(() => room.react(seq, reaction)) : null,
    reply: seq ? () => setTask("reply", message) : null,
    copy: () => void navigator.clipboard.writeText(message.body),
    edit: mayChange(message, me.id, editWindowS) ? () => setTask("edit", message) : null,
    remove: mayChange(message, me.id, deleteWindowS)
      ? () => quietly(() => (seq ? room.remove(seq, { undoMs: UNDO_MS }) : room.remove(message.key)))
      : null,
  });
}

export function listenToConversation() {
  addEventListener("popstate", followAddress);
  $("back").addEventListener("click", closeConversation);
  $("messages").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (button) act(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || $("dialog").open || !here.room) return;
    event.preventDefault();
    if (phone.matches) closeConversation();
    else if (document.activeElement?.closest("#list")) closeConversation();
    else focusItem(here.room.id);
  });
}
