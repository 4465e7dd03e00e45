"""The code of docs/react.md works, and the README's transcript is what one sees."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from socketserver.chat.domain import SystemClock
from socketserver.cli import _banner
from socketserver.door.auth import Authenticator
from socketserver.settings import Settings

from support.node import missing_node, require
from support.servers import running

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REACT_GUIDE = (ROOT / "docs" / "react.md").read_text(encoding="utf-8")
DEADLINE_S = 60

# As much of React as the hook needs: one component that is rendered whenever its state changes.
REACT = """
let slot = 0;
const slots = [];
let changed = () => {};
export const render = (component, onChange) => { changed = onChange; slot = 0; return component(); };
export function useState(first) {
  const at = slot++;
  if (!(at in slots)) slots[at] = first;
  return [slots[at], (next) => { slots[at] = typeof next === "function" ? next(slots[at]) : next; changed(); }];
}
export function useEffect(effect, inputs) {
  const at = slot++;
  if (slots[at]?.inputs.every((input, i) => Object.is(input, inputs[i]))) return;
  slots[at]?.cleanup?.();
  slots[at] = { inputs };
  slots[at].cleanup = effect();
}
"""

SCENE = """
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { render } from "react";
import { connectChat, useChat } from "./useChat.mjs";

const [url, ann, bob] = process.argv.slice(2);
const other = io(url, { auth: { token: bob }, forceNew: true, transports: ["websocket"] });
const tell = async (event, payload) => {
  const ack = await other.timeout(10000).emitWithAck(event, payload);
  assert.ok(ack.ok, JSON.stringify(ack));
  return ack;
};
const { conversation } = await tell("create_conversation", { participantIds: ["ann"] });
let key = 0;
const say = (body) =>
  tell("send_message", { conversationId: conversation.id, idempotencyKey: `k${key++}`, body });

let view;
let shownId = conversation.id;
const mine = connectChat(url, async () => ann);
const watchers = new Set();
const look = () => {
  view = render(() => useChat(mine, shownId), () => queueMicrotask(look));
  for (const watcher of watchers) watcher();
};
const until = (what, holds) => new Promise((resolve, reject) => {
  const late = setTimeout(() => reject(new Error(`${what}: ${JSON.stringify(view)}`)), 20000);
  const watcher = () => { if (holds()) { clearTimeout(late); watchers.delete(watcher); resolve(); } };
  watchers.add(watcher);
  watcher();
});
// A connection that is cut in the middle of its upgrade is somebody else's test.
const upgraded = ({ io: { engine } }) =>
  engine.transport.name === "websocket" || new Promise((done) => engine.once("upgrade", done));
const bodies = () => view.messages.map((message) => message.body).join();

await say("one");
look();
await until("joined", () => view.status === "connected" && bodies() === "one");
await say("two");
await until("live", () => bodies() === "one,two");
await view.send("three");
await until("sent", () => bodies() === "one,two,three");

mine.io.reconnectionDelay(50);
await upgraded(mine);
mine.io.engine.close();
await until("cut", () => view.status === "reconnecting");
await say("four");
await say("five");
await until("resumed", () => view.status === "connected" && bodies() === "one,two,three,four,five");

const change = (event, seq, more) => tell(event, { conversationId: conversation.id, seq, ...more });
await change("edit_message", 1, { idempotencyKey: "edit", body: "uno" });
await until("an edit, live", () => bodies() === "uno,two,three,four,five");
await upgraded(mine);
mine.io.engine.close();
await until("cut again", () => view.status === "reconnecting");
await change("delete_message", 2);
await change("set_reaction", 1, { reaction: "+", on: true });
await until("what changed meanwhile", () => view.status === "connected" && bodies() === "uno,,three,four,five");
assert.equal(view.messages[0].reactions[0].count, 1);

await view.send("six", "same-key");
await view.send("six", "same-key");
await until("once", () => bodies() === "uno,,three,four,five,six");
await assert.rejects(view.send("seven", "same-key"), /idempotencyKey/);

