// The demo page: it puts the parts together. The connection and the state live in the chat's client, clients/js.
// What users wrote goes into the page as text nodes only.

import { createChat } from "./client/chat.js";
import { listenToComposer } from "./composer.js";
import { listenToDialog } from "./dialog.js";
import { $, draw, notice, paintAvatar, setText } from "./dom.js";
import { here, nameFor, pictureOf } from "./here.js";
import { drawList, listenToList } from "./list.js";
import { listenToLogin, showLogin } from "./login.js";
import { listenToMenu } from "./menu.js";
import { listenToNotify, notify } from "./notifying.js";
import { drawConversation, followAddress, listenToConversation, openConversation, wrote } from "./opening.js";
import { loadClientLibrary, logIn, ROOT, session } from "./session.js";
import { forgetDrafts, onDrafts } from "./shared/drafts.js";
import { forgetPlaces } from "./shared/places.js";
import { drawStatus, listenToBar } from "./status.js";
import { translate } from "./words.js";

const AGAIN_MS = 30_000; // days and "last seen" grow old

async function start() {
  await loadClientLibrary();
  here.me = session.user;
  const chat = createChat({
    options: { path: `${ROOT}socket.io/` },
    user: here.me,
    getToken: async ({ renew }) => (renew ? (await logIn(here.me.id)).token : session.token),
  });
  here.chat = chat;
  $("login").hidden = true;
  $("shell").hidden = false;

  chat.subscribe(() => {
    if (drawStatus()) draw(drawConversation);
    draw(drawList);
  });
  chat.conversations.subscribe(() => draw(listMoved));
  chat.profiles.subscribe(() => draw(drawMe, drawList, drawConversation));
  onDrafts(() => draw(drawList));

  drawStatus();
  drawMe();
  listMoved();
  chat.connect();
}

function drawMe() {
  const { id } = here.me;
  const name = here.chat.profiles.state.has(id) ? nameFor(id) : here.me.name;
  paintAvatar($("me-avatar"), id, name, pictureOf(id) ?? here.me.avatar);
  setText($("me-name"), name);
}

function listMoved() {
  drawList();
  notify(openConversation);
  followAddress();
  drawConversation();
}

async function logOut() {
  await here.chat.logOut();
  session.clear();
  forgetDrafts();
  forgetPlaces();
  history.replaceState(null, "", ROOT);
  try {
    await fetch(ROOT + "session", { method: "DELETE" });
  } catch {
    // The cookie stays; this tab has forgotten its token.
  }
  // A fresh page is the surest way to leave nothing of one user to the next.
  location.reload();
}

function listen() {
  listenToLogin(start);
  listenToBar(() => void logOut());
  listenToNotify(notice);
  listenToList(openConversation);
  listenToConversation();
  listenToComposer(wrote);
  listenToMenu();
  listenToDialog(openConversation);
  $("logout").addEventListener("click", () => void logOut());
  setInterval(() => {
    if (here.chat) draw(drawConversation, drawList);
  }, AGAIN_MS);
}

async function begin() {
  loadClientLibrary().catch(() => {}); // whoever logs in hears of it
  translate();
  listen();
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
