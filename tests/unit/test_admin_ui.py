"""`AsyncServer.instrument` with any handlers: the ways to log in, the modes, and what the settings ask for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from socketserver.realtime import AsyncServer
from socketserver.settings import SettingsError, load_settings
from typing import Any

import aiohttp
import pytest
from support.engine import serving

DEADLINE_S = 30
ANN = {"username": "ann", "password": "one"}
BEN = {"username": "ben", "password": "two"}


class Ui:
    """A client of the admin namespace, frame by frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.events: list[list[Any]] = []

    async def log_in(self, auth: object) -> bool:
        await self.socket.send_str("40/admin," + json.dumps(auth))
        return (await self.read()).startswith("40")

    async def read(self) -> str:
        while True:
            frame = await self.socket.receive_str(timeout=DEADLINE_S)
            if frame == "2":
                await self.socket.send_str("3")
            elif frame.startswith("42/admin,"):
                self.events.append(json.loads(frame.removeprefix("42/admin,")))
                return frame
            elif frame.startswith("4"):
                return frame

    async def event(self, name: str) -> list[Any]:
        """The arguments of the first event of that name."""
        while not (found := [event[1:] for event in self.events if event[0] == name]):
            await self.read()
        return found[0]


@asynccontextmanager
async def watching(sio: AsyncServer) -> AsyncIterator[Callable[[], Awaitable[Ui]]]:
    async with serving(sio) as url, aiohttp.ClientSession() as session:

        async def open_ui() -> Ui:
            socket = await session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket")
            await socket.receive_str(timeout=DEADLINE_S)
            return Ui(socket)

        yield open_ui


def by_function(auth: Any) -> bool:
    return isinstance(auth, dict) and auth.get("username") == "ann"


async def by_coroutine(auth: Any) -> bool:
    await asyncio.sleep(0)
    return by_function(auth)


@pytest.mark.parametrize(
    "auth", [ANN, [BEN, ANN], by_function, by_coroutine], ids=["one", "several", "function", "coroutine"]
)
async def test_ways_to_log_in(auth: Any) -> None:
    """Those of python-socketio: credentials, several, a function, a coroutine function."""
    sio = AsyncServer()
    sio.instrument(auth)
    async with watching(sio) as open_ui:
        assert await (await open_ui()).log_in(ANN)
        assert not await (await open_ui()).log_in({"username": "eve", "password": "one"})
        assert not await (await open_ui()).log_in(None)


async def test_without_a_login() -> None:
    """False lets everybody in; forgetting `auth` does not."""
    with pytest.raises(ValueError, match="auth"):
        AsyncServer().instrument()
    sio = AsyncServer()
    sio.instrument(auth=False)
    async with watching(sio) as open_ui:
        ui = await open_ui()
        assert await ui.log_in(None)
        await ui.event("server_stats")
        assert [event[0] for event in ui.events if event[0] == "session"] == []


@pytest.mark.parametrize(
    ("options", "features"),
    [
        ({"mode": "production"}, ["AGGREGATED_EVENTS"]),
        ({"read_only": True}, ["AGGREGATED_EVENTS", "ALL_EVENTS"]),
        ({}, ["AGGREGATED_EVENTS", "ALL_EVENTS", "DISCONNECT"]),
    ],
    ids=str,
)
async def test_modes(options: Any, features: list[str]) -> None:
    """In production only numbers; read only, nobody can be disconnected."""
    sio = AsyncServer(namespaces=["/"])
    sio.instrument(auth=ANN, server_id="the first", server_stats_interval=0.01, **options)
    async with watching(sio) as open_ui:
        client = await open_ui()
        await client.socket.send_str("40")
        sid = json.loads((await client.read())[2:])["sid"]
        ui = await open_ui()
        assert await ui.log_in(ANN)
        assert await ui.event("config") == [{"supportedFeatures": features}]
        (stats,) = await ui.event("server_stats")
        assert stats["serverId"] == "the first"
        assert stats["clientsCount"] == 2
        listed = "all_sockets" in [event[0] for event in ui.events]
        assert listed == ("ALL_EVENTS" in features)
        await ui.socket.send_str('42/admin,["_disconnect","/",false,"' + sid + '"]')
        if "DISCONNECT" in features:
            assert await client.read() == "41"
        else:
            ui.events.clear()
            await ui.event("server_stats")
            assert sio.connected("/") == [sid]


async def test_a_header_that_is_no_text() -> None:
    """A client whose User-Agent is no UTF-8 is shown like the others, and nobody is blinded by it."""
    sio = AsyncServer(namespaces=["/"])
    sio.instrument(auth=ANN, server_stats_interval=0.01)
    async with serving(sio) as url, aiohttp.ClientSession() as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        head += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        writer.write(head.encode() + b"User-Agent: \xff\xfe\r\n\r\n" + b"\x81\x82\0\0\0\0" + b"40")
        await asyncio.wait_for(reader.readuntil(b'40{"sid"'), DEADLINE_S)
        ui = Ui(await session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket"))
        await ui.socket.receive_str(timeout=DEADLINE_S)
        assert await ui.log_in(ANN)
        ((shown,),) = await ui.event("all_sockets")
        assert shown["handshake"]["headers"] == {"user-agent": "??"}
        await ui.event("server_stats")
        writer.close()
        await writer.wait_closed()


async def test_another_namespace() -> None:
    """The one that is given, and no other."""
    sio = AsyncServer()
    sio.instrument(auth=ANN, namespace="/watch")
    async with watching(sio) as open_ui:
        ui = await open_ui()
        assert not await ui.log_in(ANN)
        await ui.socket.send_str("40/watch," + json.dumps(ANN))
        assert (await ui.read()).startswith('40/watch,{"sid":')


def test_a_mode_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="mode"):
        AsyncServer().instrument(auth=ANN, mode="staging")


def test_the_setting_needs_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no admin UI without a login."""
    monkeypatch.setenv("WEBSOCKET_ADMIN_UI", "true")
    with pytest.raises(SettingsError, match="WEBSOCKET_ADMIN_UI needs a password: set WEBSOCKET_ADMIN_TOKEN"):
        load_settings({})
    monkeypatch.setenv("WEBSOCKET_ADMIN_TOKEN", "x" * 32)
    assert load_settings({}).admin_ui
