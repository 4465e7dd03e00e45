"""The chat server in this process, raw Socket.IO clients that may come from several loopback addresses, stock clients
under Node with an application that behaves badly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from socketserver.app import GUARDS, HOUSEKEEPING, SESSIONS, SIO, create_app, make_runner
from socketserver.cli import KEEPALIVE_S
from socketserver.door.auth import Authenticator
from socketserver.door.connects import Guards
from socketserver.housekeeping import Housekeeping
from socketserver.live.connections import Sessions
from socketserver.live.lifecycle import Lifecycle
from socketserver.realtime import AsyncServer
from socketserver.settings import Settings
from typing import Any, Final

import aiohttp
from aiohttp import web

from .servers import MovedClock
from .stopping import stop
from .turns import watched_turns

DEADLINE_S: Final = 10.0
_KEYS: Final = itertools.count(1)
# A socket that nobody holds would be closed.
_OPEN: Final[weakref.WeakKeyDictionary[aiohttp.ClientSession, list[Raw]]] = weakref.WeakKeyDictionary()


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until `condition()` is true."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.005)


@dataclass(eq=False)
class Chat:
    """A running server."""

    url: str
    app: web.Application
    clock: MovedClock
    settings: Settings

    @property
    def sio(self) -> AsyncServer:
        return self.app[SIO]

    @property
    def sessions(self) -> Sessions:
        return self.app[SESSIONS]

    @property
    def guards(self) -> Guards:
        return self.app[GUARDS]

    @property
    def housekeeping(self) -> Housekeeping:
        return self.app[HOUSEKEEPING]

    @property
    def lifecycle(self) -> Lifecycle:
        return self.housekeeping.lifecycle

    def token(self, user: str, lifetime_s: int = 3600) -> str:
        return Authenticator(self.settings, self.clock).issue_token(user, lifetime_s=lifetime_s)


@contextlib.asynccontextmanager
async def chatting(*, keepalive_s: float = KEEPALIVE_S, bounded: bool = False, **options: Any) -> AsyncIterator[Chat]:
    """Run a server on a free port of 127.0.0.1, which peers of other loopback addresses can reach too.

    Args:
        bounded: whether its connections are, as those of `python -m socketserver`; else they are plainly aiohttp's.
    """
    clock = MovedClock()
    settings = Settings(**{"port": 0, "store_url": "sqlite:///:memory:", **options})
    app = create_app(settings, clock=clock)
    how: dict[str, Any] = {"access_log": None, "shutdown_timeout": 2, "keepalive_timeout": keepalive_s}
    if bounded:
        runner: web.AppRunner = make_runner(app, settings, handle_signals=False, **how)
    else:
        runner = web.AppRunner(app, handle_signals=False, **how)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        with watched_turns():
            yield Chat(f"http://127.0.0.1:{runner.addresses[0][1]}", app, clock, settings)
    finally:
        await stop(runner)
        left = {name: size for name, size in app[SIO].stats().items() if size}
        assert not left, f"left after shutdown: {left}"


@contextlib.asynccontextmanager
async def http(address: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client whose connections come from this address."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


class Refused(Exception):
    """The server did not let a client in. `error` is what it said."""

    def __init__(self, error: Any) -> None:
        super().__init__(json.dumps(error))
        self.error = error


class Raw:
    """A Socket.IO client of raw frames over a websocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.sid = ""
        self.events: list[tuple[str, Any]] = []
        self.closed = False
        self.close_code = 1006
        self._acks: dict[int, Any] = {}
        self._ids = itertools.count(1)

    async def send(self, *packets: str | bytes) -> None:
        for packet in packets:
            await (self.socket.send_str(packet) if isinstance(packet, str) else self.socket.send_bytes(packet))

    async def read(self, deadline_s: float = DEADLINE_S) -> str | None:
        """The next Engine.IO message without its type digit, None when the connection is closed. Answers pings."""
        while True:
            message = await asyncio.wait_for(self.socket.receive(), deadline_s)
            if message.type is not aiohttp.WSMsgType.TEXT:
                self.closed = True
                if message.type is aiohttp.WSMsgType.CLOSE:
                    self.close_code = message.data  # the socket's is 1006 if this side could not answer any more
                self.socket._response.close()  # aiohttp's client does not where the connection was lost
                return None
            if message.data == "2":
                await self.socket.send_str("3")
            elif message.data.startswith("4"):
                self._take(message.data[1:])
                return str(message.data[1:])

    def _take(self, packet: str) -> None:
        if packet.startswith("2"):
            name, payload = json.loads(packet[1:])
            self.events.append((name, payload))
        elif packet.startswith("3"):
            digits = packet[1 : packet.index("[")]
            self._acks[int(digits)] = json.loads(packet[packet.index("[") :])[0]

    async def connect(self, auth: object = None) -> None:
        """Connect to the namespace. Raises: Refused."""
        await self.send("40" + (json.dumps(auth) if auth is not None else ""))
        while (packet := await self.read()) is not None:
            if packet.startswith("0"):
                self.sid = json.loads(packet[1:])["sid"]
                return
            if packet.startswith("4"):
                raise Refused(json.loads(packet[1:]))
        raise Refused("closed")

    async def emit(self, event: str, payload: object) -> int:
        """Send an event that asks for an ack; returns its id."""
        number = next(self._ids)
        await self.send(f"42{number}{json.dumps([event, payload])}")
        return number

    async def ack(self, number: int, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        while number not in self._acks:
            assert await self.read(deadline_s) is not None, f"closed without the ack; events: {self.events[-3:]}"
        ack = self._acks.pop(number)
        assert isinstance(ack, dict)
        return ack

    async def ask(self, event: str, payload: object, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Send an event and return its ack."""
        return await self.ack(await self.emit(event, payload), deadline_s)

    async def message(self, conversation_id: str, body: str, key: str | None = None) -> dict[str, Any]:
        payload = {"conversationId": conversation_id, "idempotencyKey": key or f"k{next(_KEYS)}", "body": body}
        return await self.ask("send_message", payload)

    async def wait(self, event: str, deadline_s: float = DEADLINE_S) -> Any:
        """The payload of the first event of that name, which is taken out."""
        while True:
            for number, (name, payload) in enumerate(self.events):
                if name == event:
                    del self.events[number]
                    return payload
            assert await self.read(deadline_s) is not None, f"closed without {event}; events: {self.events[-3:]}"

    async def end(self, deadline_s: float = DEADLINE_S) -> tuple[dict[str, Any], int]:
        """What session_ended says, and the close code of the connection that follows it."""
        ended = await self.wait("session_ended", deadline_s)
        while not self.closed:
            await self.read(deadline_s)
        assert isinstance(ended, dict)
        return ended, self.close_code

    async def close(self) -> None:
        await self.socket.close()


async def knock(session: aiohttp.ClientSession, chat: Chat, **headers: str) -> Raw:
    """Open an Engine.IO session over a websocket. Raises: Refused with status and body."""
    url = f"{chat.url}/socket.io/?EIO=4&transport=websocket"
    try:
        socket = await session.ws_connect(url, headers=headers, max_msg_size=0, autoclose=True)
    except aiohttp.WSServerHandshakeError as error:
        raise Refused(error.status) from None
    raw = Raw(socket)
    _OPEN.setdefault(session, []).append(raw)
    assert (await socket.receive_str()).startswith("0")
    return raw


async def enter(session: aiohttp.ClientSession, chat: Chat, user: str | None, **headers: str) -> Raw:
    """A connected client of a user, or of nobody. Raises: Refused."""
    raw = await knock(session, chat, **headers)
    try:
        await raw.connect({"token": chat.token(user)} if user else None)
    except Refused:
        await raw.close()
        raise
    return raw


async def poll_handshake(session: aiohttp.ClientSession, chat: Chat, **headers: str) -> tuple[int, Any, str]:
    """A polling handshake: status, headers, body."""
    async with session.get(f"{chat.url}/socket.io/?EIO=4&transport=polling", headers=headers) as response:
        return response.status, response.headers, await response.text()


@contextlib.contextmanager
def hold_log_errors(caplog: Any) -> Iterator[None]:
    """Nothing may be logged as an error meanwhile."""
    yield
    errors = [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]
    assert not errors, errors
