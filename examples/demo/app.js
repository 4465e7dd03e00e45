// The demo page: what it shows and how it reacts. The connection and the state live in the chat's client, clients/js.
// What users wrote goes into the page as text nodes only.

import { createChat, newKey } from "./client/chat.js";
import { $, announce, arrange, avatar, draw, el, icon, notice, paintAvatar, setData, setText, textNodes } from "./dom.js";
import { loadClientLibrary, logIn, ROOT, session } from "./session.js";
import {
  agoName,
  clockTime,
  dayName,
  dayOf,
  describe,
  firstGrapheme,
  fullTime,
  hueOf,
  isOnlyEmoji,
  listOf,
  listTime,
  sentence,
  titleOf,
} from "./words.js";

const RUN_MS = 5 * 60_000; // messages closer than this stand together
const NEAR_BOTTOM_PX = 60;
const NEAR_TOP_PX = 600;
const MOST_READERS = 4;
// Rows kept in the page while it follows the newest message; earlier ones come back by scrolling up.
const MOST_ROWS = 400;
const KEPT_ROWS = 200;
const MORE_ROWS = 50;

const phone = matchMedia("(max-width: 760px)");

// Login

function showLogin(message = "") {
  document.title = "socketserver demo";
  $("shell").hidden = true;
  $("login").hidden = false;
  setText($("login-error"), message);
  $("login-name").focus();
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("login-name").value.trim();
  const button = event.submitter ?? $("login-form").querySelector("button");
  if (!name) {
    setText($("login-error"), "Please type a name.");
    $("login-name").focus();
    return;
  }
  button.disabled = true;
  try {
    await logIn(name);
    setText($("login-error"), "");
    await start();
  } catch (error) {
    showLogin(error.message);
  } finally {
    button.disabled = false;
  }
});

// The chat

let chat;
let me;
/** The open conversation: its room, until it is closed. */
let room = null;
/** Up to which message everything was drawn or read out; null before the first answer. */
let announcedTo = null;
/** The open conversation's rows, by sender and idempotency key: a pending bubble and its message are one node. */
let rows = new Map();
let dayRows = new Map();
let rowOfSeq = new Map();
let dividerAfter = null;
/** Messages before this seq are at hand but not drawn. */
let drawFrom = 0;
let newBelow = 0;
let followBottom = true;
const items = new Map();
const drafts = new Map(Object.entries(JSON.parse(sessionStorage.getItem("chat.drafts") ?? "{}")));
let focusId = null;

async function start() {
  await loadClientLibrary();
  me = session.user;
  chat = createChat({
    options: { path: `${ROOT}socket.io/` },
    user: me,
    getToken: async ({ renew }) => (renew ? (await logIn(me.id)).token : session.token),
  });
  $("login").hidden = true;
  $("shell").hidden = false;
  paintAvatar($("me-avatar"), me.id, me.name);
  setText($("me-name"), me.name);

  chat.subscribe(drawStatus);
  chat.conversations.subscribe(() => draw(drawList, drawHead));

  drawStatus();
  drawList();
  followAddress();
  updateVisible();
  chat.connect();
}

async function logOut() {
  await chat.logOut();
  session.clear();
  sessionStorage.removeItem("chat.drafts");
  history.replaceState(null, "", ROOT);
  try {
    await fetch(ROOT + "session", { method: "DELETE" });
  } catch {
    // The cookie stays; this tab has forgotten its token.
  }
  // A fresh page is the surest way to leave nothing of one user to the next.
  location.reload();
}

$("logout").addEventListener("click", () => void logOut());

// Status

let drawnStatus = null;

function drawStatus() {
  const { status } = chat;
  if (status.state === drawnStatus?.state && status.attempt === drawnStatus.attempt && status.code === drawnStatus.code) {
    draw(drawList); // what waits, or how long the last answer took
    return;
  }
  drawnStatus = status;
  const { line, bar = "", busy = false, button = "", tone = "quiet" } = describe(status);
  setData($("shell"), "status", status.state);
  setText($("me-status"), line);
  setData($("shell"), "tone", tone);
  setData($("bar"), "tone", tone);
  $("bar").classList.toggle("open", bar !== "");
  $("bar").classList.toggle("busy", busy);
  // While the bar folds it keeps its words; a folded one is not read out, so the status has a place of its own for that.
  if (bar) setText($("bar-text"), bar);
  setText($("status"), bar || line);
  $("bar-button").hidden = !button;
  if (button) setText($("bar-button"), button);
  const loginIsOver = status.state === "ended" && (status.code === "invalid_token" || status.code === "token_expired");
  if (loginIsOver) setText($("bar-button"), "Log in again");
  draw(drawHead, drawList, drawMessages);
}

