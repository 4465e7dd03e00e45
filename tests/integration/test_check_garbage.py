"""`socketserver check` on servers that are none of ours, or behave as none should: it ends in time, says what is
wrong, and shows neither the token nor what a terminal would obey."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from socketserver.check.course import Step
from socketserver.check.steps import Inspection, Options
from urllib.parse import quote, urlsplit

import pytest
from aiohttp import WSMsgType, web
from support.probing import STEPS, assert_after, check, nothing, pretending, raw, read_and_close
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


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def welcoming(*packets: str, date: str | None = None, token: str | None = None) -> Answer:
    """A server that opens, welcomes over polling, and then says these packets for ever; no websocket."""
    polls = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal polls
        headers = {} if date is None else {"Date": date}
        if request.path == "/readyz":
            return web.json_response({"ok": True}, headers=headers)
        if request.path == "/session":
            return web.json_response({"ok": True, "token": token}, headers=headers)
        if request.query.get("transport") == "websocket":
            return web.Response(status=400)
        if request.method == "POST":
            return web.Response(text="ok", headers=headers)
        if "sid" not in request.query:
            return web.Response(text=OPEN, headers=headers)
        polls += 1
        return web.Response(text=packets[min(polls, len(packets)) - 1], headers=headers)

    return handler


def welcome(server_time: str) -> str:
    return f'40{{"sid":"x"}}\x1e42["welcome",{{"user":{{"id":"ann"}},"serverTime":{server_time}}}]'


@pytest.mark.parametrize(
    ("server_time", "date"),
    [
        ("1" * 400, "Mon, 01 Jan 0001 00:00:00 -9999"),
        ("-" + "9" * 4000, "Fri, 31 Dec 9999 23:59:59 -2359"),
        ("1e999", "Thu, 99 Foo 99999999999 99:99:99"),
        ("[]", ""),
        (str(2**63), "x" * 999),
        ("-1", "Mon, 01 Jan 0001 00:00:00 +0000"),
        ("0", "Mon, 01 Jan 0001 00:00:00 +9999"),
    ],
)
async def test_an_absurd_time(server_time: str, date: str) -> None:
    """A `serverTime` of 400 digits, or a Date of no calendar, ended the check with a traceback."""
    async with pretending(welcoming(welcome(server_time), "431[7]", date=date)) as url:
        outcome = await check(url, token="secret-secret-secret")
    assert outcome.steps["authentication"]["seen"] == "welcome, user ann"
    assert outcome.steps["clock"]["status"] in {"skipped", "failed"}


@pytest.mark.parametrize("token", ["t", "nothing came within 0.5 s", "e" * 300])
async def test_the_server_does_not_choose_what_is_struck_out(token: str) -> None:
    """A login that answered with the token "t" had every t of the output struck out."""
    async with pretending(welcoming(welcome("0"), "431[7]", token=token)) as url:
        outcome = await check(url)
    assert "***" not in outcome.text
    assert outcome.steps["polling"]["seen"] == "a request and its answer, over long-polling"


@pytest.mark.parametrize("token", ["a'token\"with\\all%of it", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"])
async def test_the_own_token_is_struck_out_in_every_writing(token: str) -> None:
    """One's own token is not shown, as it is, as Python or JSON write it, or as a part of an address."""
    for echo in (token, repr(token), json.dumps(token), quote(token)):

        async def handler(request: web.Request, echo: str = echo) -> web.StreamResponse:
            if request.method == "POST":
                return web.Response(text=echo)
            return web.Response(text=OPEN if "sid" not in request.query else "<html>", headers={"Server": quote(echo)})

        async with pretending(handler) as url:
            outcome = await check(url, token=token)
        assert "***" in outcome.text
        for writing in (token, repr(token)[1:-1], json.dumps(token)[1:-1], quote(token)):
            assert writing not in json.dumps(outcome.report)


async def flood(request: web.Request, packets: Sequence[str | bytes]) -> web.StreamResponse:
    """A websocket that sends for ever, whether or not anybody says goodbye."""
    socket = web.WebSocketResponse(autoclose=False)
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError, RuntimeError):
        while True:
            for packet in packets:
                await (socket.send_str(packet) if isinstance(packet, str) else socket.send_bytes(packet))
    return socket


