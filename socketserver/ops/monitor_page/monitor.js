// The monitoring page: asks the server every few seconds for what is new, and shows it. No framework, no build.
//
// GET data?cursor=… gives the points since the cursor, GET users?… the list, POST disconnect ends sockets; see
// docs/operations.md. The page shows a server that is away as a gap, and goes on by itself when it is back. It asks
// nothing while its tab is hidden: what it missed meanwhile is in the server's history.

import { Bars, LANGUAGE, Lines, make, timeWithSeconds } from "./charts.js";

const HOUR = 3_600_000;
const MINUTE = 60_000;
const POLL = 5_000;
const RETRY = 2_000; // when nothing answers
const RETRY_REFUSED = 30_000; // each time a browser may ask for the token, and wrong ones are limited
const PATIENCE = 8_000;
const SEARCH_DELAY = 200;
const NEWS_STAY = 15_000;

const $ = (id) => document.getElementById(id);
const base = new URL(".", import.meta.url);

// What the charts can show.
const SPANS = [10 * MINUTE, 30 * MINUTE, HOUR];

// What the server told, and what the user chose; a span of null is the shortest that shows all there is.
const known = { points: [], starts: [], cursor: "", server: null, skew: 0, step: POLL, awaySince: null };
const wanted = { span: null, search: "", sort: "user", order: "asc" };

// Numbers as text

const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const digits = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 2 });

