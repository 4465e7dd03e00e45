// The dialog in which a conversation is started.

import { newKey } from "./client/chat.js";
import { $, setText } from "./dom.js";
import { here } from "./here.js";
import { sentenceOf } from "./shared/words.js";
import { words } from "./words.js";

/** A key for what the dialog holds: pressing the button twice, or again after a lost answer, makes one group. */
let draft = { content: "", key: "" };

function open() {
  $("dialog-form").reset();
  draft = { content: "", key: "" };
  drawDialog();
  $("dialog").showModal();
  $("people").focus();
}

function forGroup() {
  return new FormData($("dialog-form")).get("kind") === "group";
}

function drawDialog() {
  const group = forGroup();
  $("title-field").hidden = !group;
  setText($("people-label"), group ? words.whoIsInIt : words.whoWith);
  setText($("people-hint"), group ? words.namesOfMany : words.nameOfOne);
  setText($("people-error"), "");
  setText($("title-error"), "");
}

async function create(opened) {
  drawDialog();
  const group = forGroup();
  const text = $("people").value.normalize("NFC");
  const names = (group ? text.split(/[,;\n]/u) : [text]).map((name) => name.trim()).filter(Boolean);
  const title = group ? $("new-title").value.trim() : "";
  if (names.length === 0) {
    setText($("people-error"), group ? words.nameSomebody : words.typeAName);
    $("people").focus();
    return;
  }
  if (group && names.length === 1 && !title) {
    setText($("title-error"), words.groupOfTwo);
    $("new-title").focus();
    return;
  }
  const content = JSON.stringify([group, names, title]);
  if (content !== draft.content) draft = { content, key: newKey() };
  $("dialog-create").disabled = true;
  try {
    const { id } = await here.chat.createConversation({
      participantIds: names,
      ...(title && { title }),
      ...(group && { idempotencyKey: draft.key }),
    });
    $("dialog").close();
    opened(id);
  } catch (error) {
    const lines = (name) => [error.fields?.[name] ?? []].flat().filter((line) => typeof line === "string").join(" ");
    setText($("title-error"), lines("title"));
    setText($("people-error"), lines("participantIds") || (lines("title") ? "" : sentenceOf(error)));
  } finally {
    $("dialog-create").disabled = false;
  }
}

/** @param {(id: string) => void} opened  called with the new conversation */
export function listenToDialog(opened) {
  for (const id of ["new", "list-new"]) $(id).addEventListener("click", open);
  for (const id of ["dialog-close", "dialog-cancel"]) $(id).addEventListener("click", () => $("dialog").close());
  for (const radio of $("dialog-form").elements.kind) radio.addEventListener("change", drawDialog);
  $("dialog").addEventListener("click", (event) => {
    if (event.target === $("dialog")) $("dialog").close();
  });
  $("dialog-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void create(opened);
  });
}
