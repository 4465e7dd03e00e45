"""`socketserver check` on servers that are none of ours, or behave as none should: it ends in time, says what is
wrong, and shows neither the token nor what a terminal would obey."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from socketserver.check.steps import Inspection, Options, Step
from urllib.parse import urlsplit

import pytest
from aiohttp import WSMsgType, web
from checkkit import assert_after, check, nothing, pretending, raw, read_and_close
from support.waiting import DEADLINE_S

OPEN = '0{"sid":"abc","upgrades":["websocket"],"pingInterval":100,"pingTimeout":100,"maxPayload":1000}'


async def test_draining_is_said_by_readyz() -> None:
    """A server that is being stopped says so itself."""

    async def handler(request: web.Request) -> web.StreamResponse:
        error = {"code": "draining", "message": "The server is being stopped.", "retryable": True}
        return web.json_response({"ok": False, "error": error}, status=503)

    async with pretending(handler) as url:
        outcome = await check(url)
    assert outcome.faults == {"ready": "draining"}
    assert_after(outcome, "ready")


async def test_another_program() -> None:
    """A plain web server: with a page for every path, and with 404 for all."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Welcome!</html>", content_type="text/html")

    for handler in (page, nothing):
        async with pretending(handler) as url:
            outcome = await check(url)
        assert outcome.faults == {"handshake": "not_socketserver"}
        assert "location /socket.io/" in outcome.text


@pytest.mark.parametrize(
    ("status", "headers", "cause"),
    [
        (301, {"Location": "https://chat.example.com/"}, "redirected"),
        (401, {"WWW-Authenticate": "Basic"}, "forbidden"),
        (418, {}, "unexpected_answer"),
        (429, {}, "too_many_connects"),
    ],
)
async def test_answers_of_others(status: int, headers: dict[str, str], cause: str) -> None:
    """Answers that a proxy gives by itself; nobody is sent a token whom the address does not name."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        return web.Response(status=status, headers=headers)

    async with pretending(handler) as url:
        outcome = await check(url, token="secret-secret-secret")
    assert outcome.faults == {"handshake": cause}
    assert asked == ["GET", "GET"]


async def test_garbage() -> None:
    """What is no HTTP, and what is closed without an answer."""

    async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\xff\x1b[31m garbage\r\n\r\n")
        await writer.drain()

    for answer, cause in ((noise, "not_http"), (read_and_close, "connection_closed")):
        async with raw(answer) as url:
            outcome = await check(url)
        assert outcome.faults == {"ready": cause}
        assert_after(outcome, "ready")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "0",
        "0{",
        "0null",
        "0[]",
        '0{"sid":1}',
        OPEN.replace("abc", "a&b"),
        "[" * 100_000,
        OPEN.replace("100", '"1"'),
    ],
)
async def test_garbage_for_a_handshake(body: str) -> None:
    """No Engine.IO handshake, though it may look like one."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    async with pretending(handler) as url:
        outcome = await check(url)
    assert outcome.faults == {"handshake": "not_socketserver"}


async def test_an_old_server() -> None:
    """Socket.IO 2 frames its packets with their length."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"{len(OPEN)}:{OPEN}2:40")

    async with pretending(handler) as url:
        assert (await check(url)).faults == {"handshake": "protocol_version"}


async def test_garbage_after_the_handshake() -> None:
    """Neither polling nor the websocket brings what it should; terminal sequences are not passed on, nor the token."""
    secret = "a-token-that-somebody-echoes"

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("transport") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("\x1b[2J hello")
            async for message in socket:
                assert message.type is WSMsgType.TEXT
            return socket
        if request.method == "POST":
            return web.Response(text=await request.text())
        return web.Response(text=OPEN if "sid" not in request.query else "<html>")

    async with pretending(handler) as url:
        outcome = await check(url, token=secret)
    assert outcome.faults == {"polling": "polling_broken", "websocket": "no_upgrade"}
    assert "***" in outcome.text
    assert secret not in json.dumps(outcome.report)
    assert "\x1b" not in outcome.text


async def test_another_socketio_server() -> None:
    """It connects whoever comes, and has never heard of our events."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("transport") == "websocket":
            return web.Response(status=400)
        if request.method == "POST":
            return web.Response(text="ok")
        if "sid" not in request.query:
            return web.Response(text=OPEN)
        if not polls:
            polls.append(1)
            return web.Response(text='40{"sid":"x"}\x1e42["news"]\x1e6\x1e451-["b",{}]\x1ebAAAA\x1e43999[]')
        await asyncio.Event().wait()
        raise AssertionError

    polls: list[int] = []
    async with pretending(handler) as url:
        outcome = await check(url, "--timeout-s", "2", token="secret-secret-secret")
    assert outcome.faults == {"websocket": "no_upgrade", "authentication": "not_welcomed"}


