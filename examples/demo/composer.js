// The field to write in: a new message, a reply, or an edit of what was said.

import { $, el, icon, paintAvatar, setText } from "./dom.js";
import { here, nameFor, pictureOf, quietly } from "./here.js";
import { draftOf, keepDraft } from "./shared/drafts.js";
import { mayChange } from "./shared/may.js";
import { candidates, mentionAt, mentioned } from "./shared/mentions.js";
import { words } from "./words.js";

const MOST_CHARS = 4_000; // until the server has said its own bound
const NEAR_MOST = 200;

/** What is written, if it is not simply a new message. @type {{kind: "edit" | "reply", message: object} | null} */
let task = null;
/** What is wrong with what one has just tried. */
let notice = null;
/** Those who are offered for a mention, and which of them is chosen. */
let offered = [];
let chosen = 0;
let wrote = () => {};

/** A conversation was opened: what was begun there is in the field. */
export function openComposer() {
  task = null;
  notice = null;
  fill(draftOf(here.room.id));
  focusComposer();
}

/** A finger has no pointer that is fine: the keyboard would cover half of what one came to read. */
export function focusComposer() {
  if (matchMedia("(pointer: fine)").matches) $("body").focus();
}

/** Write an edit of a message, or an answer to it. */
export function setTask(kind, message) {
  if (kind === "edit" || task?.kind === "edit") fill(kind === "edit" ? message.body : draftOf(here.room.id));
  task = kind && { kind, message };
  notice = null;
  draw();
  $("body").focus();
}

const giveUp = () => setTask(null, null);

function fill(text) {
  $("body").value = text;
  offer();
  draw();
}

/** The others of the conversation. */
function people() {
  return here.room.state.participants.filter(({ userId }) => userId !== here.me.id).map(({ userId }) => ({ userId, name: nameFor(userId) }));
}

function draw() {
  const body = $("body");
  body.style.height = "auto";
  body.style.height = `${body.scrollHeight}px`;
  const most = here.chat.status.limits?.bodyChars ?? MOST_CHARS;
  const left = most === 0 ? Infinity : most - [...body.value].length;
  $("send").disabled = !body.value.trim() || left < 0;
  $("counter").hidden = notice === null && left >= NEAR_MOST;
  $("counter").classList.toggle("over", notice !== null || left < 0);
  setText($("counter"), notice ?? (left < 0 ? words.tooLong(most, -left) : left < NEAR_MOST ? String(left) : ""));
  $("task").hidden = task === null;
  const editing = task?.kind === "edit";
  const label = editing ? words.save : words.send;
  $("send").setAttribute("aria-label", label);
  $("send").title = editing ? words.save : words.sendKey;
  if (!task) return;
  setText($("task-title"), editing ? words.editing : words.replyingTo(nameFor(task.message.senderId ?? here.me.id)));
  setText($("task-text"), task.message.body);
  $("task-icon").replaceChildren(icon(task.kind));
}

/** Offer those who may be meant by what stands at the caret. */
function offer(caret = document.activeElement === $("body") ? $("body").selectionStart : 0) {
  const naming = mentionAt($("body").value, caret);
  offered = naming ? candidates(naming.query, people()) : [];
  chosen = 0;
  const options = offered.map(({ userId, name }, i) => {
    const face = el("span", { className: "avatar", aria: { hidden: "true" } });
    paintAvatar(face, userId, name, pictureOf(userId));
    const option = el("li", { id: `option-${i}`, role: "option" }, face, el("span", { dir: "auto", textContent: name }));
    option.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      mention(offered[i]);
    });
    return option;
  });
  $("mentions").replaceChildren(...options);
  $("mentions").hidden = options.length === 0;
  $("body").toggleAttribute("aria-controls", false);
  if (options.length > 0) $("body").setAttribute("aria-controls", "mentions");
  choose(0);
}

function choose(which) {
  const options = [...$("mentions").children];
  chosen = options.length > 0 ? (which + options.length) % options.length : 0;
  options.forEach((option, i) => option.setAttribute("aria-selected", String(i === chosen)));
  if (options.length > 0) $("body").setAttribute("aria-activedescendant", `option-${chosen}`);
  else $("body").removeAttribute("aria-activedescendant");
}

function mention(person) {
  const body = $("body");
  const naming = mentionAt(body.value, body.selectionStart);
  if (!person || !naming) return;
  body.setRangeText(`@${person.name} `, naming.start, body.selectionStart, "end");
  typed();
}

function typed() {
  const text = $("body").value;
  notice = null;
  if (task?.kind !== "edit") {
    keepDraft(here.room.id, text);
    here.room.setTyping(text.trim() !== "");
  }
  offer();
  draw();
}

function send() {
  const { room } = here;
  const body = $("body").value.replace(/^(?:[^\S\n]*\n)+/u, "").trimEnd(); // the indent of the first line is a part of it
  if (!room || !body || $("send").disabled) return;
  room.setTyping(false);
  const mentions = mentioned(body, people()).map(({ userId }) => userId);
  const which = task && (task.message.seq ?? task.message.key);
  const editing = task?.kind === "edit";
  const taken = quietly(() =>
    editing
      ? room.edit(which, body, { mentions, metadata: task.message.metadata })
      : room.send(body, { mentions, ...(typeof which === "number" && { replyTo: which }) }),
  );
  if (!taken) {
    notice = words.outboxFull;
    draw();
    return;
  }
  if (!editing) keepDraft(room.id, "");
  task = null;
  fill(draftOf(room.id));
  if (!editing) wrote();
}

function editLast() {
  const { messages, pending } = here.room.state;
  const last = [...messages, ...pending].findLast((message) => mayChange(message, here.me.id, here.chat.status.limits?.editWindowS));
  if (last) setTask("edit", last);
}

function pressed(event) {
  // Safari sends the Enter that ends a composition behind its end, and only the code 229 tells.
  if (event.isComposing || event.keyCode === 229) return;
  if (offered.length > 0 && ["ArrowDown", "ArrowUp", "Enter", "Tab", "Escape"].includes(event.key)) {
    if (event.key === "Escape") offer(0);
    else if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else mention(offered[chosen]);
    event.stopPropagation();
  } else if (event.key === "Enter" && !event.shiftKey) {
    send();
  } else if (event.key === "Escape" && task) {
    giveUp();
    event.stopPropagation();
  } else if (event.key === "ArrowUp" && $("body").value === "" && !task) {
    editLast();
  } else {
    return;
  }
  event.preventDefault();
}

/** @param {() => void} then  called when a new message was written */
export function listenToComposer(then) {
  wrote = then;
  const body = $("body");
  body.addEventListener("input", typed);
  body.addEventListener("keydown", pressed);
  body.addEventListener("blur", () => {
    here.room?.setTyping(false);
    if (offered.length > 0) offer(0);
  });
  body.addEventListener("paste", ({ clipboardData: { files, types } }) => {
    if (files.length > 0 && !types.includes("text/plain")) refuse();
  });
  $("task-cancel").addEventListener("click", giveUp);
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
    body.focus();
  });
  // A file that is dropped anywhere would be opened in place of the page.
  for (const type of ["dragover", "drop"]) {
    addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "none";
      if (here.room) refuse();
    });
  }
}

function refuse() {
  notice = words.noFiles;
  draw();
}
