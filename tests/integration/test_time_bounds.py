"""Whoever takes up a place and does nothing with it is ended within its bound; and the sweep finds what went wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from socketserver.door.visits import Guest
from urllib.parse import urlsplit

import pytest
from support.guarded import Chat, chatting, enter, http, knock, poll_handshake, until
from support.waiting import measured_lag

PING_S = 0.3
# A ping and the time for its answer, and the wheel's slowness.
GONE_S = 2 * PING_S + 1.5
# Not what the test is about: it does not end before.
LONG_S = 60


@pytest.fixture
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[Chat]:
    """Who does not answer pings is ended soon in a test that is marked `silent`, and not in the others."""
    ping_timeout_s = getattr(request, "param", LONG_S)
    async with chatting(ping_interval_s=PING_S, ping_timeout_s=ping_timeout_s, auth_timeout_s=0.5) as chat:
        chat.sio.eio.connect_timeout = LONG_S
        yield chat


silent = pytest.mark.parametrize("chat", [PING_S], indirect=True)


async def gone(chat: Chat, bound_s: float) -> None:
    """No session is left within that time."""
    started_s = time.monotonic()
    async with measured_lag() as lag:
        await until(lambda: not chat.sio.eio.sessions and not len(chat.sessions), "everybody is gone")
        assert time.monotonic() - started_s < bound_s + lag.seconds


async def test_a_session_that_never_connects(chat: Chat) -> None:
    """It answers pings, but sends no CONNECT: closed at the deadline, not before."""
    chat.sio.eio.connect_timeout = 0.5
    started_s = time.monotonic()
    async with http() as session, measured_lag() as lag:
        raw = await knock(session, chat)
        while not raw.closed:
            await raw.read()
        assert 0.5 <= time.monotonic() - started_s < 2 + lag.seconds
        assert not chat.sio.eio.sessions


async def test_a_socket_that_never_authenticates(chat: Chat) -> None:
    """Told `auth_timeout`, and disconnected so that it stays away."""
    async with http() as session:
        raw = await enter(session, chat, None)
        ended, _ = await raw.end()
        assert (ended["code"], ended["reconnect"]) == ("auth_timeout", False)
        await gone(chat, 3)


@silent
async def test_a_half_open_connection(chat: Chat) -> None:
    """A peer that is there but answers no ping, and takes nothing, is gone after interval and timeout."""
    address = urlsplit(chat.url)
    assert address.hostname
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    writer.write(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    assert len(chat.sio.eio.sessions) == 1
    await gone(chat, GONE_S)
    writer.close()


@silent
async def test_a_polling_client_that_vanished(chat: Chat) -> None:
    """It opened a session and never polled again, or is gone in the middle of a poll."""
    async with http() as session:
        for _ in range(3):
            assert (await poll_handshake(session, chat))[0] == 200
        _, _, text = await poll_handshake(session, chat)
        sid, sessions = json.loads(text[1:])["sid"], chat.sio.eio.sessions
        poll = asyncio.create_task(session.get(f"{chat.url}/socket.io/?EIO=4&transport=polling&sid={sid}"))
        await until(lambda: sid not in sessions or sessions[sid].poll is not None, "the poll waits")
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
        await gone(chat, GONE_S)


async def test_an_upgrade_that_stalls(chat: Chat) -> None:
    """The websocket is closed at its deadline, the session goes on polling."""
    chat.sio.eio.upgrade_timeout = 1
    async with http() as session, measured_lag() as lag:
        _, _, text = await poll_handshake(session, chat)
        sid = json.loads(text[1:])["sid"]
        started_s = time.monotonic()
        socket = await session.ws_connect(f"{chat.url}/socket.io/?EIO=4&transport=websocket&sid={sid}")
        await socket.send_str("2probe")
        assert await socket.receive_str() == "3probe"
        assert (await socket.receive()).data in (None, 1000, 1006)
        assert 1 <= time.monotonic() - started_s < 2.5 + lag.seconds
        assert sid in chat.sio.eio.sessions
        async with session.post(f"{chat.url}/socket.io/?EIO=4&transport=polling&sid={sid}", data="1") as response:
            assert response.status == 200


async def test_slow_loris() -> None:
    """Connections that never finish the head of a request have no session and are closed in time, whatever they drip;
    the others are served meanwhile."""
    async with chatting(keepalive_s=1) as chat, http() as session, measured_lag() as lag:
        address = urlsplit(chat.url)
        assert address.hostname
        slow = [await asyncio.open_connection(address.hostname, address.port) for _ in range(50)]
        for _, writer in slow:
            writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        ann = await enter(session, chat, "ann")
        assert len(chat.sio.eio.sessions) == 1
        ends = [asyncio.create_task(reader.read()) for reader, _ in slow]
        started_s = time.monotonic()
        while not all(end.done() for end in ends) and time.monotonic() < started_s + 5 + lag.seconds:
            for _, writer in slow:
                writer.write(b"x")
            await asyncio.wait(ends, timeout=0.05)
        for end, (_, writer) in zip(ends, slow, strict=True):
            assert end.done()
            await asyncio.gather(end, return_exceptions=True)
            writer.close()
        assert (await ann.ask("list_conversations", {}))["ok"]


async def test_the_sweep_finds_nothing_to_mend() -> None:
    """In ordinary life ours and the engine's registries agree."""
    async with chatting() as chat, http() as session:
        people = [await enter(session, chat, user) for user in ("ann", "bob")]
        conversation = (await people[0].ask("create_conversation", {"participantIds": ["bob"]}))["conversation"]["id"]
        for person in people:
            await person.ask("join_conversation", {"conversationId": conversation})
        await people[1].ask("leave_conversation", {"conversationId": conversation})
        await enter(session, chat, None)
        chat.clock.advance(9)
        assert await chat.lifecycle.sweep() == 0
        assert chat.guards.sweep(list(chat.sio.eio.sessions.values())) == 0


async def test_the_sweep_mends_both_ways(caplog: pytest.LogCaptureFixture) -> None:
    """An entry without a socket, a socket without an entry, a missing room, a room too many: counted and healed."""
    async with chatting() as chat, http() as session:
        ann, bob = await enter(session, chat, "ann"), await enter(session, chat, "bob")
        conversation = (await ann.ask("create_conversation", {"participantIds": ["bob"]}))["conversation"]["id"]
        await ann.ask("join_conversation", {"conversationId": conversation})
        await chat.sio.leave_room(ann.sid, f"c:{conversation}")
        await chat.sio.enter_room(ann.sid, "c:another")
        chat.sessions.add("nobody", chat.clock.monotonic_s(), Guest("192.0.2.1", "192.0.2.1", None, ""))
        chat.sessions.remove(bob.sid)
        with caplog.at_level(logging.WARNING):
            chat.clock.advance(chat.settings.sweep_s)
            await until(lambda: chat.housekeeping.mended == 4, "the sweep has mended four differences")
        ended, _ = await bob.end()
        assert (ended["code"], ended["reconnect"]) == ("stale", True)
        assert set(chat.sio.rooms(ann.sid)) >= {f"c:{conversation}"}
        assert "c:another" not in chat.sio.rooms(ann.sid)
        assert chat.sessions.known("nobody") is None
        assert await chat.lifecycle.sweep() == 0
        warnings = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len([record for record in warnings if record.name.startswith("socketserver")]) == 4
