"""The moments in which a stop may find a client, frame by frame; with real clients: tests/js/test_js_stop.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.app import SHUTDOWN
from socketserver.realtime import AsyncServer
from typing import Any

import pytest
from support import engine
from support.engine import Http, client_of
from support.servers import LocalServer, serving, token
from support.waiting import eventually


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with serving(tmp_path / "chat.db") as server:
        server.sio.eio.finish_timeout = engine.UNIT_S  # who polls may be slow to fetch the last messages
        yield server


async def stop(server: LocalServer) -> None:
    await server.app[SHUTDOWN].end_clients()


def ended(packets: str) -> dict[str, Any]:
    """What the session_ended among these packets says."""
    (told,) = [packet for packet in packets.split("\x1e") if packet.startswith('42["session_ended"')]
    payload: dict[str, Any] = json.loads(told[2:])[1]
    return payload


async def polling_client(http: Http) -> str:
    """A welcomed client that polls, between two polls."""
    sid = await http.handshake()
    await http.post(sid, "40" + json.dumps({"token": token("ann")}))
    text = ""
    while "welcome" not in text:
        text = (await http.poll(sid))[1]
    return sid


async def test_a_client_between_two_polls(server: LocalServer) -> None:
    """Its next poll brings session_ended, and the one after it the end."""
    async with client_of(server.url) as http:
        sid = await polling_client(http)
        stopping = asyncio.create_task(stop(server))
        await eventually("the end waits for its poll", lambda: not server.sio.eio.sessions[sid].open)
        assert ended((await http.poll(sid))[1])["code"] == "restart"
        assert (await http.poll(sid))[0] == 400  # not CLOSE, which python-socketio's client takes for final
        await stopping


async def test_a_client_that_waits_in_a_poll(server: LocalServer) -> None:
    """The poll is answered with session_ended."""
    async with client_of(server.url) as http:
        sid = await polling_client(http)
        polling = asyncio.create_task(http.poll(sid))
        await eventually("it polls", lambda: server.sio.eio.sessions[sid].poll)
        stopping = asyncio.create_task(stop(server))
        assert ended((await polling)[1])["code"] == "restart"
        assert (await http.poll(sid))[0] == 400  # not CLOSE, which python-socketio's client takes for final
        await stopping


@pytest.mark.parametrize("probed", [False, True])
async def test_a_client_that_is_upgrading(server: LocalServer, probed: bool) -> None:
    """Before its probe or after it, the client gets session_ended over one of its two transports, and then the end."""
    async with client_of(server.url) as http:
        sid = await polling_client(http)
        raw = await http.websocket(f"&sid={sid}")
        if probed:
            await raw.send("2probe")
            assert await raw.frame() == "3probe"
        stopping = asyncio.create_task(stop(server))
        await eventually("it is being ended", lambda: not server.sio.eio.sessions[sid].open)
        if not probed:
            await raw.send("2probe")
            assert await raw.frame() == "3probe"
        await raw.send("5")
        assert ended(await raw.next())["code"] == "restart"
        assert await raw.next() == 1000
        await stopping
        assert not server.sio.eio.sessions


async def test_a_client_that_is_not_connected_yet(server: LocalServer) -> None:
    """A session that has not sent its CONNECT is closed without a word; its client comes back by itself."""
    async with client_of(server.url) as http:
        raw = await http.websocket()
        stopping = asyncio.create_task(stop(server))
        assert await raw.next() == 1000
        await stopping


@pytest.mark.parametrize("async_handlers", [False, True])
async def test_what_was_sent_before_is_answered(async_handlers: bool) -> None:
    """What had arrived before `drain` is answered when `settled` returns; what comes later is not taken."""
    sio = AsyncServer(ping_interval=5, ping_timeout=5, finish_timeout=engine.UNIT_S, async_handlers=async_handlers)
    gate = asyncio.Event()
    started: list[int] = []

    @sio.event
    async def work(sid: str, number: int) -> int:
        started.append(number)
        await gate.wait()
        return number

    async with engine.serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        await raw.send('421["work",1]', '422["work",2]')
        await eventually("it is in a handler", lambda: len(started) == 1 + async_handlers)
        (session,) = sio.eio.sessions.values()
        await eventually(
            "the other has arrived", lambda: async_handlers or session.inbox.has_work or len(session.inbox) == 1
        )
        sio.drain()
        settled = asyncio.create_task(sio.settled(sid))
        await raw.send('423["work",3]')
        await raw.socket.ping()
        gate.set()
        await settled
        await sio.close_transport(sid)
        assert [await raw.next(), await raw.next()] == ["431[1]", "432[2]"]
        assert await raw.next() == 1000
    assert started == [1, 2]