$("bar-button").addEventListener("click", () => {
  const { code } = chat.status;
  if (code === "invalid_token" || code === "token_expired") void logOut();
  else chat.connect();
});

// The list

function makeItem(conversation) {
  const title = el("span", { className: "item-title", dir: "auto" });
  const time = el("time", { className: "item-time" });
  const text = el("span", { className: "item-text", dir: "auto" });
  const badge = el("span", { className: "badge", hidden: true });
  const face = el("span", { className: "avatar", aria: { hidden: "true" } });
  const dot = el("span", { className: "dot", aria: { hidden: "true" } });
  const button = el(
    "button",
    { type: "button", className: "item", tabIndex: -1, data: { id: conversation.id } },
    el("span", { className: "face" }, face, dot),
    el("span", { className: "item-body" }, el("span", { className: "item-line" }, title, time), el("span", { className: "item-line" }, text, badge)),
  );
  return { node: el("li", {}, button), button, title, time, text, badge, face, dot };
}

const conversations = () => chat.conversations.state.items;
const conversationOf = (id) => conversations().find((conversation) => conversation.id === id);
const connected = () => chat.status.state === "connected";

/** All others once the conversation is open, else the first of them. */
function othersIn(conversation) {
  const known = room?.id === conversation.id ? room.state.participants.map(({ userId }) => userId) : [];
  return (known.length > 0 ? known : conversation.participantIds).filter((id) => id !== me.id);
}

function directPeer(conversation) {
  return conversation.kind === "direct" ? othersIn(conversation)[0] : null;
}

function previewText(conversation) {
  const draft = conversation.id === room?.id ? null : drafts.get(conversation.id);
  if (draft) return `Draft: ${draft}`;
  const waiting = chat.pending.findLast(({ conversationId }) => conversationId === conversation.id);
  if (waiting) return waiting.error ? `Not sent: ${waiting.body}` : `You: ${waiting.body}`;
  const { preview } = conversation;
  if (!preview) return conversation.kind === "direct" ? "Say hello" : listOf(othersIn(conversation), conversation.participantCount - 1);
  if (preview.senderId === me.id) return `You: ${preview.text}`;
  return conversation.kind === "direct" ? preview.text : `${preview.senderId}: ${preview.text}`;
}

function drawList() {
  const { items: listed, loaded, unreadTotal } = chat.conversations.state;
  for (const conversation of listed) {
    let item = items.get(conversation.id);
    if (!item) items.set(conversation.id, (item = makeItem(conversation)));
    const peer = directPeer(conversation);
    const name = titleOf(conversation, me);
    const { online } = conversation;
    const unread = conversation.unreadCount;
    const state = [name, previewText(conversation), unread, online, dayOf(Date.now()), conversation.activityAt].join("\u0000");
    if (item.state !== state) {
      item.state = state;
      setText(item.title, name);
      setText(item.text, previewText(conversation));
      setText(item.time, listTime(conversation.activityAt));
      item.badge.hidden = unread === 0;
      setText(item.badge, unread > 99 ? "99+" : String(unread));
      item.badge.setAttribute("aria-label", `${unread} unread`);
      paintAvatar(item.face, peer ?? conversation.id, name);
      item.button.classList.toggle("group", !peer);
      item.button.classList.toggle("unread", unread > 0);
      setData(item.dot, "online", peer ? online : null);
    }
    const current = room?.id === conversation.id;
    if (current !== (item.button.getAttribute("aria-current") === "true")) {
      if (current) item.button.setAttribute("aria-current", "true");
      else item.button.removeAttribute("aria-current");
    }
  }
  // Moving a node takes the focus away: give it back.
  const focused = document.activeElement?.closest?.("#list .item");
  arrange($("list"), listed.map((conversation) => items.get(conversation.id).node));
  if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
  $("list-empty").hidden = !loaded || listed.length > 0;
  setListFocus(focusId && items.has(focusId) ? focusId : (room?.id ?? listed[0]?.id));
  document.title = `${unreadTotal ? `(${unreadTotal}) ` : ""}${me.name} · socketserver demo`;
}

