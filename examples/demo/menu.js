// What can be done with one message: in the top layer, beside the button that opened it.

import { $, el, icon } from "./dom.js";
import { words } from "./words.js";

const REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

/**
 * @param {HTMLElement} opener  the button: the menu stands beside it, and gives it the focus back
 * @param {Record<"reply" | "copy" | "edit" | "remove", (() => void) | null> & {react: ((reaction: string) => void) | null}} acts  null: not offered
 */
export function openMenu(opener, acts) {
  const menu = $("menu");
  const button = (act, ...content) => {
    const node = el("button", { type: "button" }, ...content);
    node.addEventListener("click", () => {
      menu.hidePopover(); // gives the focus back first: what follows may take it
      act();
    });
    return node;
  };
  const nodes = [];
  if (acts.react) {
    const picker = REACTIONS.map((reaction) => {
      const node = button(() => acts.react(reaction), reaction);
      node.setAttribute("aria-label", words.react(reaction));
      return node;
    });
    nodes.push(el("div", { className: "picker" }, ...picker));
  }
  for (const name of ["reply", "copy", "edit", "remove"]) {
    if (!acts[name]) continue;
    const node = button(acts[name], icon(name), words[name]);
    if (name === "remove") node.className = "danger";
    nodes.push(node);
  }
  menu.replaceChildren(...nodes);
  placeBeside(menu, opener);
  menu.showPopover();
  menu.querySelector("button").focus();
}

/** Above or below the button, wherever there is more room, and wholly on the screen. */
function placeBeside(menu, opener) {
  const box = opener.getBoundingClientRect();
  const above = box.top > innerHeight / 2;
  menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - 268))}px`;
  menu.style.top = above ? "auto" : `${box.bottom + 4}px`;
  menu.style.bottom = above ? `${innerHeight - box.top + 4}px` : "auto";
}

export function listenToMenu() {
  $("menu").addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.stopPropagation(); // it closes the menu, and not the conversation
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const buttons = [...$("menu").querySelectorAll("button")];
    buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length)?.focus();
    event.preventDefault();
  });
}
