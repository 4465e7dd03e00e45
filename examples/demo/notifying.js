// The button for desktop notifications, and the notifications.

import { $ } from "./dom.js";
import { here } from "./here.js";
import { Notifier, notifying, setNotifying } from "./shared/notifications.js";
import { words } from "./words.js";

const notifier = new Notifier(new URL("icon.svg", import.meta.url).href);
let refused = false;

function drawButton() {
  const on = notifying();
  const button = $("notify");
  button.hidden = on === null;
  button.setAttribute("aria-pressed", String(on));
  button.title = refused ? words.notifyRefused : on ? words.notifying : words.notify;
}

/** @param {(text: string) => void} say */
export function listenToNotify(say) {
  drawButton();
  $("notify").addEventListener("click", async () => {
    refused = !(await setNotifying(!notifying()));
    if (refused) say(words.notifyRefused);
    drawButton();
  });
}

/** The list has changed. @param {(id: string) => void} open */
export function notify(open) {
  const { chat, me, room } = here;
  notifier.look(chat.conversations.state.all, { me: me.id, openId: room?.id ?? null, profiles: chat.profiles.state, open });
}