/** Only one item is a tab stop; the arrow keys move between them. */
function setListFocus(id) {
  for (const [itemId, item] of items) {
    const tabIndex = itemId === id ? 0 : -1;
    if (item.button.tabIndex !== tabIndex) item.button.tabIndex = tabIndex;
  }
}

$("list").addEventListener("click", (event) => {
  const button = event.target.closest(".item");
  if (button) openConversation(button.dataset.id, { focus: true });
});

$("list").addEventListener("focusin", (event) => {
  const button = event.target.closest(".item");
  if (!button) return;
  focusId = button.dataset.id;
  setListFocus(focusId);
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

new IntersectionObserver(
  (entries) => {
    if (entries.some((entry) => entry.isIntersecting) && chat?.conversations.state.hasMore) void chat.conversations.loadMore();
  },
  { root: $("list-scroller"), rootMargin: "300px" },
).observe($("list-more"));

// Opening and closing; the address remembers it, so that the browser's own back button works

function addressed() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, such as #%E0%A4%A: no conversation has that id
  }
}

function openConversation(id, { focus = false } = {}) {
  if (addressed() !== id) {
    const address = `${location.pathname}${location.search}#${encodeURIComponent(id)}`;
    if (addressed()) history.replaceState(history.state, "", address);
    else history.pushState({ fromList: true }, "", address);
  }
  followAddress();
  if (focus) $("body").focus();
}

function closeConversation() {
  if (!addressed()) return;
  if (history.state?.fromList) {
    history.back();
  } else {
    history.replaceState(null, "", location.pathname + location.search);
    followAddress();
  }
}

/** Show what the address names. */
function followAddress() {
  if (!chat) return;
  const id = addressed();
  const conversation = id ? conversationOf(id) : null;
  if (!conversation) {
    // Named, but not known yet: the list will bring it.
    if (!id || chat.conversations.state.loaded) showNothing();
    return;
  }
  if (room?.id === id) return;
  keepDraft();
  leave();
  dividerAfter = conversation.unreadCount > 0 ? conversation.readSeq : null;
  room = chat.open(id);
  stopListening = room.subscribe(roomMoved);
  announcedTo = room.state.cursor === null ? null : room.state.lastSeq;
  focusId = id;
  rows = new Map();
  dayRows = new Map();
  rowOfSeq = new Map();
  drawFrom = 0;
  newBelow = 0;
  followBottom = true;
  $("messages").replaceChildren();
  $("nothing").hidden = true;
  $("conversation").hidden = false;
  $("body").value = drafts.get(conversation.id) ?? "";
  fitComposer();
  setData($("shell"), "view", "chat");
  drawHead();
  drawMessages();
  drawTyping();
  drawList();
  $("scroller").scrollTop = 0;
  updateVisible();
}

let stopListening = () => {};

function leave() {
  stopListening();
  room?.setTyping(false);
  room?.close();
  room = null;
}

function showNothing() {
  const id = room?.id;
  keepDraft();
  setData($("shell"), "view", "list");
  leave();
  $("nothing").hidden = false;
  $("conversation").hidden = true;
  drawList();
  if (id) items.get(id)?.button.focus({ preventScroll: true });
}

function keepDraft() {
  if (!room) return;
  if ($("body").value.trim()) drafts.set(room.id, $("body").value);
  else drafts.delete(room.id);
  try {
    sessionStorage.setItem("chat.drafts", JSON.stringify(Object.fromEntries(drafts)));
  } catch {
    // As long as the page, then.
  }
}

addEventListener("popstate", followAddress);
$("back").addEventListener("click", closeConversation);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || $("dialog").open || !room) return;
  event.preventDefault();
  if (phone.matches) closeConversation();
  else if (document.activeElement?.closest("#list")) closeConversation();
  else items.get(room.id)?.button.focus();
});

