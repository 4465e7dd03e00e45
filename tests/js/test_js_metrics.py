"""What /metrics says after real clients have done things: the figures move as the things happened."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.app import HOUSEKEEPING, METRICS

import aiohttp
import pytest
from support.node import Node
from support.scrape import OPENMETRICS, Scrape
from support.servers import LocalServer, serving
from support.stage import Stage
from support.waiting import eventually

EVIL = {"Origin": "https://evil.example"}


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def scrape(browser: aiohttp.ClientSession, server: LocalServer, accept: str = "") -> Scrape:
    async with browser.get(f"{server.url}/metrics", headers={"Accept": accept}) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Cache-Control"] == "no-store"
        return Scrape.read(await response.text(), response.headers["Content-Type"])


async def test_messages_and_their_repeats(server: LocalServer, node: Node, browser: aiohttp.ClientSession) -> None:
    """Three messages, one sent twice, one key used for something else; both formats, the same figures."""
    stage = Stage(server, node)
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ana.join(chat)
    await ben.join(chat)
    before = await scrape(browser, server)
    for number in range(3):
        await ana.send(chat, f"number {number}", key=f"k{number}")
    again = await ana.send(chat, "number 2", key="k2")
    assert again["duplicate"] is True
    conflict = {"conversationId": chat, "idempotencyKey": "k2", "body": "something else"}
    assert (await ana.client.refused("send_message", conflict))["code"] == "idempotency_conflict"
    assert (await ana.client.refused("no_such_event", {}))["code"] == "unknown_event"
    await ben.client.wait_count("message_created", 3)
    for accept in ("", OPENMETRICS):
        after = await scrape(browser, server, accept)
        assert after("messages_total") - before("messages_total") == 3
        assert after("duplicates_total") - before("duplicates_total") == 1
        assert after("events_total", event="send_message", outcome="ok") == 4
        assert after("events_total", event="send_message", outcome="idempotency_conflict") == 1
        assert after("events_total", event="unknown", outcome="unknown_event") == 1
        assert after("events_total", event="join_conversation", outcome="ok") == 2
        assert after("message_ack_seconds_count") == 4
        assert after("message_fanout_seconds_count") == 3
        # From the receipt to the ack the message is stored and announced: neither can take no time at all.
        assert after("message_ack_seconds_sum") > 0
        assert after("message_fanout_seconds_sum") > 0
        assert after("message_ack_seconds_bucket", le="10.0") == 4
        writes = after("store_commit_writes_sum") - before("store_commit_writes_sum")
        assert writes >= 5, "three messages, a repeat and a conflict went through the store"
        assert after("store_commit_seconds_count") == after("store_commit_writes_count") > 0
        assert after("store_errors_total") == 0
        assert after("users") == 2
        assert after("sockets", transport="websocket") == 2
        assert after("sockets", transport="polling") == 0
        assert after("rooms") > 0
        assert after("sweep_findings_total") == server.app[HOUSEKEEPING].mended == 0
        assert after("resident_memory_bytes") > 5_000_000
        assert after("cpu_seconds_total") > 0
    page = server.app[METRICS].snapshot()
    assert (page.messages, page.duplicates, page.reading.users) == (3, 1, 2)
    assert page.ack.count == 4
    assert 0 < (page.ack.quantile(0.99) or 0) <= 10


async def test_connects_and_ends(server: LocalServer, node: Node, browser: aiohttp.ClientSession) -> None:
    """A second tab, a page that is left, a connection that is cut, and its return."""
    stage = Stage(server, node)
    old = await stage.person("ana", transport="polling")
    assert (await scrape(browser, server))("sockets", transport="polling") == 1
    new = await stage.person("ana")
    await old.client.wait("session_ended")
    await eventually("the old one is gone", lambda: len(server.sessions) == 1)
    first = await scrape(browser, server)
    assert first("ends_total", code="replaced") == 1
    assert first("connects_total") == first("authentications_total") == 2
    assert first("reconnects_total") == 1

    await new.client.cut()
    await new.client.wait_count("welcome", 2)
    await eventually("the cut one is gone", lambda: len(server.sessions) == 1)
    cut = await scrape(browser, server)
    assert cut("reconnects_total") == 2
    # It came back before or after the server had seen that the old connection is dead.
    assert cut("ends_total", code="transport_close") + cut("ends_total", code="replaced") == 2

    await new.client.disconnect()
    await eventually("everybody is gone", lambda: len(server.sessions) == 0)
    last = await scrape(browser, server)
    assert last("ends_total", code="client_disconnect") == 1
    assert last("users") == 0
    ends = sum(s.value for s in last.families["socketserver_ends"].samples if s.name.endswith("_total"))
    assert ends == last("connects_total"), "whoever was let in has ended, once"


async def test_refusals(server: LocalServer, node: Node, browser: aiohttp.ClientSession) -> None:
    """At the handshake, at CONNECT, and over HTTP; nobody of them counts as connected."""
    stage = Stage(server, node)
    client = await stage.open(auth={"token": "nonsense"})
    await client.wait("connect_error")
    socket_io = f"{server.url}/socket.io/?EIO=4&transport=polling"
    for path, headers, status in [
        (socket_io, EVIL, 403),
        (f"{server.url}/socket.io/?EIO=3&transport=polling", {}, 400),
        (f"{socket_io}&sid=gone", {}, 400),
        (f"{server.url}/session", EVIL, 403),
        (f"{server.url}/metrics", {"X-Forwarded-For": "203.0.113.9"}, 403),
    ]:
        async with browser.get(path, headers=headers) as response:
            assert response.status == status
    bearer = {"Authorization": "Bearer nonsense"}
    async with browser.post(f"{server.url}/session", headers=bearer) as response:
        assert response.status == 401
    seen = await scrape(browser, server)
    assert seen("refusals_total", at="connect", code="invalid_token") == 1
    assert seen("refusals_total", at="handshake", code="origin_not_allowed") == 1
    assert seen("refusals_total", at="handshake", code="unsupported_version") == 1
    assert seen("refusals_total", at="handshake", code="unknown_sid") == 1
    assert seen("refusals_total", at="http", code="origin_not_allowed") == 1
    assert seen("refusals_total", at="http", code="invalid_token") == 1
    assert seen("refusals_total", at="http", code="admin_required") == 1
    assert seen("connects_total") == 0
    assert sum(s.value for s in seen.families["socketserver_ends"].samples if s.name.endswith("_total")) == 0


async def test_a_loop_shows_as_refusals(database: Path, node: Node, browser: aiohttp.ClientSession) -> None:
    """What the guards refuse is in the figures, and so is what they remember."""
    async with serving(database, failed_connects_per_minute_address=2) as server:
        stage = Stage(server, node)
        for _ in range(3):
            client = await stage.open(auth={"token": "nonsense"}, reconnection=False)
            await client.wait("connect_error")
        seen = await scrape(browser, server)
        assert seen("refusals_total", at="connect", code="invalid_token") == 2
        assert seen("refusals_total", at="connect", code="too_many_connects") == 1
        assert seen("guard_entries", registry="failed") == 2  # one for the failures, one for the refusal


TOKEN = "an admin token of the length it needs"


async def test_the_admin_token_over_http(database: Path, browser: aiohttp.ClientSession) -> None:
    """As Prometheus sends it, as a browser does; and what is neither, bytes that are no text among them."""
    async with serving(database, admin_token=TOKEN) as server:
        url = f"{server.url}/metrics"
        for headers in (
            {"Authorization": f"Bearer {TOKEN}"},
            {"Authorization": basic(TOKEN)},
        ):
            async with browser.get(url, headers=headers) as response:
                assert response.status == 200
                assert "socketserver_users" in await response.text()
        wrong = [{}, {"Authorization": f"Bearer {TOKEN}!"}, {"Authorization": basic("no")}]
        for headers in wrong:
            async with browser.get(url, headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"].startswith("Basic")
                assert (await response.json())["error"]["code"] == "admin_required"
        for raw in (b"Bearer \xff\xfe" * 8, b"Basic \xff\xfe", b"\x80"):
            assert b"401" in await first_line(
                server, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + raw
            )


async def test_another_name_is_not_this_machine(server: LocalServer) -> None:
    """A page whose name points here (DNS rebinding), and a proxy that speaks HTTP/1.0."""
    assert b"200" in await first_line(server, b"GET /metrics HTTP/1.1\r\nHost: localhost")
    assert b"403" in await first_line(server, b"GET /metrics HTTP/1.1\r\nHost: rebound.example")
    assert b"403" in await first_line(server, b"GET /metrics HTTP/1.0\r\nHost: localhost")


def basic(password: str) -> str:
    return f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"


async def first_line(server: LocalServer, head: bytes) -> bytes:
    """Of the answer to a request as it stands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    try:
        writer.write(head + b"\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(30):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
