"""The JavaScript client, clients/js: its own tests, in Node, on a server of this checkout."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from socketserver.settings import Settings
from socketserver.wire import typescript
from typing import Final

import pytest
from support.applications import install, missing_packer, run, types_hold
from support.node import ROOT, missing_node, require
from support.servers import running

PACKAGE: Final = ROOT / "clients" / "js"
DEADLINE_S: Final = 300
SUITES: Final = sorted((PACKAGE / "test").glob("*.test.js"))


def missing_tools() -> str | None:
    """What is lacking for the package's tests, as a sentence; None if nothing is."""
    if (missing := missing_node()) is not None:
        return missing
    if not (ROOT / "node_modules" / "fast-check").is_dir():
        return "the npm packages for development are not installed; run make setup"
    return None


@pytest.mark.timeout(DEADLINE_S + 30)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.removesuffix(".test.js"))
async def test_the_client(suite: Path) -> None:
    """Each of its suites passes."""
    require(missing_tools())
    process = await asyncio.create_subprocess_exec(
        *("node", "--test", "--test-reporter=spec", str(suite)),
        cwd=PACKAGE,
        env={**os.environ, "PYTHON": sys.executable},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()


def test_all_suites_are_found() -> None:
    """A folder that was moved would pass without a test."""
    assert {suite.name for suite in SUITES} >= {"chat.test.js", "connection.test.js", "conversation.test.js"}


def test_the_client_has_the_present_events() -> None:
    """wire.d.ts is what the command prints: `chat-socketserver types` renews it."""
    assert (PACKAGE / "src" / "wire.d.ts").read_text() == typescript.declarations(Settings())


SCRIPT: Final = """
import { createChat } from "chat-socketserver-client";

const url = process.argv[2];

/** Connected under that name, by the development login. @param {string} user */
async function chatOf(user) {
  const login = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user }) };
  const getToken = async () => (await (await fetch(`${url}/session`, login)).json()).token;
  const chat = createChat({ url, getToken });
  chat.connect();
  await /** @type {Promise<void>} */ (new Promise((resolve) => {
    chat.subscribe(() => chat.status.state === "connected" && resolve());
  }));
  return chat;
}

const [alice, bob] = await Promise.all(["alice", "bob"].map(chatOf));
const { id } = await alice.createConversation({ participantIds: ["bob"] });
const room = bob.open(id);
const heard = new Promise((resolve) => {
  room.subscribe(() => room.state.messages.length > 0 && resolve(room.state.messages));
});
const { seq, senderId } = await alice.open(id).send("hello").stored;
console.log(seq, senderId, (await heard).map((/** @type {{body: string}} */ { body }) => body));
alice.disconnect();
bob.disconnect();
"""
TSCONFIG: Final = {
    "allowJs": True,
    "checkJs": True,
    "module": "nodenext",
    "target": "es2022",
    "lib": ["ES2022", "DOM"],
    "types": ["node"],
    "skipLibCheck": True,
    "noEmit": True,
}


@pytest.mark.thorough
async def test_a_plain_script(tmp_path: Path) -> None:
    """The packed client in a Node script: it compiles, talks to a server, and ends by itself."""
    require(missing_packer())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "script.js").write_text(SCRIPT)
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": TSCONFIG}))
    await install(tmp_path, ROOT / "node_modules")
    await types_hold(tmp_path, "tsconfig.json")
    async with running(tmp_path / "chat.db") as server:
        assert await run(tmp_path, "node", "script.js", server.url) == "1 alice [ 'hello' ]\n"
