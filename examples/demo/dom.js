// Small helpers for the page: making and arranging nodes, drawing once per frame, notices. Texts become text nodes only.

import { hueOf, initials } from "./shared/names.js";

export const $ = (id) => document.getElementById(id);

/** Make an element: `el("p", { className: "x", textContent: "y" }, child, …)`; `data` and `aria` take objects. */
export function el(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, data);
  for (const [name, value] of Object.entries(aria)) node.setAttribute(`aria-${name}`, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Write to the DOM only what differs: an equal text must not wake a screen reader or restart an animation. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setData(node, name, value) {
  if (value === null || value === undefined) delete node.dataset[name];
  else if (node.dataset[name] !== String(value)) node.dataset[name] = value;
}

/** Pictures that could not be had: not asked for again. */
const broken = new Set();

/** Initials on the colour that belongs to the id; a picture over them, if there is one, which is told nothing of this page. */
export function paintAvatar(node, id, name, picture = undefined) {
  const wanted = broken.has(picture) ? undefined : picture;
  const painted = `${id}\u0000${name}\u0000${wanted}`;
  if (node.painted === painted) return;
  node.painted = painted;
  node.style.setProperty("--hue", hueOf(id));
  node.replaceChildren(initials(name) || "?");
  if (!wanted) return;
  const image = el("img", { alt: "", width: 44, height: 44, loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
  image.addEventListener("error", () => {
    if (broken.size < 1_000) broken.add(wanted);
    image.remove();
  });
  image.src = wanted;
  node.append(image);
}

// Drawing at most once per frame, and in a hidden page too

const jobs = new Set();
let scheduled = false;

function flush() {
  scheduled = false;
  const due = [...jobs];
  jobs.clear();
  for (const job of due) job();
}

export function draw(...wanted) {
  for (const job of wanted) jobs.add(job);
  if (scheduled) return;
  scheduled = true;
  if (document.hidden) setTimeout(flush, 50);
  else requestAnimationFrame(flush);
}

/** Make `parent` have exactly `nodes`, in that order, moving only what is out of place. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const node of [...parent.children]) if (!wanted.has(node)) node.remove();
  let cursor = parent.firstElementChild;
  for (const node of nodes) {
    if (node === cursor) {
      cursor = cursor.nextElementSibling;
    } else if (cursor && cursor.nextElementSibling === node) {
      // One node went elsewhere: move that one, not everything after it.
      const stray = cursor;
      cursor = node.nextElementSibling;
      stray.remove();
    } else {
      parent.insertBefore(node, cursor);
    }
  }
}

// Notices

const notices = new Map();

export function notice(text) {
  let entry = notices.get(text);
  if (!entry) {
    entry = { node: el("p", { className: "notice", textContent: text }), timer: 0 };
    notices.set(text, entry);
    $("notices").append(entry.node);
  }
  clearTimeout(entry.timer);
  entry.timer = setTimeout(() => {
    notices.delete(text);
    entry.node.classList.add("leaving");
    entry.node.addEventListener("animationend", () => entry.node.remove(), { once: true });
    setTimeout(() => entry.node.remove(), 400);
  }, 4500);
}

export function announce(text) {
  const log = $("announcer");
  log.append(el("p", { textContent: text }));
  while (log.childElementCount > 5) log.firstElementChild.remove();
}
