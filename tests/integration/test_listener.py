"""TCP connections and the heads of requests: at, under and over each bound, on raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from socketserver.app import CONNECTIONS, METRICS, SIO, create_app, make_runner
from socketserver.door.tcp_connections import FREE_HEAD_BYTES, Connections
from socketserver.settings import Settings
from typing import Any

import pytest
from aiohttp import web
from support.engine import until
from support.waiting import DEADLINE_S

ORIGIN = "http://localhost:3000"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@dataclass
class Served:
    """A server whose connections are bounded."""

    port: int
    app: web.Application

    @property
    def connections(self) -> Connections:
        return self.app[CONNECTIONS]

    def metrics(self) -> str:
        return self.app[METRICS].expose("")[0].decode()


@contextlib.asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Served]:
    settings = Settings(**{"port": 0, "store_url": "sqlite:///:memory:", **options})
    app = create_app(settings)
    runner = make_runner(app, settings, access_log=None, shutdown_timeout=1, keepalive_timeout=75.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Served(runner.addresses[0][1], app)
    finally:
        await runner.cleanup()
    assert len(app[CONNECTIONS]) == 0
    assert app[CONNECTIONS].held_bytes == 0
    assert not list(app[CONNECTIONS].late(float("inf")))


class Line:
    """One TCP connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, served: Served) -> AsyncIterator[Line]:
        line = cls(*await asyncio.open_connection("127.0.0.1", served.port))
        try:
            yield line
        finally:
            line._writer.transport.abort()

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON body of the next answer. Raises: IncompleteReadError when there is none."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, json.loads(body) if body else None

    async def sid(self) -> str:
        """The session's id in the answer to a handshake over polling."""
        async with asyncio.timeout(DEADLINE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return str(json.loads((await self._reader.readexactly(size))[1:])["sid"])

    async def asked_for_the_body(self) -> None:
        """Wait until the request's handler has it: the answer to `Expect: 100-continue`."""
        async with asyncio.timeout(DEADLINE_S):
            assert await self._reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    async def closed(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read()
        return b""


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server logged as a fault of its own."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_head_with_32_kib_of_cookies_is_served() -> None:
    """aiohttp refuses a line of more than 8 KiB, with a text that no page could read."""
    async with listening() as served, Line.to(served) as line:
        for _ in range(2):
            line.write(HEAD + b"Cookie: a=" + b"x" * (32 * 1024 - 10) + b"\r\n\r\n")
            assert (await line.answer())[0] == 200


@pytest.mark.parametrize("pieces", [1, 50])
async def test_a_head_is_bounded_as_a_whole(pieces: int) -> None:
    """At the bound it is served, well over it refused, in one piece or dripped: 0.96 MB of headers had been kept."""
    async with listening() as served:
        for size, status in ((60_000, 200), (80_000, 431)):
            lines = HEAD + f"Origin: {ORIGIN}\r\n".encode()
            lines += b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1990) for number in range((size - 100) // 2000))
            head = lines + b"\r\n"
            async with Line.to(served) as line:
                step = -(-len(head) // pieces)
                for at in range(0, len(head), step):
                    line.write(head[at : at + step])
                    await asyncio.sleep(0)
                got, headers, body = await line.answer()
                assert got == status
                if status == 431:
                    assert body["error"]["code"] == "head_too_large"
                    assert headers["access-control-allow-origin"] == ORIGIN
                    await line.closed()
        assert served.connections.heads_refused["too_large"] == 1
        assert 'socketserver_heads_refused_total{why="too_large"} 1.0' in served.metrics()


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (HEAD + b"Cookie: a=" + b"x" * 70_000, 431, "head_too_large"),
        (b"GET /" + b"x" * 70_000, 431, "head_too_large"),
        (HEAD + b"a: b\r\n" * 200 + b"\r\n", 431, "head_too_large"),
        (b"\x16\x03\x01\x00 no HTTP\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
    ],
)
async def test_heads_that_are_none_are_refused_with_a_reason(head: bytes, status: int, code: str) -> None:
    """One long line, a long path, too many lines, noise, no Host."""
    async with listening() as served, Line.to(served) as line:
        line.write(head)
        got, _, body = await line.answer()
        assert (got, body["error"]["code"]) == (status, code)
        await line.closed()


async def test_a_foreign_origin_may_not_read_why_its_head_is_refused() -> None:
    """Only the pages of allowed origins may read answers."""
    async with listening() as served, Line.to(served) as line:
        line.write(HEAD + b"Origin: http://evil.example\r\nCookie: " + b"x" * 70_000)
        status, headers, _ = await line.answer()
        assert status == 431
        assert "access-control-allow-origin" not in headers


async def test_all_large_heads_together_have_a_bound_and_small_ones_always_room() -> None:
    """300 unfinished heads had held 564 MiB."""
    async with listening(heads_bytes=30_000) as served:
        large = HEAD + b"X: " + b"y" * 20_000
        async with Line.to(served) as first, Line.to(served) as second, Line.to(served) as third:
            first.write(large)
            second.write(large)
            await until(lambda: served.connections.held_bytes > 20_000)
            third.write(large)
            status, headers, body = await third.answer()
            assert (status, body["error"]["code"], headers["retry-after"]) == (503, "overloaded", "10")
            async with Line.to(served) as small:
                small.write(HEAD + b"X: " + b"y" * (FREE_HEAD_BYTES - 100) + b"\r\n\r\n")
                assert (await small.answer())[0] == 200
            first.write(b"\r\n\r\n")
            second.write(b"\r\n\r\n")
            assert (await first.answer())[0] == (await second.answer())[0] == 200
            await until(lambda: served.connections.held_bytes == 0)
            async with Line.to(served) as fourth:
                fourth.write(large + b"\r\n\r\n")
                assert (await fourth.answer())[0] == 200


async def test_who_never_completes_a_head_is_closed_and_who_has_sent_one_may_be_idle() -> None:
    """Half a head: told. Nothing at all: closed. Between two requests: left."""
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(listening(head_timeout_s=0.5))
        idle, half, silent = [await stack.enter_async_context(Line.to(served)) for _ in range(3)]
        idle.write(HEAD + b"\r\n")
        assert (await idle.answer())[0] == 200
        half.write(HEAD)
        status, _, body = await half.answer()
        assert (status, body["error"]["code"]) == (408, "head_timeout")
        assert await silent.closed() == b""
        idle.write(HEAD + b"\r\n")
        assert (await idle.answer())[0] == 200
        idle.write(b"GET /hea")
        assert (await idle.answer())[0] == 408


@pytest.mark.parametrize(
    ("setting", "cap"), [("max_tcp_connections_address", "address"), ("max_tcp_connections", "total")]
)
async def test_connections_are_counted_and_capped(setting: str, cap: str) -> None:
    """The last one within is served, the next told and closed, and one more is served when another has gone."""
    async with listening(**{setting: 2}) as served, Line.to(served) as first, contextlib.AsyncExitStack() as stack:
        second = await stack.enter_async_context(Line.to(served))
        for line in (first, second):
            line.write(HEAD + b"\r\n")
            assert (await line.answer())[0] == 200
        assert len(served.connections) == 2
        async with Line.to(served) as third:
            status, headers, body = await third.answer()
            assert (status, body["error"]["code"]) == (503, "too_many_connections")
            assert headers["retry-after"] == "10"
            assert await third.closed() == b""
        assert served.connections.refused[cap] == 1
        await stack.aclose()
        await until(lambda: len(served.connections) == 1)
        async with Line.to(served) as fourth:
            fourth.write(HEAD + b"\r\n")
            assert (await fourth.answer())[0] == 200


async def test_a_trusted_proxy_brings_as_many_connections_as_it_likes() -> None:
    """They are everybody's."""
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(listening(max_tcp_connections_address=1, trusted_proxies="127.0.0.1"))
        for _ in range(2):
            line = await stack.enter_async_context(Line.to(served))
            line.write(HEAD + b"\r\n")
            assert (await line.answer())[0] == 200


@pytest.mark.parametrize("path", ["/session", "/nothing", "/healthz", "/socket.io/?EIO=4&transport=polling"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-anything"])
async def test_no_route_unpacks_a_body(path: str, encoding: str) -> None:
    """Bombs of 972 KB cost 1.5 s each, on any route."""
    async with listening() as served, Line.to(served) as line:
        body = gzip.compress(b"x" * 100_000)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nContent-Encoding: {encoding}\r\n"
        line.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        status, headers, answer = await line.answer()
        assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
        assert headers["access-control-allow-origin"] == ORIGIN


async def test_pipelined_requests_are_all_answered_and_parsed_no_faster_than_that() -> None:
    """Held back, not lost: two hundred at once."""
    async with listening() as served, Line.to(served) as line:
        line.write((HEAD + b"\r\n") * 200)
        for _ in range(200):
            assert (await line.answer())[0] == 200


async def test_a_connection_over_its_rate_is_slowed_and_not_refused() -> None:
    """Behind a proxy it may be anybody's."""
    async with listening(http_bytes_per_second=1_000_000) as served, Line.to(served) as line:
        line.write((HEAD + b"\r\n") * 30)
        for _ in range(30):
            assert (await line.answer())[0] == 200
        assert served.app[SIO].eio.intake.paused
        assert 'socketserver_intake_total{done="paused"}' in served.metrics()


async def test_a_trusted_proxy_slows_only_the_client_that_is_over_its_rate() -> None:
    """Requests through a proxy had no rate at all: one client behind it took a third of a core with /healthz."""
    options: dict[str, Any] = {"http_bytes_per_second": 200_000, "trusted_proxies": "127.0.0.1"}
    async with listening(**options) as served, Line.to(served) as hasty, Line.to(served) as calm:
        hasty.write((HEAD + b"X-Forwarded-For: 192.0.2.1\r\n\r\n") * 30)
        await until(lambda: served.app[SIO].eio.intake.paused > 0)
        for address in (b"192.0.2.2", b"2001:db8::1"):
            paused = served.app[SIO].eio.intake.paused
            calm.write(HEAD + b"X-Forwarded-For: " + address + b"\r\n\r\n")
            assert (await calm.answer())[0] == 200
            assert served.app[SIO].eio.intake.paused <= paused + 1
        assert (await hasty.answer())[0] == 200


async def test_a_post_in_the_smallest_chunks_arrives_whole() -> None:
    """Bounds on what is read in one turn lose nothing, however it comes."""
    async with listening() as served, Line.to(served) as line:
        path = b"/socket.io/?EIO=4&transport=polling"
        line.write(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sid = await line.sid()
        body = b"40\x1e" + b'42["nothing","' + b"x" * 20_000 + b'"]'
        line.write(b"POST " + path + b"&sid=" + sid.encode() + b" HTTP/1.1\r\nHost: localhost\r\n")
        line.write(b"Transfer-Encoding: chunked\r\n\r\n")
        line.write(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            answer = await line._reader.readuntil(b"ok")
        assert answer.startswith(b"HTTP/1.1 200")
        # … and the connection goes on
        line.write(HEAD + b"\r\n")
        assert (await line.answer())[0] == 200


async def test_a_body_that_nobody_wants_does_not_keep_its_connection() -> None:
    """A 404 with a body without end is answered, and closed soon after."""
    async with listening() as served, Line.to(served) as line:
        line.write(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000)
        assert (await line.answer())[0] == 404
        await line.closed()


BROKEN_CHUNKS = pytest.mark.parametrize("chunk", [b"zz\r\n", b"5\r\nhelloXX", b"-1\r\n", b"f" * 20 + b"\r\n"])


@BROKEN_CHUNKS
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/session", b"cut off, or is not HTTP"),
        ("/socket.io/?EIO=4&transport=polling&sid=", b"Bad payload"),
        ("/healthz", b"method_not_allowed"),
    ],
)
async def test_a_body_that_turns_out_to_be_no_http_is_answered(
    path: str, answer: bytes, chunk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever read the body waited until its time was over, and the log got a traceback for the client's mistake."""
    async with listening() as served, Line.to(served) as line:
        if path.endswith("sid="):
            line.write(f"GET {path.removesuffix('&sid=')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            path += await line.sid()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        line.write(f"{head}Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n".encode())
        await line.asked_for_the_body()
        line.write(chunk)
        answers = await line.closed()
    assert answers.count(b"HTTP/1.") == 1
    assert answer in answers
    assert errors(caplog) == []


@BROKEN_CHUNKS
async def test_a_body_that_is_no_http_from_the_start(chunk: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It comes together with its head: one refusal of the whole request, and no traceback."""
    async with listening() as served, Line.to(served) as line:
        line.write(b"POST /session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
        answers = await line.closed()
    assert answers.count(b"HTTP/1.") == answers.count(b" 400 Bad Request") == 1
    assert errors(caplog) == []


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """The log got a traceback, `POST /session failed`, for each phone that lost its network."""
    async with listening() as served:
        async with Line.to(served) as line:
            line.write(b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            line.write(b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
            await line.asked_for_the_body()
            line.write(b"half")
        await until(lambda: len(served.connections) == 0)
    assert errors(caplog) == []
