"""The transcripts of docs/troubleshooting.md: each symptom is caused, and Chromium and the server say what it prints.

The page runs the lines that the guide tells its readers to add.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from browser.conftest import StartServer
from browser.demokit import ROOT, Server
from playwright.async_api import Browser, Page
from support.pages import section
from support.servers import token
from support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUIDE: Final = ROOT / "docs" / "troubleshooting.md"
BUNDLE: Final = ROOT / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"
QUICK: Final = "reconnectionAttempts: 3, reconnectionDelay: 100, reconnectionDelayMax: 200"
DEADLINE_S: Final = 30.0


def blocks(title: str, kind: str = "text") -> list[list[str]]:
    """The lines of the code blocks in a section."""
    found = re.findall(rf"```{kind}\n(.*?)```", section(GUIDE, title), flags=re.S)
    return [block.splitlines() for block in found]


WATCH: Final = "const watch = (socket) => {" + "\n".join(blocks("Where to look", "js")[0]) + "return socket; };\n"


def plain(line: str) -> str:
    """A line without what differs each time: ports, and the client's cache-busting parameter."""
    return re.sub(r"&t=\w+", "", re.sub(r"(?:127\.0\.0\.1|localhost):\d+", "HOST", line))


def in_order(wanted: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether all of `wanted` are among `lines`, one after the other."""
    rest = iter([plain(line) for line in lines])
    return all(plain(line) in rest for line in wanted)


class Reader:
    """Somebody who has the guide open, a page of their own, and a server."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))

    async def run(self, code: str) -> None:
        self.console.clear()
        await self.page.goto(self.origin)
        await self.page.evaluate("(code) => { new Function(code)(); }", WATCH + code)

    async def sees(self, *wanted: str) -> None:
        await eventually(f"in the console: {wanted}", lambda: in_order(wanted, self.console), deadline_s=DEADLINE_S)


async def logged(server: Server, line: str) -> None:
    """Wait until the server has written this line of the guide, which leaves out time and place."""
    level, _, rest = line.partition(" ")
    wanted = plain(f" {level:7} {rest} (")
    await eventually(line, lambda: wanted in plain(server.log), deadline_s=DEADLINE_S)


@pytest_asyncio.fixture(loop_scope="module")
async def reader(chromium: Browser) -> AsyncIterator[Reader]:
    """On an origin that is not the server's."""
    if not BUNDLE.is_file():
        pytest.skip("the npm packages are not installed; run make setup")

    async def index(request: web.Request) -> web.Response:
        text = '<!doctype html><title>Page</title><link rel="icon" href="data:,"><script src="/client.js"></script>'
        return web.Response(text=text, content_type="text/html")

    async def client(request: web.Request) -> web.FileResponse:
        return web.FileResponse(BUNDLE)

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_get("/client.js", client)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    context = await chromium.new_context()
    yield Reader(await context.new_page(), f"http://127.0.0.1:{runner.addresses[0][1]}")
    await context.close()
    await runner.cleanup()


async def start(start_server: StartServer, reader: Reader, *flags: str) -> Server:
    return await start_server("--allowed-origins", reader.origin, "--log-format", "console", *flags)


async def test_connection_refused(start_server: StartServer, reader: Reader) -> None:
    """Nobody listens; a namespace that does not exist; and the warning that is none."""
    refused, closed = blocks("Connection refused")
    server = await start(start_server, reader)
    await reader.run(f"watch(io('{server.url}/chat', {{ reconnection: false }}));")
    await reader.sees("connect_error: Invalid namespace undefined undefined")
    await reader.run(f"io('{server.url}', {{ transports: ['websocket'] }}).disconnect();")
    await reader.sees(*closed)
    await server.stop()
    await reader.run(f"watch(io('{server.url}', {{ reconnection: false }}));")
    await reader.sees(*refused)


async def test_tabs_that_fight(start_server: StartServer, reader: Reader) -> None:
    """The newest stays; who comes back against the rule is refused, and the log says why."""
    (fight,) = blocks("Endless reconnects")
    (replaced,) = blocks("Several sockets of one user")
    _, line = blocks("Too many connects")
    server = await start(start_server, reader)
    await reader.run(
        f"const open = () => watch(io('{server.url}', {{ auth: {{ token: '{token('alice')}' }}, forceNew: true }}));"
        "for (const tab of [open(), open()]) { tab.on('disconnect', () => setTimeout(() => tab.connect(), 50)); }"
    )
    await reader.sees(*replaced)
    await reader.sees(*fight)
    await logged(server, *line)


async def test_origins(start_server: StartServer, reader: Reader) -> None:
    """A page that is not in the list, over polling and over websocket."""
    console, line = blocks("CORS and origins")
    server = await start_server("--log-format", "console")
    await reader.run(f"watch(io('{server.url}', {{ reconnection: false }}));")
    await reader.sees(*console)
    await logged(server, *line)
    await reader.run(f"watch(io('{server.url}', {{ reconnection: false, transports: ['websocket'] }}));")
    wanted = "Error during WebSocket handshake: Unexpected response code: 403"
    assert wanted in section(GUIDE, "CORS and origins")
    await eventually(wanted, lambda: any(wanted in text for text in reader.console), deadline_s=DEADLINE_S)


async def test_a_socket_without_a_user(start_server: StartServer, reader: Reader) -> None:
    """Connected, and refused at every request until it is ended."""
    (lines,) = blocks("Cookies")
    server = await start(start_server, reader, "--auth-timeout-s", "0.5")
    await reader.run(
        f"const socket = watch(io('{server.url}')); "
        "socket.emitWithAck('list_conversations', {}).then((ack) => console.log(JSON.stringify(ack)));"
    )
    await reader.sees(*lines)


async def test_bad_tokens_and_too_many_of_them(start_server: StartServer, reader: Reader) -> None:
    """A refused token says why; an address of which too many connect without a user gets the status 429."""
    (tokens,) = blocks("Login fails")
    console, _ = blocks("Too many connects")
    server = await start(start_server, reader, "--connects-per-minute-address", "2")
    forged = jwt.encode({"sub": "alice", "exp": int(time.time()) + 60}, "0123456789abcdef0123456789abcdef")
    for bad, line in zip([forged, token("alice", ahead_s=-7200)], tokens, strict=True):
        await reader.run(f"watch(io('{server.url}', {{ auth: {{ token: '{bad}' }} }}));")
        await reader.sees(line)
    await reader.run(f"watch(io('{server.url}', {{ reconnection: false }}));")
    await reader.sees(*console)


async def test_a_deploy_that_takes_too_long(start_server: StartServer, reader: Reader) -> None:
    """The client is told, tries three times, and gives up."""
    (lines,) = blocks("After a deploy users stay offline")
    server = await start(start_server, reader)
    await reader.run(
        f"const socket = watch(io('{server.url}', {{ auth: {{ token: '{token('alice')}' }}, {QUICK} }}));"
        # Over polling, before the upgrade, the reason would be another one.
        "const upgraded = () => socket.io.engine.transport.name === 'websocket' && console.log('upgraded');"
        "socket.on('connect', () => { upgraded() || socket.io.engine.once('upgrade', upgraded); });"
    )
    await reader.sees("upgraded")
    await server.stop()
    await reader.sees(*lines)