function drawHead() {
  const conversation = room && conversationOf(room.id);
  if (!conversation) {
    if (addressed()) followAddress();
    return;
  }
  const peer = directPeer(conversation);
  const name = titleOf(conversation, me);
  setText($("title"), name);
  paintAvatar($("head-avatar"), peer ?? conversation.id, name);
  $("head-avatar").classList.toggle("group", !peer);
  $("conversation").classList.toggle("is-group", !peer);
  const people = room.state.participants;
  let subtitle;
  if (peer) {
    const presence = people.find(({ userId }) => userId === peer);
    if (presence?.online) subtitle = "online";
    else if (presence?.lastSeenAt) subtitle = `last seen ${agoName(presence.lastSeenAt)}`;
    else subtitle = "offline";
    setData($("subtitle"), "online", presence?.online ?? false);
  } else {
    const online = Math.max(1, people.filter((each) => each.userId === me.id || each.online).length);
    subtitle = `${listOf(["You", ...othersIn(conversation)], conversation.participantCount)} · ${online} online`;
    setData($("subtitle"), "online", false);
  }
  if (!connected()) {
    subtitle = peer ? "" : listOf(["You", ...othersIn(conversation)], conversation.participantCount);
    setData($("subtitle"), "online", false);
  }
  setText($("subtitle"), subtitle);
}

setInterval(() => {
  if (chat) draw(drawHead, drawList);
}, 30_000);

// Messages

/** Something of the open conversation moved: what is new is read out, and counted if it is out of sight. */
function roomMoved() {
  const { messages, cursor, lastSeq } = room.state;
  if (announcedTo !== null) {
    const theirs = messages.filter(({ seq, senderId }) => seq > announcedTo && senderId !== me.id);
    if (!followBottom || document.hidden) newBelow += theirs.length;
    const newest = theirs.at(-1);
    if (newest) announce(`${newest.senderId}: ${newest.body}`);
  }
  if (cursor !== null) announcedTo = lastSeq;
  draw(drawMessages, drawTyping, drawHead);
}

function makeRow(message) {
  const mine = message.senderId === me.id;
  const row = { mine, sender: message.senderId, tick: null, state: null, day: dayOf(message.createdAt), trouble: null, readers: null };
  row.body = el("span", { className: "body", dir: "auto" }, ...textNodes(message.body));
  // A reader that hears one row alone has to hear who wrote it.
  const who = el("span", { className: "visually-hidden", textContent: `${mine ? "You" : message.senderId}: ` });
  row.time = el("time", {});
  row.meta = el("span", { className: "meta" }, row.time);
  row.bubble = el("div", { className: "bubble" }, who, row.body, row.meta);
  if (isOnlyEmoji(message.body)) row.bubble.classList.add("emoji");
  row.line = el("div", { className: "line" }, row.bubble);
  row.node = el("li", { className: mine ? "row mine" : "row", data: { key: message.idempotencyKey ?? message.key } }, row.line);
  if (mine) {
    row.tick = el("span", { className: "tick", role: "img" });
    row.meta.append(row.tick);
  } else {
    row.bubble.prepend(el("span", { className: "author", dir: "auto", textContent: message.senderId, aria: { hidden: "true" } }));
    row.bubble.style.setProperty("--hue", hueOf(message.senderId));
    row.line.prepend(avatar(message.senderId, "avatar small"));
  }
  setRowTime(row, message.createdAt);
  return row;
}

function setRowTime(row, ms) {
  row.createdAt = ms;
  row.day = dayOf(ms);
  setText(row.time, clockTime.format(ms));
  row.time.dateTime = new Date(ms).toISOString();
  row.time.title = fullTime.format(ms);
}

/** `waiting`, `failed`, `sent`, `read` (by some) or `seen` (by all). */
function setRowState(row, state, label) {
  if (row.state === state && row.label === label) return;
  if (row.state !== state) {
    setData(row.node, "state", state);
    if (row.tick) row.tick.replaceChildren(icon({ waiting: "clock", failed: "alert", sent: "sent", read: "read", seen: "read" }[state]));
  }
  row.state = state;
  row.label = label;
  if (row.tick) {
    row.tick.setAttribute("aria-label", label);
    row.tick.title = label;
  }
}

