"""Clients behind Debian's nginx and Caddy with the shipped files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from socketserver.settings import Settings
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from deploy.proxies import KINDS, Kind, Proxy, proxying
from support.node import TRANSPORTS, Node, Transport
from support.servers import ServerProcess, running
from support.stage import Stage, next_key
from support.waiting import eventually
from yarl import URL

DEADLINE_S: Final = 60.0
HANDSHAKE: Final = "/socket.io/?EIO=4&transport=polling"
# Longer than nginx's own 60 s without a byte, were it not for proxy_read_timeout.
SILENCE_S: Final = 70
BURST: Final = 200
LARGE_CHARS: Final = 60_000


@pytest.fixture
async def server(database: Path) -> AsyncIterator[ServerProcess]:
    flags: dict[str, object] = {"messages_per_second": 0, "max_body_chars": LARGE_CHARS, "trusted_proxies": "127.0.0.1"}
    async with running(database, **flags) as server:
        yield server


@asynccontextmanager
async def recorder() -> AsyncIterator[tuple[int, list[str]]]:
    """A server that answers everything. Yields its port and the paths that it was asked for."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        async for _ in request.content.iter_any():
            pass
        return web.json_response({name: request.headers.getall(name) for name in sorted(set(request.headers))})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield int(runner.addresses[0][1]), paths
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_clients_talk(
    kind: Kind, transport: Transport, server: ServerProcess, node: Node, tmp_path: Path
) -> None:
    """A message there and back, 200 in one go, one nearly as large as the server takes; all in order, none twice."""
    async with proxying(kind, server.port, tmp_path / kind) as proxy:
        ana, ben = await Stage(proxy, node, transport=transport).people("ana", "ben", **proxy.options)
        chat = await ana.create("ben")
        for person in (ana, ben):
            await person.join(chat)
        await ana.send(chat, "there")
        assert (await ben.client.wait("message_created"))["message"]["body"] == "there"
        await ben.send(chat, "and back")
        await ana.client.wait("message_created", lambda news: news["message"]["body"] == "and back")

        bodies = [f"burst {number}" for number in range(BURST)]
        events = [
            ["send_message", {"conversationId": chat, "idempotencyKey": next_key(), "body": body}] for body in bodies
        ]
        acks, _ = await ana.client.burst(events, deadline_s=DEADLINE_S)
        assert [ack["message"]["seq"] for ack in acks] == list(range(3, BURST + 3))
        large = "0123456789" * (LARGE_CHARS // 10)
        await ana.send(chat, large)
        await ben.client.wait_count("message_created", BURST + 3, deadline_s=DEADLINE_S)

        seen = [news["message"]["body"] for news in ben.client.seen("message_created")]
        assert seen == ["there", "and back", *bodies, large]
        for person in (ana, ben):
            expected = "polling" if transport == "polling" else "websocket"
            assert (await person.client.state())["transport"] == expected
            assert person.client.seen("disconnect") == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_clients_address_arrives(kind: Kind, database: Path, tmp_path: Path) -> None:
    """Limits count each client by its own address; what a client claims about it changes nothing."""
    claims = [{"X-Forwarded-For": "203.0.113.1"}, {"Forwarded": "for=203.0.113.2"}, {"X-Real-IP": "203.0.113.3"}, {}]
    async with (
        running(database, trusted_proxies="127.0.0.1", connects_per_minute_address=3) as server,
        proxying(kind, server.port, tmp_path / kind) as proxy,
    ):
        statuses = {
            address: [(await get(proxy, HANDSHAKE, address=address, headers=claim))[0] for claim in claims]
            for address in ("127.0.0.2", "127.0.0.3")
        }
        assert statuses == {"127.0.0.2": [200, 200, 200, 429], "127.0.0.3": [200, 200, 200, 429]}

        def said() -> list[dict[str, Any]]:
            return [json.loads(line) for line in server.output if line.startswith("{")]

        def addresses() -> set[str]:
            return {line["address"] for line in said() if "address" in line}

        await eventually("the log has both", lambda: len(addresses()) >= 2)
        assert addresses() == {"127.0.0.2", "127.0.0.3"}
        assert not [line for line in said() if "forwarded headers, which are ignored" in line["event"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_origin_is_the_proxys(kind: Kind, server: ServerProcess, tmp_path: Path) -> None:
    """A page that comes from the name and scheme that the proxy has is the server's own; another's is refused."""
    async with proxying(kind, server.port, tmp_path / kind) as proxy:
        own = await get(proxy, HANDSHAKE, headers={"Origin": proxy.url})
        assert own[0] == 200
        other = await get(proxy, HANDSHAKE, headers={"Origin": proxy.url, "X-Forwarded-Host": "evil.example"})
        assert other[0] == 200, "what a client says about the host changes nothing"
        evil = {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
        assert (await get(proxy, HANDSHAKE, headers=evil))[0] == 403


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_else_is_let_through(kind: Kind, tmp_path: Path) -> None:
    """Metrics and the monitoring page cannot be reached from outside, under no spelling."""
    inside = ["/metrics", "/monitor", "/monitor/users", "/readyz", "/", "/demo/", "//metrics", "/session/../metrics"]
    inside += [
        "/socket.io/../metrics",
        "/socket.io/%2e%2e/metrics",
        "/socket.io/..%2fmetrics",
        "/METRICS",
        "/session/x",
    ]
    outside = ["/socket.io/?EIO=4&transport=polling", "/socket.io?EIO=4&transport=polling", "/session", "/healthz"]
    async with recorder() as (port, paths), proxying(kind, port, tmp_path / kind) as proxy:
        for path in inside:
            status, _ = await get(proxy, path)
            assert status in {400, 404}, path
        assert paths == []
        for path in outside:
            assert (await get(proxy, path))[0] == 200, path
        assert paths == outside


@pytest.mark.parametrize("kind", KINDS)
async def test_forwarded_headers_are_written_anew(kind: Kind, tmp_path: Path) -> None:
    """What a client writes into them does not get through, and the server sees one value of each."""
    claims = {
        "X-Forwarded-For": "203.0.113.1",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=203.0.113.2",
    }
    async with recorder() as (port, _), proxying(kind, port, tmp_path / kind) as proxy:
        _, headers = await get(proxy, "/session", address="127.0.0.2", headers=claims)
        scheme, _, host = proxy.url.partition("://")
        assert headers["X-Forwarded-For"] == ["127.0.0.2"]
        assert headers["X-Forwarded-Proto"] == [scheme]
        assert headers["X-Forwarded-Host"] == [host]
        assert headers["Host"] == [host]
        assert "Forwarded" not in headers


async def test_nginx_leads_to_tls(server: ServerProcess, tmp_path: Path) -> None:
    """Without TLS there is nothing but the way to it."""
    async with (
        proxying("nginx", server.port, tmp_path / "nginx") as proxy,
        aiohttp.ClientSession() as http,
        http.get(
            f"http://127.0.0.1:{proxy.plain_port}{HANDSHAKE}",
            headers={"Host": "chat.example.com"},
            allow_redirects=False,
        ) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (301, f"https://chat.example.com{HANDSHAKE}")


@pytest.mark.parametrize("transport", ["websocket", "upgrade"])
async def test_nginx_reloads(transport: Transport, server: ServerProcess, node: Node, tmp_path: Path) -> None:
    """nginx cuts its websockets some time after a reload; the client comes back by itself and misses nothing."""
    async with proxying("nginx", server.port, tmp_path / "nginx") as proxy:
        ana = await Stage(server, node).person("ana")
        ben = await Stage(proxy, node, transport=transport).person("ben", **proxy.options)
        chat = await ana.create("ben")
        await ben.join(chat)
        await ana.send(chat, "before")
        await ben.client.wait("message_created")
        mark = ben.client.mark()
        proxy.reload()
        await ben.client.wait("disconnect", after=mark, deadline_s=DEADLINE_S)
        await ana.send(chat, "meanwhile")
        await ben.client.wait("welcome", after=mark, deadline_s=DEADLINE_S)
        assert [message["body"] for message in (await ben.join(chat, after=1))["messages"]] == ["meanwhile"]
        await ana.send(chat, "after")
        await ben.client.wait("message_created", lambda news: news["message"]["body"] == "after", after=mark)


# The one long test: it waits for nginx's 60 s to pass.
@pytest.mark.thorough
async def test_idle_clients_stay(database: Path, node: Node, tmp_path: Path) -> None:
    """A minute without a byte ends no connection through the shipped nginx.conf or Caddyfile, neither websocket nor
    polling. nginx without its proxy_read_timeout, in the same minute, ends both."""

    def without_timeout(text: str) -> str:
        changed, count = re.subn(r"^\s*proxy_read_timeout .*\n", "", text, flags=re.M)
        assert count == 1
        return changed

    transports: tuple[Transport, ...] = ("websocket", "polling")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            running(database, ping_interval_s=SILENCE_S, trusted_proxies="127.0.0.1")
        )
        shipped = await stack.enter_async_context(proxying("nginx", server.port, tmp_path / "shipped"))
        caddy = await stack.enter_async_context(proxying("caddy", server.port, tmp_path / "caddy"))
        default = await stack.enter_async_context(
            proxying("nginx", server.port, tmp_path / "default", change=without_timeout)
        )
        # The ones that are to stay are silent for longer: they were there first.
        stay = [
            await idle(proxy, node, f"stay-{number}-{each}", each)
            for number, proxy in enumerate((shipped, caddy))
            for each in transports
        ]
        cut = [await idle(default, node, f"cut-{each}", each) for each in transports]
        for person in cut:
            await person.client.wait("disconnect", deadline_s=2 * SILENCE_S)
        for person in stay:
            assert person.client.seen("disconnect") == []
            sid = (await person.client.state())["sid"]
            await person.client.ok("list_conversations", {"limit": 1})
            assert person.client.seen("connect") == [sid], "it is still its first connection"
            assert person.client.seen("disconnect") == []


async def idle(proxy: Proxy, node: Node, user: str, transport: Transport) -> Any:
    """A user to whom nothing more happens; one that was cut does not come back."""
    person = await Stage(proxy, node, transport=transport).person(user, reconnection=False, **proxy.options)
    await person.settle()
    return person


async def get(
    proxy: Proxy, path: str, *, address: str = "127.0.0.1", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """GET a path as it is spelt, from an address of this machine. Returns status and JSON, if it is that."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get(URL(proxy.url + path, encoded=True), headers=headers, ssl=proxy.tls) as answer,
    ):
        return answer.status, await answer.json() if "json" in answer.content_type else None


async def post(proxy: Proxy, path: str, body: bytes, *, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """POST a body. Returns the status and the answer; 502 where the connection was cut."""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.post(proxy.url + path, data=io.BytesIO(body), headers=headers, ssl=proxy.tls) as answer,
        ):
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 502, ""


# What is held before it reaches the server


@pytest.mark.parametrize("kind", KINDS)
async def test_compressed_requests_end_at_the_proxy(kind: Kind, tmp_path: Path) -> None:
    """102 bytes of gzip became 21 000 packets behind it: no client compresses, so what is compressed is refused."""
    async with recorder() as (port, paths), proxying(kind, port, tmp_path / kind) as proxy:
        for encoding in ("gzip", "GZIP", "deflate", "br", "identity, gzip"):
            status, _ = await post(proxy, HANDSHAKE, b"x" * 102, headers={"Content-Encoding": encoding})
            assert status == 415, encoding
        assert paths == []


@pytest.mark.parametrize("kind", KINDS)
async def test_large_bodies_end_at_the_proxy(kind: Kind, tmp_path: Path) -> None:
    """What the server reads past, to say that it is too large, gets through; twice its size does not."""
    largest_bytes = Settings().max_skipped_bytes
    async with recorder() as (port, paths), proxying(kind, port, tmp_path / kind) as proxy:
        assert (await post(proxy, HANDSHAKE, b"x" * largest_bytes))[0] == 200
        assert (await post(proxy, HANDSHAKE, b"x" * 2 * largest_bytes))[0] in {413, 502}
        assert len(paths) <= 2  # Caddy passes on what it has of it, and cuts it


@pytest.mark.parametrize("kind", KINDS)
async def test_room_for_cookies(kind: Kind, tmp_path: Path) -> None:
    """32 KiB of cookies in one line are taken; a head of several times that is not."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers a head of any size with its length."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
            sizes.append(len(head))
        writer.close()

    sizes: list[int] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    async with server, proxying(kind, server.sockets[0].getsockname()[1], tmp_path / kind) as proxy:
        assert (await get(proxy, "/session", headers={"Cookie": "a=" + "x" * (32 << 10)}))[0] == 200
        assert sizes[0] > 32 << 10
        status, _ = await get(proxy, "/session", headers={"Cookie": "a=" + "x" * (200 << 10)})
        assert status in {400, 414, 431, 494}
        assert len(sizes) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_heads_are_given_up(kind: Kind, tmp_path: Path) -> None:
    """A head that does not come to its end is dropped by the proxy, and the server never hears of it."""

    def quicker(text: str) -> str:
        for shipped in ("client_header_timeout    10s;", "read_header 10s"):
            text = text.replace(shipped, shipped.replace("10s", "1s"))
        return text

    async with recorder() as (port, paths), proxying(kind, port, tmp_path / kind, change=quicker) as proxy:
        url = URL(proxy.url)
        reader, writer = await asyncio.open_connection(url.host, url.port, ssl=proxy.tls or None)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            await writer.drain()
            async with asyncio.timeout(DEADLINE_S):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        assert paths == []


async def test_nginx_bounds_the_connections_of_an_address(database: Path, tmp_path: Path) -> None:
    """One address more than its share gets 429; another one is served."""

    def fewer(text: str) -> str:
        return text.replace("limit_conn        chat_address 600;", "limit_conn        chat_address 3;")

    async with (
        running(database, trusted_proxies="127.0.0.1") as server,
        proxying("nginx", server.port, tmp_path / "nginx", change=fewer) as proxy,
        AsyncExitStack() as stack,
    ):
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=proxy.tls, local_addr=("127.0.0.2", 0)))
        )
        for _ in range(3):
            url = f"{proxy.url}/socket.io/?EIO=4&transport=websocket"
            socket = await stack.enter_async_context(http.ws_connect(url))
            assert (await socket.receive_str()).startswith("0")
        assert (await get(proxy, HANDSHAKE, address="127.0.0.2"))[0] == 429
        assert (await get(proxy, HANDSHAKE, address="127.0.0.3"))[0] == 200
