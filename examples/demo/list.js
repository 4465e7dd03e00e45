// The list of conversations: faces, titles, what was said last, what is unread; a field to find one.

import { $, arrange, el, paintAvatar, setData, setText } from "./dom.js";
import { here, nameFor, peerIn, pictureOf } from "./here.js";
import { draftOf } from "./shared/drafts.js";
import { nameOf, plain, titleOf } from "./shared/names.js";
import { listTime } from "./shared/times.js";
import { words } from "./words.js";

const items = new Map();
/** The item that is the tab stop, if it is there. */
let focusId = null;

function makeItem(id) {
  const title = el("span", { className: "item-title", dir: "auto" });
  const time = el("time", { className: "item-time" });
  const text = el("span", { className: "item-text", dir: "auto" });
  const count = el("span", {});
  const unread = el("span", { className: "visually-hidden" });
  const badge = el("span", { className: "badge", hidden: true }, count, unread);
  const face = el("span", { className: "avatar", aria: { hidden: "true" } });
  const dot = el("span", { className: "dot", aria: { hidden: "true" } });
  const button = el(
    "button",
    { type: "button", className: "item", tabIndex: -1, data: { id } },
    el("span", { className: "face" }, face, dot),
    el("span", { className: "item-body" }, el("span", { className: "item-line" }, title, time), el("span", { className: "item-line" }, text, badge)),
  );
  return { node: el("li", {}, button), button, title, time, text, badge, count, unread, face, dot };
}

/** Who wrote, and what; or what was begun, or waits. */
function textOf(conversation) {
  const draft = conversation.id === here.room?.id ? "" : draftOf(conversation.id);
  if (draft) return [words.draft, draft];
  const waiting = here.chat.pending.findLast(({ conversationId, kind }) => conversationId === conversation.id && kind === "send");
  if (waiting) return [waiting.error ? words.ticks.failed : words.you, waiting.body];
  const { preview } = conversation;
  if (!preview) return ["", words.noMessages];
  if (preview.senderId === here.me.id) return [words.you, preview.text];
  return [conversation.kind === "direct" ? "" : nameFor(preview.senderId), preview.text];
}

function drawItem(conversation) {
  let item = items.get(conversation.id);
  if (!item) items.set(conversation.id, (item = makeItem(conversation.id)));
  const { id, online, unreadCount: unread, activityAt } = conversation;
  const peer = peerIn(conversation);
  const name = titleOf(conversation, here.me.id, here.chat.profiles.state);
  const [author, text] = textOf(conversation);
  setText(item.title, name);
  setText(item.text, author ? `${author}: ${text}` : text);
  setText(item.time, listTime(activityAt));
  item.badge.hidden = unread === 0;
  setText(item.count, String(unread));
  setText(item.unread, ` ${words.unread(unread)}`);
  paintAvatar(item.face, peer ?? id, name, peer ? pictureOf(peer) : undefined);
  item.button.classList.toggle("group", !peer);
  item.button.classList.toggle("unread", unread > 0);
  setData(item.dot, "online", peer ? online : null);
  if (here.room?.id === id) item.button.setAttribute("aria-current", "true");
  else item.button.removeAttribute("aria-current");
  return item.node;
}

const wanted = () => plain($("filter").value.trim());

/** By title, and by the names and ids of those in it. */
function matches(conversation, text) {
  const profiles = here.chat.profiles.state;
  const people = conversation.participantIds.filter((id) => id !== here.me.id).flatMap((id) => [id, nameOf(profiles, id)]);
  return [titleOf(conversation, here.me.id, profiles), ...people].some((name) => plain(name).includes(text));
}

export function drawList() {
  const { items: all, loaded, hasMore, unreadConversations } = here.chat.conversations.state;
  const text = wanted();
  // Whoever searches wants all conversations, not those of the first page only.
  if (text && hasMore) void here.chat.conversations.loadMore();
  const listed = text ? all.filter((conversation) => matches(conversation, text)) : all;
  // Moving a node takes the focus away: give it back.
  const focused = document.activeElement?.closest?.("#list .item");
  arrange($("list"), listed.map(drawItem));
  const ids = new Set(all.map(({ id }) => id));
  for (const id of items.keys()) if (!ids.has(id)) items.delete(id);
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  $("list-empty").hidden = !loaded || all.length > 0;
  setText($("list-none"), text && listed.length === 0 && !hasMore ? words.noneOfThatName : "");
  const stops = [focusId, here.room?.id, listed[0]?.id];
  setTabStop(stops.find((id) => listed.some((conversation) => conversation.id === id)));
  document.title = `${unreadConversations > 0 ? `(${unreadConversations}) ` : ""}${here.me.name} · ${words.login}`;
}

/** Only one item is a tab stop; the arrow keys move between them. */
function setTabStop(wantedId) {
  for (const [id, { button }] of items) {
    const tabIndex = id === wantedId ? 0 : -1;
    if (button.tabIndex !== tabIndex) button.tabIndex = tabIndex;
  }
}

export function focusItem(id) {
  items.get(id)?.button.focus({ preventScroll: true });
}

/** @param {(id: string) => void} open */
export function listenToList(open) {
  $("list").addEventListener("click", (event) => {
    const button = event.target.closest(".item");
    if (button) open(button.dataset.id);
  });

  $("list").addEventListener("focusin", (event) => {
    focusId = event.target.closest(".item")?.dataset.id ?? focusId;
    setTabStop(focusId);
  });

  $("list").addEventListener("keydown", (event) => {
    const item = event.target.closest("li");
    const targets = {
      ArrowDown: item?.nextElementSibling,
      ArrowUp: item?.previousElementSibling,
      Home: $("list").firstElementChild,
      End: $("list").lastElementChild,
    };
    if (!(event.key in targets) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    targets[event.key]?.querySelector(".item").focus();
  });

  $("filter").addEventListener("input", drawList);
  $("filter").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && $("filter").value) {
      $("filter").value = "";
      drawList();
    } else if (event.key === "ArrowDown") {
      $("list").querySelector(".item")?.focus();
    } else {
      return;
    }
    event.preventDefault();
  });

  new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting) && here.chat?.conversations.state.hasMore) void here.chat.conversations.loadMore();
    },
    { root: $("list-scroller"), rootMargin: "300px" },
  ).observe($("list-more"));
}