function setTrouble(row, entry) {
  if (!entry?.error) {
    row.trouble?.remove();
    row.trouble = null;
    return;
  }
  if (row.trouble) return;
  const retry = el("button", { type: "button", className: "link", textContent: "Try again" });
  const discard = el("button", { type: "button", className: "link", textContent: "Discard" });
  retry.addEventListener("click", () => {
    room.retry(entry.key);
    $("body").focus();
  });
  discard.addEventListener("click", () => {
    room.discard(entry.key);
    $("body").focus();
  });
  row.trouble = el("p", { className: "trouble", role: "alert" }, el("span", { textContent: `Not sent. ${sentence(entry.error)}` }), retry, discard);
  row.node.append(row.trouble);
}

function dayRow(day) {
  let node = dayRows.get(day);
  if (!node) {
    node = el("li", { className: "day" }, el("span", {}));
    dayRows.set(day, node);
  }
  setText(node.firstElementChild, dayName(day));
  return node;
}

const divider = el("li", { className: "divider" }, el("span", { textContent: "New messages" }));

function drawMessages() {
  if (!room) return;
  const { messages, pending } = room.state;
  const scroller = $("scroller");
  const heightBefore = scroller.scrollHeight;
  const lastBefore = $("messages").lastElementChild;
  const keep = !followBottom;

  const nodes = [];
  const used = new Set();
  let previous = null;
  let first = true;
  const add = (message, key, entry) => {
    let row = rows.get(key);
    if (!row) {
      row = makeRow(message);
      rows.set(key, row);
      if (lastBefore) row.node.classList.add("fresh");
    }
    used.add(key);
    if (row.createdAt !== message.createdAt) setRowTime(row, message.createdAt);
    if (message.seq && row.seq !== message.seq) {
      row.seq = message.seq;
      setData(row.node, "seq", message.seq);
      rowOfSeq.set(message.seq, row);
    }
    let joinsPrevious = previous !== null && previous.sender === message.senderId && message.createdAt - previous.createdAt < RUN_MS;
    if (previous === null || previous.row.day !== row.day) {
      nodes.push(dayRow(row.day));
      joinsPrevious = false;
    }
    if (dividerAfter !== null && message.seq > dividerAfter && (first || previous.seq <= dividerAfter)) {
      nodes.push(divider);
      joinsPrevious = false;
    }
    first = false;
    row.node.classList.toggle("begins", !joinsPrevious);
    previous?.row.node.classList.toggle("ends", !joinsPrevious);
    setTrouble(row, entry);
    if (entry) {
      const label = entry.error ? "Not sent" : connected() ? "Sending" : "Waiting for the connection";
      setRowState(row, entry.error ? "failed" : "waiting", label);
    }
    nodes.push(row.node);
    previous = { sender: message.senderId, createdAt: message.createdAt, seq: message.seq ?? Infinity, row };
  };
  let start = firstDrawn(messages);
  if (followBottom && messages.length - start > MOST_ROWS) {
    start = messages.length - KEPT_ROWS;
    drawFrom = messages[start].seq;
  }
  for (let i = start; i < messages.length; i += 1) {
    add(messages[i], `${messages[i].senderId}/${messages[i].idempotencyKey}`, null);
  }
  for (const entry of pending) {
    add({ ...entry, senderId: me.id }, `${me.id}/${entry.key}`, entry);
  }
  previous?.row.node.classList.add("ends");
  for (const [key, row] of rows) {
    if (used.has(key)) continue;
    rows.delete(key);
    rowOfSeq.delete(row.seq);
  }
  arrange($("messages"), nodes);
  drawMarks();

  setText($("history"), start > 0 ? "Loading earlier messages…" : historyText());
  // The scroller is laid out from its bottom: what grows above moves nothing, what grows below must be made up for.
  if (keep && lastBefore && $("messages").lastElementChild !== lastBefore) {
    scroller.scrollTop -= scroller.scrollHeight - heightBefore;
  } else if (!keep) {
    scroller.scrollTop = 0;
  }
  drawJump();
  if (nearTop()) void showOlder();
}

function firstDrawn(messages) {
  const start = drawFrom === 0 ? 0 : messages.findIndex((message) => message.seq >= drawFrom);
  return Math.max(0, start);
}

function historyText() {
  const { messages, cursor, hasOlder, error } = room.state;
  if (error) return sentence(error);
  if (cursor === null) return connected() ? "Loading…" : "";
  if (hasOlder) return "Loading earlier messages…";
  if (messages.length === 0) return "No messages yet.";
  return "This is where the conversation begins.";
}