const count = (value) => whole.format(value);
const rate = (value) => (value >= 10 || Number.isInteger(value) ? whole : digits).format(value);
const millis = (value) => (value >= 999.5 ? `${rate(value / 1000)} s` : `${rate(value)} ms`);

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = value < 1 ? 0 : Math.min(3, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  const text = (power === 0 || scaled >= 100 || Number.isInteger(scaled) ? whole : new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 })).format(scaled);
  return `${text} ${units[power]}`;
}

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} days`;
}

// Charts

let pointed = null;
const charts = [];
const choices = document.querySelectorAll("input[name=span]");

function pointAt(at) {
  pointed = at;
  for (const chart of charts) chart.point(at);
}

/** Something that is known for a stretch of points: of all that end with this one and are not older than `ms`. */
function over(ms, compute) {
  const results = new WeakMap();
  return (point) => {
    if (!results.has(point)) {
      const last = known.points.indexOf(point);
      let first = last;
      while (first > 0 && known.points[first - 1].at > point.at - ms && known.points[first - 1].run === point.run) first -= 1;
      results.set(point, compute(known.points.slice(first, last + 1)));
    }
    return results.get(point);
  };
}

const sum = (points, key) => points.reduce((total, point) => total + point[key], 0);
const perMinute = (key) => over(MINUTE, (points) => sum(points, key));
// Over half a minute, because single steps of a chat jump.
const perSecond = (key) => over(MINUTE / 2, (points) => {
  const span = sum(points, "spanMs");
  return span > 0 ? (sum(points, key) * 1000) / span : null;
});

function buildCharts() {
  const parent = $("charts");
  charts.push(
    new Lines(parent, {
      title: "Connected", format: count, least: 4,
      series: [
        { key: "users", label: "users", className: "c1", area: true },
        { key: "sockets", label: "sockets", className: "c2" },
      ],
    }, pointAt),
    new Lines(parent, {
      title: "Connects", unit: "per minute", format: count, least: 4,
      series: [
        { key: "reconnects", label: "reconnects", className: "c3", value: perMinute("reconnects"), area: true },
        { key: "connects", label: "all", className: "c2", value: perMinute("connects") },
      ],
    }, pointAt),
    new Lines(parent, {
      title: "Message latency", format: millis, least: 4, ago: (ms) => `${duration(ms)} ago`,
      series: [
        { key: "ackP50Ms", label: "ack, median", className: "c1" },
        { key: "ackP95Ms", label: "ack, 95 %", className: "c3" },
        { key: "fanoutP95Ms", label: "delivery, 95 %", className: "c2" },
      ],
    }, pointAt),
    new Lines(parent, {
      title: "Messages", unit: "per second", format: rate, least: 1,
      series: [{ key: "messages", label: "stored", className: "c1", area: true, value: perSecond("messages") }],
    }, pointAt),
    new Lines(parent, {
      title: "Memory", format: bytes, base: 2, least: 64 * 2 ** 20,
      series: [
        { key: "memoryBytes", label: "resident", className: "c1", area: true },
        { key: "outboxBytes", label: "unread outboxes", className: "c3" },
      ],
    }, pointAt),
    new Bars(parent, {
      title: "Ended", unit: "by reason", key: "ends", format: count, least: 4,
      colours: {
        client_disconnect: "e1", transport_close: "e2", ping_timeout: "e3", replaced: "e4",
        restart: "e5", slow_consumer: "e6", kicked: "e7", token_expired: "e8",
      },
    }, pointAt),
  );
}

/** The span that is shown, of what is known since `first`. */
function shownSpan(to, first) {
  return wanted.span ?? SPANS.find((span) => to - first <= span) ?? HOUR;
}

function drawCharts() {
  if (known.server === null) return;
  const to = Date.now() + known.skew;
  const span = shownSpan(to, known.points[0]?.at ?? to);
  for (const choice of choices) choice.checked = Number(choice.value) === span;
  const from = to - span;
  const first = known.points.findIndex(({ at }) => at >= from);
  const points = first < 0 ? [] : known.points.slice(first);
  for (const chart of charts) {
    chart.draw({ points, from, to, step: known.step, starts: known.starts.filter((at) => at < to), away: known.awaySince !== null });
    chart.point(pointed);
  }
}

// Asking

class Refused extends Error {}

async function ask(path, options = {}) {
  const response = await fetch(new URL(path, base), { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  const answer = await response.json();
  if (answer.ok !== true) throw new Refused(answer.error?.message ?? `The server answered ${response.status}.`);
  return answer;
}

function take({ server, cursor, stepMs, now, points }) {
  if (known.server?.startedAt !== server.startedAt) {
    known.server = server;
    known.starts = [...known.starts, server.startedAt].slice(-20);
    showServer();
  }
  known.cursor = cursor;
  known.step = stepMs;
  known.skew = now - Date.now();
  const names = Object.keys(points);
  points.at.forEach((at, index) => {
    known.points.push({ ...Object.fromEntries(names.map((name) => [name, points[name][index]])), run: server.startedAt });
  });
  const oldest = now - HOUR - MINUTE;
  known.points = known.points.filter(({ at }) => at >= oldest);
}

let timer = null;
let asking = false;

async function poll() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  let wait = POLL;
  try {
    take(await ask(`data?cursor=${encodeURIComponent(known.cursor)}`));
    $("page").hidden = false;
    known.awaySince = null;
    await listPeople();
    if (!document.hidden) say("live", "Live");
  } catch (error) {
    known.awaySince ??= Date.now() + known.skew;
    if (error instanceof Refused) {
      wait = RETRY_REFUSED;
      say("refused", error.message);
    } else {
      wait = RETRY;
      say("away", `No answer since ${timeWithSeconds(known.awaySince)}; trying again`);
    }
  } finally {
    asking = false;
    drawCharts();
    showFacts();
    showCount();
    if (!document.hidden) timer = setTimeout(poll, wait);
  }
}

/** Say the page's state, once; a screen reader hears each change. */
function say(state, text) {
  const status = $("status");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = state;
  document.body.dataset.state = state; // what is on the page is old while the server is away, and looks so
}

// The server

function showFacts() {
  if (known.server === null) return;
  const { version, startedAt, store } = known.server;
  const up = duration((known.awaySince ?? Date.now() + known.skew) - startedAt);
  $("facts").textContent = `socketserver ${version} · ${store} · up ${up}`;
  const people = known.points.at(-1)?.users;
  document.title = known.awaySince !== null ? "Away · Monitor" : `${count(people ?? 0)} ${people === 1 ? "user" : "users"} · Monitor`;
}

function showServer() {
  const { version, startedAt, store, settings } = known.server;
  const started = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "medium" }).format(startedAt);
  const facts = [["version", version], ["started", started], ["store", store], ...settings.map(({ name, value, unit }) => [name, `${value}${unit ? ` ${unit}` : ""}`])];
  $("settings").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

// Who is connected

const rows = new Map(); // sid → row
let listing = 0;

async function listPeople() {
  const turn = (listing += 1);
  const query = new URLSearchParams({ search: wanted.search, sort: wanted.sort, order: wanted.order });
  const answer = await ask(`users?${query}`);
  if (turn === listing) showPeople(answer); // else a newer question is on its way
}

/** Ask at once, because the user wants something else to be listed. */
async function listNow() {
  try {
    await listPeople();
  } catch {
    poll(); // which says what is wrong
  }
}

let counted = null; // what the last list said

/** Say how many there are; while the server is away, how many there were, and when. */
function showCount() {
  if (counted === null) return;
  const { shown, found, matching, sockets, users } = counted;
  $("count").textContent = [
    `${count(users)} ${users === 1 ? "user" : "users"} on ${count(sockets)} ${sockets === 1 ? "socket" : "sockets"}`,
    ...(found ? [`${count(matching)} found`] : []),
    ...(shown < matching ? [`the first ${count(shown)} shown`] : []),
    ...(known.awaySince !== null ? [`before ${timeWithSeconds(known.awaySince)}`] : []),
  ].join(" · ");
}

function showPeople({ sockets, matching, totalSockets, totalUsers }) {
  const shown = sockets.length;
  counted = { shown, found: wanted.search !== "", matching, sockets: totalSockets, users: totalUsers };
  showCount();
  const focused = document.activeElement;
  const place = [...$("rows").children].findIndex((row) => row.contains(focused));
  const present = new Set(sockets.map(({ sid }) => sid));
  for (const [sid, row] of rows) {
    if (!present.has(sid)) {
      row.element.remove();
      rows.delete(sid);
    }
  }
  let before = null;
  for (const socket of sockets.toReversed()) {
    const row = rows.get(socket.sid) ?? new Row(socket.sid);
    rows.set(socket.sid, row);
    row.show(socket);
    if (row.element.nextSibling !== before || row.element.parentNode === null) $("rows").insertBefore(row.element, before);
    before = row.element;
  }
  // What has the focus keeps it when its row moves; when its row goes, the next one gets it.
  if (place >= 0 && document.activeElement !== focused) {
    const next = $("rows").contains(focused) ? focused : $("rows").children[Math.min(place, shown - 1)]?.querySelector("button");
    (next ?? $("search")).focus({ preventScroll: true });
  }
  $("nobody").hidden = shown > 0;
  $("nobody").textContent = wanted.search ? "Nobody fits this search." : "Nobody is connected.";
}

class Row {
  constructor(sid) {
    this.sid = sid;
    this.user = make("b");
    this.more = make("span", { class: "soft" });
    this.narrow = make("small", { class: "narrow" });
    this.address = make("td", { class: "wide mono" });
    this.transport = make("td", { class: "wide" });
    this.age = make("td", { class: "number" });
    this.unread = make("td", { class: "number" });
    this.button = make("button", { type: "button", class: "end" }, "Disconnect");
    this.button.addEventListener("click", () => confirmEnd(this.socket));
    this.element = make(
      "tr", {},
      make("th", { scope: "row" }, this.user, " ", this.more, this.narrow),
      make("td", { class: "wide mono" }, sid),
      this.address, this.transport, this.age, this.unread,
      make("td", { class: "act" }, this.button),
    );
  }

  show(socket) {
    this.socket = socket;
    const { userId, name, userSockets, address, transport, ageMs, unreadBytes } = socket;
    write(this.user, userId ?? "not logged in");
    this.user.classList.toggle("nobody", userId === null);
    write(this.more, [name !== userId ? name : "", userSockets > 1 ? `${userSockets} sockets` : ""].filter(Boolean).join(" · "));
    write(this.narrow, `${transport} · ${address}`);
    write(this.address, address);
    write(this.transport, transport);
    write(this.age, duration(ageMs));
    write(this.unread, bytes(unreadBytes));
    this.unread.classList.toggle("much", unreadBytes > 65536);
    this.button.setAttribute("aria-label", `Disconnect ${userId ?? this.sid}`);
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let typing = null;

$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    wanted.search = $("search").value.trim();
    listNow();
  }, SEARCH_DELAY);
});

const columns = [...document.querySelectorAll("th[data-sort]")];

function showSort() {
  for (const column of columns) {
    if (column.dataset.sort === wanted.sort) column.setAttribute("aria-sort", wanted.order === "asc" ? "ascending" : "descending");
    else column.removeAttribute("aria-sort");
  }
}

for (const column of columns) {
  column.firstElementChild.addEventListener("click", () => {
    const first = column.dataset.sort === "user" ? "asc" : "desc"; // numbers: the largest first
    const other = first === "asc" ? "desc" : "asc";
    wanted.order = column.dataset.sort === wanted.sort && wanted.order === first ? other : first;
    wanted.sort = column.dataset.sort;
    showSort();
    listNow();
  });
}

// Disconnecting

function confirmEnd(socket) {
  const { sid, userId, userSockets } = socket;
  const dialog = $("confirm");
  const [, one, all] = dialog.querySelectorAll("button");
  $("confirm-title").textContent = `Disconnect ${userId ?? `socket ${sid}`}?`;
  one.textContent = userSockets > 1 ? "Only this socket" : "Disconnect";
  all.textContent = `All ${userSockets} sockets`;
  all.hidden = userSockets < 2;
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue && end(dialog.returnValue === "userId" ? { userId } : { sid }, userId ?? sid);
  dialog.showModal();
}

let newsStay = null;

async function end(whom, who) {
  const news = $("news");
  clearTimeout(newsStay);
  try {
    const { ended } = await ask("disconnect", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(whom),
    });
    news.textContent = ended === 0 ? `${who} was gone already.` : `${who} was disconnected${ended > 1 ? ` from ${ended} sockets` : ""}.`;
  } catch (error) {
    news.textContent = error instanceof Refused ? error.message : `No answer; ${who} may still be connected.`;
  }
  newsStay = setTimeout(() => news.replaceChildren(), NEWS_STAY);
  await listNow();
}

// Beginning

for (const choice of choices) {
  choice.addEventListener("change", () => {
    wanted.span = Number(choice.value);
    drawCharts();
  });
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (document.hidden) say("paused", "Paused");
  else poll();
});

buildCharts();
showSort();
poll();