await upgraded(mine);
const tab = io(url, { auth: { token: ann }, forceNew: true, transports: ["websocket"] });
await until("replaced", () => view.status === "replaced");
assert.equal(mine.active, false);
tab.disconnect();
view.reconnect();
await until("back", () => view.status === "connected");
assert.equal(bodies(), "uno,,three,four,five,six");
await upgraded(mine);

// Another conversation: never the old one's text, not for a moment, and no second connection.
const { conversation: second } = await tell("create_conversation", { participantIds: ["ann"], title: "two" });
const connection = mine.id;
shownId = second.id;
look();
assert.equal(bodies(), "");
await until("switched", () => view.status === "connected");
assert.equal(bodies(), "");
await say("not here");
await view.send("here");
await until("only its own", () => bodies() === "here");
for (let times = 0; times < 30; times++) {
  shownId = times % 2 ? second.id : conversation.id;
  look();
}
await until("back in the second", () => view.status === "connected" && bodies() === "here");
shownId = "no-such-conversation";
look();
await until("refused", () => view.status === "conversation_not_found");
assert.equal(bodies(), "");
assert.equal(mine.id, connection);

// Written while offline: 40 are twice what may be sent at once; and what never can be sent fails by itself.
shownId = second.id;
look();
await until("there again", () => view.status === "connected");
mine.io.engine.close();
await until("cut", () => view.status === "reconnecting");
const sent = Array.from({ length: 40 }, (_, i) => view.send(`m${i}`));
const long = assert.rejects(view.send("x".repeat(70000)), /longer than 4000/);
sent.push(view.send("last"));
await Promise.all([...sent, long]);
await until("all of them, in order", () =>
  bodies() === ["here", ...Array.from({ length: 40 }, (_, i) => `m${i}`), "last"].join());
mine.disconnect();
other.disconnect();
"""


# The same hook in front of a server that the scene makes up.
RESTORED = """
import assert from "node:assert/strict";
import { on, server } from "socket.io-client";
import { render } from "react";
import { connectChat, useChat } from "./useChat.mjs";

let view;
const socket = connectChat("", async () => "token");
const look = () => { view = render(() => useChat(socket, "c"), () => queueMicrotask(look)); };
const page = (from, to, text) =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ seq: from + i, change: from + i, body: `${text} ${from + i}` }));
const connect = async (messages) => {
  server.answer = { ok: true, messages, updates: [], change: messages.at(-1).change };
  on.connect();
  await new Promise((done) => setTimeout(done, 20));
};
look();
await connect(page(1, 10, "old"));
await connect(page(1, 7, "old"));
assert.equal(view.messages.length, 7);
await connect(page(8, 8, "new"));
assert.deepEqual(view.messages.map((message) => message.body).slice(-2), ["old 7", "new 8"]);
"""
LATE_TOKEN = """
import assert from "node:assert/strict";
import { managed, server } from "socket.io-client";
import { connectChat } from "./useChat.mjs";

const tokens = [];
connectChat("", () => new Promise((resolve, reject) => tokens.push({ resolve, reject })));
const sent = [];
const settled = () => new Promise((done) => setTimeout(done, 10));
for (const outcome of ["resolve", "reject"]) {
  server.auth((data) => sent.push(["lost", data]));
  managed.close(); // lost while its token is on the way, and not back yet
  tokens.at(-1)[outcome]("first");
  await settled();
  server.auth((data) => sent.push(["lost too", data]));
  server.auth((data) => sent.push(["present", data]));
  tokens.at(-1).resolve("second");
  tokens.at(-2)[outcome]("late");
  await settled();
  assert.deepEqual(sent.splice(0), [["present", { token: "second" }]]);
}
"""
SERVER = """
export const on = {};
export const managed = {};
export const server = {};
const socket = {
  io: { on: (event, act) => { managed[event] = act; } },
  on: (event, act) => { on[event] = act; },
  emitWithAck: async () => server.answer,
};
export const io = (url, { auth }) => { server.auth = auth; return socket; };
"""


def hook() -> str:
    match = re.search(r"<!-- hook -->\n+```js\n(.*?)```", REACT_GUIDE, flags=re.S)
    assert match
    return match.group(1)


async def node(directory: Path, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


def test_the_lines_of_an_application_with_next() -> None:
    """The guide says how many lines an application of one's own needs."""
    files = re.findall(r"<!-- file \S+ -->\n+```\w+\n(.*?)```", REACT_GUIDE, flags=re.S)
    assert re.findall(r"needs the lines\s+below, (\d+) of them", REACT_GUIDE) == [str("".join(files).count("\n"))]