@pytest.mark.parametrize("answer", ["", "1", "status"])
async def test_an_upgrade_that_fails(answer: str) -> None:
    """A websocket of its own opens, the one of a polling session does not: polling goes on, with all that came."""
    greeted = False

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal greeted
        if request.query.get("transport") == "websocket":
            if answer == "status" and "sid" in request.query:
                return web.Response(status=400)
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            if "sid" not in request.query:
                await socket.send_str(OPEN)
            async for message in socket:
                assert message.data == "2probe"
                await (socket.send_str(answer) if answer else socket.close())
            return socket
        if request.method == "POST":
            return web.Response(text="ok")
        if "sid" not in request.query:
            return web.Response(text=OPEN)
        if not greeted:
            greeted = True
            return web.Response(text='40{"sid":"x"}\x1e42["welcome",{"user":{"id":"ann"}}]')
        await asyncio.Event().wait()
        raise AssertionError

    async with pretending(handler) as url:
        outcome = await check(url, "--timeout-s", "2", token="secret-secret-secret")
    assert outcome.faults == {"upgrade": "upgrade_failed", "message": "not_delivered"}
    assert outcome.steps["authentication"]["seen"] == "welcome, user ann"
    assert "over long-polling" in outcome.steps["ping"]["seen"]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ('42["session_ended",{"code":"replaced","message":"elsewhere","reconnect":false}]', "replaced"),
        ('42["session_ended",{"code":"flooding","message":"too much","reconnect":false}]', "session_ended"),
        ("41", "connection_closed"),
        ("1", "connection_closed"),
        ("4?", "unexpected_answer"),
        ('431[{"ok":false,"error":{"code":"rate_limited","message":"slower"}}]', "refused"),
        ('431[{"ok":false,"error":{"code":"overloaded","message":"later"}}]', "refused"),
        ("431[7]", "refused"),
        ("", "not_delivered"),
    ],
)
async def test_what_happens_to_a_message(said: str, cause: str) -> None:
    """The server welcomes the user, and answers the first event in its own way; what is left then is skipped."""
    polls = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal polls
        if request.query.get("transport") == "websocket":
            return web.Response(status=400)
        if request.method == "POST":
            return web.Response(text="ok")
        if "sid" not in request.query:
            return web.Response(text=OPEN)
        polls += 1
        if polls == 1:
            return web.Response(text='40{"sid":"x"}\x1e42["welcome",{"user":{"id":"ann"},"serverTime":"?"}]')
        if not said:
            await asyncio.Event().wait()
        return web.Response(text=said)

    async with pretending(handler) as url:
        outcome = await check(url, "--timeout-s", "3", token="secret-secret-secret")
    assert outcome.faults == {"websocket": "no_upgrade", "message": cause}
    assert "ping" in outcome.skipped
    assert outcome.steps["clock"]["seen"].endswith("by the Date header")


async def test_pings_that_do_not_arrive() -> None:
    """Idle for longer than the server's interval, without a ping."""
    silent = asyncio.Event()
    polls = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal polls
        if request.query.get("transport") == "websocket":
            return web.Response(status=400)
        if request.method == "POST":
            return web.Response(text="ok")
        if "sid" not in request.query:
            return web.Response(text=OPEN)
        polls += 1
        if polls <= 2:
            return web.Response(text='40{"sid":"x"}\x1e42["welcome",{}]' if polls == 1 else "431[7]")
        await silent.wait()
        return web.Response(text="6")

    async with pretending(handler) as url:
        steps: list[Step] = []
        port = urlsplit(url).port or 0
        options = Options("http", "localhost", port, token="secret", timeout_s=5, idle_s=0.5)
        await Inspection(options, steps.append).run()
        silent.set()
    assert {step.name: step.cause for step in steps if step.cause}["ping"] == "no_ping"


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"0")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [_hang, _drip])
async def test_hanging(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    """Whoever takes the connection and never ends his answer is given up, in a time that is known before."""
    async with raw(answer) as url:
        for scheme, step in (("http", "ready"), ("https", "certificate")):
            if scheme == "https" and answer == _drip:
                continue  # no TLS, and that is found at once
            started_s = time.monotonic()
            outcome = await check(url.replace("http", scheme), "--timeout-s", "1.5")
            assert outcome.faults == {step: "no_answer"}
            assert outcome.steps[step]["seen"] == "nothing came within 1.5 s"
            assert_after(outcome, step)
            assert time.monotonic() - started_s < DEADLINE_S