/** Ticks on one's own messages, and in groups the faces of those who have read up to a message. */
function drawMarks() {
  if (!room) return;
  const { participants, messages, conversation } = room.state;
  const others = participants.map(({ userId }) => userId).filter((id) => id !== me.id);
  const marks = participants.filter(({ userId }) => userId !== me.id).map(({ readSeq }) => readSeq);
  const known = others.length > 0 && others.length + 1 >= (conversation?.participantCount ?? Infinity); // of a large group the others are on their way
  const all = known ? Math.min(...marks) : 0;
  const some = Math.max(0, ...marks);
  const last = messages.at(-1)?.seq ?? 0;
  const group = conversation?.kind === "group";
  const readersOf = new Map();
  if (group) {
    others.forEach((id, i) => {
      const seq = Math.min(marks[i], last);
      if (rowOfSeq.has(seq)) readersOf.set(seq, [...(readersOf.get(seq) ?? []), id]);
    });
  }
  for (const [seq, row] of rowOfSeq) {
    if (!row.mine) setRowState(row, "received", "");
    else if (seq <= all) setRowState(row, "seen", group ? "Read by all" : "Read");
    else if (seq <= some) setRowState(row, "read", `Read by ${listOf(others.filter((_, i) => marks[i] >= seq))}`);
    else setRowState(row, "sent", "Sent");
    const readers = (readersOf.get(seq) ?? []).filter((id) => id !== row.sender);
    const state = readers.join("\u0000");
    if ((row.readersState ?? "") === state) continue;
    row.readersState = state;
    row.readers?.remove();
    row.readers = null;
    if (readers.length === 0) continue;
    row.readers = el("div", { className: "readers", role: "img", title: `Read by ${listOf(readers)}`, aria: { label: `Read by ${listOf(readers)}` } });
    for (const id of readers.slice(0, MOST_READERS)) row.readers.append(avatar(id, "avatar tiny", firstGrapheme(id)));
    if (readers.length > MOST_READERS) row.readers.append(`+${readers.length - MOST_READERS}`);
    row.node.append(row.readers);
  }
}

function drawTyping() {
  const names = room?.state.typing ?? [];
  $("typing").hidden = names.length === 0;
  if (names.length > 0) setText($("typing-text"), `${listOf(names)} ${names.length === 1 ? "is" : "are"} typing`);
  else setText($("typing-text"), "");
}

// Scrolling. The scroller's scrollTop is 0 at the bottom and negative above.

function nearTop() {
  const { scrollTop, scrollHeight, clientHeight } = $("scroller");
  return scrollHeight - clientHeight + scrollTop < NEAR_TOP_PX;
}

async function showOlder() {
  const messages = room?.state.messages ?? [];
  const start = firstDrawn(messages);
  if (start > 0) {
    drawFrom = start > MORE_ROWS ? messages[start - MORE_ROWS].seq : 0;
    draw(drawMessages);
    return;
  }
  if (room?.state.hasOlder) await room.loadOlder(); // once, however often it is asked
}

function drawJump() {
  $("jump").hidden = followBottom;
  setText($("jump-text"), newBelow > 0 ? `${newBelow} new` : "");
  $("jump").setAttribute("aria-label", newBelow > 0 ? `${newBelow} new messages, go to the newest` : "Go to the newest message");
}

$("scroller").addEventListener(
  "scroll",
  () => {
    const bottom = $("scroller").scrollTop > -NEAR_BOTTOM_PX;
    if (bottom !== followBottom) {
      followBottom = bottom;
      if (bottom) {
        newBelow = 0;
        draw(drawMessages);
      }
      drawJump();
      updateVisible();
    }
    if (nearTop()) void showOlder();
  },
  { passive: true },
);

$("jump").addEventListener("click", () => {
  toBottom();
  $("body").focus();
});

function toBottom() {
  followBottom = true;
  newBelow = 0;
  $("scroller").scrollTop = 0;
  drawJump();
  updateVisible();
}

/** The newest messages are seen if one has scrolled down to them; whether somebody looks at the page the client knows. */
function updateVisible() {
  room?.setVisible(followBottom);
}