async def test_hook_is_javascript(tmp_path: Path) -> None:
    """The hook of docs/react.md is a valid module."""
    require(None if shutil.which("node") else "Node.js is not installed")
    (tmp_path / "useChat.mjs").write_text(hook(), encoding="utf-8")
    status, out = await node(tmp_path, "--check", "useChat.mjs")
    assert status == 0, out


def package(directory: Path, name: str, source: str) -> None:
    """Put a package into the directory's node_modules."""
    package = directory / "node_modules" / name
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"type": "module", "main": "index.js"}))
    (package / "index.js").write_text(source)


async def test_hook_begins_anew_after_a_backup(tmp_path: Path) -> None:
    """What a restored server no longer had stayed on the screen, among new messages with the same numbers."""
    require(None if shutil.which("node") else "Node.js is not installed")
    package(tmp_path, "react", REACT)
    package(tmp_path, "socket.io-client", SERVER)
    (tmp_path / "useChat.mjs").write_text(hook(), encoding="utf-8")
    (tmp_path / "scene.mjs").write_text(RESTORED)
    status, out = await node(tmp_path, "scene.mjs")
    assert status == 0, out


async def test_hook_drops_a_late_token(tmp_path: Path) -> None:
    """The token of a connection that was lost meanwhile was sent over the next one, as a second CONNECT."""
    require(None if shutil.which("node") else "Node.js is not installed")
    package(tmp_path, "react", REACT)
    package(tmp_path, "socket.io-client", SERVER)
    (tmp_path / "useChat.mjs").write_text(hook(), encoding="utf-8")
    (tmp_path / "scene.mjs").write_text(LATE_TOKEN)
    status, out = await node(tmp_path, "scene.mjs")
    assert status == 0, out


async def test_hook_holds_a_conversation(tmp_path: Path) -> None:
    """The hook shows what is said and what becomes of it, resumes after a cut, sends once, stays away when replaced.

    Switching conversations showed the old one's text and cost a connection each time; of 40 messages written offline 20
    were lost to `rate_limited`.
    """
    require(missing_node())
    package(tmp_path, "react", REACT)
    modules = tmp_path / "node_modules"
    (modules / "socket.io-client").symlink_to(ROOT / "node_modules" / "socket.io-client")
    (tmp_path / "useChat.mjs").write_text(hook(), encoding="utf-8")
    (tmp_path / "scene.mjs").write_text(SCENE)
    issuer = Authenticator(Settings(), SystemClock())
    tokens = [issuer.issue_token(user, lifetime_s=600) for user in ("ann", "bob")]
    async with running(tmp_path / "chat.db") as server:
        status, out = await node(tmp_path, "scene.mjs", server.url, *tokens)
    assert status == 0, out


def test_transcript() -> None:
    """The README shows the lines that `make run` prints."""
    match = re.search(r"<!-- transcript -->\n+((?: {4}.*\n)+)", README)
    assert match
    shown = [line.removeprefix("    ") for line in match.group(1).splitlines()]
    assert shown == ["$ make run", *_banner(Settings(), ["http://127.0.0.1:3001"])]