@pytest.mark.parametrize(
    "packets",
    [
        ('40{"sid":"x"}', '42["news",[' + "[]," * 300_000 + "0]]"),
        ('42["welcome",' + "[" * 400 + "]" * 400 + "]",),
        ("6",),
        ("2",),
        (b"\x00" * 1000,),
    ],
)
async def test_a_server_that_does_not_end(packets: tuple[str | bytes, ...]) -> None:
    """Events of a megabyte each were kept, a thousand of them; and a websocket was read to the end that never came."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("transport") == "websocket":
            return await flood(request, [OPEN, *packets])
        return web.Response(status=404)

    async with pretending(handler) as url:
        port = urlsplit(url).port or 0
        steps: list[Step] = []
        inspection = Inspection(Options("http", "localhost", port, token="secret-secret", timeout_s=2), steps.append)
        tracemalloc.start()
        try:
            async with asyncio.timeout(6 * DEADLINE_S):
                await inspection.run()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 200 << 20
    assert [step.name for step in steps] == STEPS


async def test_a_bomb_of_gzip() -> None:
    """A compressed answer is not unpacked; a redirect of the websocket is not followed."""
    asked: list[str] = []
    bomb = gzip.compress(b" " * (64 << 20))

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.query.get("transport") == "websocket":
            return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{request.url.port}/inside"})
        if "transport" in request.query and request.method == "GET" and "sid" not in request.query:
            return web.Response(text=OPEN)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with pretending(handler) as url:
        outcome = await check(url, "--timeout-s", "1", token="secret-secret")
    assert outcome.faults["websocket"] == "no_upgrade"
    assert "/inside" not in asked


PIECES = [
    *(OPEN, OPEN.replace("100", "1e308"), OPEN.replace('"abc"', "[" * 500 + "]" * 500), "ok", "", "\x1e" * 5000),
    *(welcome("1" * 400), welcome("0"), '44{"data":{"code":[1],"message":{"a":[]}}}', "44" + "[" * 900 + "]" * 900),
    *('431[{"ok":true}]', '431[{"ok":true,"conversation":7}]', '432[{"ok":false,"error":[]}]', "433[", "43-1[]"),
    *('42["session_ended",{"code":{},"message":1e999}]', '42[{"a":1},2]', "42[]", "41", "1", "3probe", "2", "b\x00"),
    *('42["message_created",' + "9" * 5000 + "]", '{"ok":true,"token":' + '"t"}', '{"ok":false,"error":{"code":"x"}}'),
    *("\ud7ff\U0010ffff\x00\x1b[2J", "40" + '{"sid":' * 300, "5", "6", "x" * 70_000, '{"code":1,"message":[]}'),
]
STATUSES = [200, 200, 200, 200, 101, 204, 301, 400, 401, 404, 429, 500, 503, 599, 999]


@pytest.mark.parametrize("seed", range(12))
async def test_any_answers(seed: int) -> None:
    """Whatever a hostile server says, the check ends, with a report, and never with a traceback."""
    chance = random.Random(seed)

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query.get("transport") == "websocket" and chance.random() < 0.7:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.send_str(OPEN)
                for _ in range(chance.randrange(8)):
                    await socket.send_str(chance.choice(PIECES))
            return socket
        right = OPEN if "sid" not in request.query else welcome("0")
        if request.method == "POST":
            right = "ok"
        if chance.random() < 0.6:
            return web.Response(text=right)
        status = chance.choice(STATUSES)
        headers = {"Date": chance.choice(["x", "Fri, 31 Dec 9999 23:59:59 -2359"]), "Location": "http://[::1"}
        if status in {101, 204}:
            return web.Response(status=status, headers=headers)
        return web.Response(text=chance.choice(PIECES), status=status, headers=headers)

    async with pretending(handler) as url:
        for _ in range(4):
            outcome = await check(url, "--timeout-s", "0.3", token="secret-secret-secret")
            assert set(outcome.steps) == set(STEPS)
            assert "\x1b" not in outcome.text