for (const type of ["visibilitychange", "focus", "pageshow"]) {
  addEventListener(type, () => {
    updateVisible();
    if (!document.hidden && chat) draw(drawList, drawMessages);
  }, true);
}

// Writing

function fitComposer() {
  const body = $("body");
  body.style.height = "auto";
  body.style.height = `${body.scrollHeight}px`;
  const length = [...body.value].length;
  const most = chat?.status.limits?.bodyChars ?? 4000;
  $("send").disabled = !body.value.trim() || length > most;
  $("counter").hidden = length < most * 0.8;
  $("counter").classList.toggle("over", length > most);
  setText($("counter"), $("counter").hidden ? "" : String(most - length));
}

$("body").addEventListener("input", () => {
  fitComposer();
  room?.setTyping($("body").value.trim() !== "");
  keepDraft();
});

$("body").addEventListener("blur", () => room?.setTyping(false));

$("body").addEventListener("keydown", (event) => {
  // Safari sends the Enter that ends a composition behind its end, and only the code 229 tells.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  sendMessage();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  sendMessage();
  $("body").focus();
});

function sendMessage() {
  const body = $("body").value.trim();
  if (!room || !body || $("send").disabled) return;
  dividerAfter = null;
  try {
    room.send(body);
  } catch (error) {
    notice(sentence(error)); // too many wait already
    return;
  }
  $("body").value = "";
  keepDraft();
  fitComposer();
  toBottom();
}

// A new conversation

/** A key for what the dialog holds: pressing the button twice, or again after a lost answer, makes one group. */
let draft = { content: "", key: "" };

function openDialog() {
  $("dialog-form").reset();
  draft = { content: "", key: "" };
  drawDialog();
  $("dialog").showModal();
  $("people").focus();
}

function dialogKind() {
  return new FormData($("dialog-form")).get("kind");
}

function drawDialog() {
  const group = dialogKind() === "group";
  $("title-field").hidden = !group;
  setText($("people-label"), group ? "Who is in it?" : "Who with?");
  setText($("people-hint"), group ? "Names, with commas between." : "The name that the other person logs in with.");
  setText($("people-error"), "");
  setText($("title-error"), "");
}

for (const id of ["new", "list-new"]) $(id).addEventListener("click", openDialog);
for (const id of ["dialog-close", "dialog-cancel"]) $(id).addEventListener("click", () => $("dialog").close());
for (const radio of $("dialog-form").elements.kind) radio.addEventListener("change", drawDialog);

$("dialog").addEventListener("click", (event) => {
  if (event.target === $("dialog")) $("dialog").close();
});

$("dialog-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  drawDialog();
  const group = dialogKind() === "group";
  const text = $("people").value.normalize("NFC");
  const names = (group ? text.split(/[,;\n]/u) : [text]).map((name) => name.trim()).filter(Boolean);
  const title = group ? $("new-title").value.trim() : "";
  if (names.length === 0) {
    setText($("people-error"), group ? "Please name somebody." : "Please type a name.");
    $("people").focus();
    return;
  }
  if (group && names.length === 1 && !title) {
    setText($("title-error"), "A group of two needs a title.");
    $("new-title").focus();
    return;
  }
  const content = JSON.stringify([group, names, title]);
  if (content !== draft.content) draft = { content, key: newKey() };
  $("dialog-create").disabled = true;
  try {
    const { id } = await chat.createConversation({
      participantIds: names,
      ...(title && { title }),
      ...(group && { idempotencyKey: draft.key }),
    });
    $("dialog").close();
    openConversation(id, { focus: true });
  } catch (error) {
    const lines = (name) => [error.fields?.[name] ?? []].flat().filter((line) => typeof line === "string").join(" ");
    setText($("title-error"), lines("title"));
    setText($("people-error"), lines("participantIds") || (lines("title") ? "" : sentence(error)));
  } finally {
    $("dialog-create").disabled = false;
  }
});

// Begin

async function begin() {
  // A link may propose a name, but not log anybody in: that takes a click.
  const wanted = new URLSearchParams(location.search).get("user")?.trim();
  try {
    if (session.user && session.token && (!wanted || session.user.id === wanted.normalize())) {
      await start();
    } else {
      $("login-name").value = wanted ?? "";
      showLogin();
    }
  } catch (error) {
    showLogin(error.message);
  }
}

void begin();
