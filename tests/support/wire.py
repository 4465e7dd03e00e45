"""A client that speaks Socket.IO frame by frame over a websocket of this process: where no JavaScript is needed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from .peer import NoAck, Peer, Seen
from .servers import token
from .stage import Actor
from .waiting import DEADLINE_S


class WireClient(Peer):
    """Logs `connect`, the server's events, and `disconnect` with "io server disconnect" or "transport close"."""

    def __init__(self, name: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(name)
        self.notes_acks = False  # whether `log` has the acks too, as "ack"
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def start(self, event: str, *args: Any) -> asyncio.Future[Any]:
        """Emit. Returns the ack to come."""
        packet_id = next(self._ids)
        future = self._waiting[packet_id] = asyncio.get_running_loop().create_future()
        await self.send(f"42{packet_id}{json.dumps([event, *args])}")
        return future

    async def emit(self, event: str, *args: Any, deadline_s: float = DEADLINE_S) -> Any:
        future = await self.start(event, *args)
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError:
            raise NoAck(f"{event}: no ack") from None

    async def send(self, frame: str) -> None:
        """Send a text frame as it is."""
        await self._socket.send_str(frame)

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def abort(self) -> None:
        """Cut the connection without a word."""
        transport = self._socket._response.connection
        assert transport is not None
        assert transport.transport is not None
        transport.transport.abort()

    async def _read(self) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            async for frame in self._socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    await self._take(frame.data)
        self._socket._response.close()  # aiohttp's client does not where the connection was lost rather than closed
        self._lost("transport close")

    async def _take(self, frame: str) -> None:
        if frame == "2":
            await self.send("3")
        elif frame.startswith("40"):
            self.note(Seen("connect", [json.loads(frame[2:])["sid"]]))
        elif frame.startswith("44"):
            self.note(Seen("connect_error", [json.loads(frame[2:])]))
        elif frame.startswith("42"):
            event, *args = json.loads(frame[2:])
            self.note(Seen(event, args))
        elif frame.startswith("43"):
            at = frame.index("[")
            (ack,) = json.loads(frame[at:])
            if self.notes_acks:
                self.note(Seen("ack", [ack]))
            future = self._waiting.pop(int(frame[2:at]))
            if not future.done():  # whoever waited may have given up
                future.set_result(ack)
        elif frame == "41":
            self._lost("io server disconnect")

    def _lost(self, reason: str) -> None:
        if not self.seen("disconnect"):
            self.note(Seen("disconnect", [reason]))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NoAck("disconnected"))
                future.exception()  # whoever waits for it gets it; nobody has to
        self._waiting.clear()


class Wire:
    """Makes such clients."""

    def __init__(self, url: str, http: aiohttp.ClientSession, closing: contextlib.AsyncExitStack) -> None:
        self._url = url
        self._http = http
        self._closing = closing
        self._names = itertools.count(1)

    async def open(self, auth: object = None) -> WireClient:
        """A client that has sent its CONNECT."""
        socket = await self._http.ws_connect(f"{self._url}/socket.io/?EIO=4&transport=websocket")
        await socket.receive_str()  # the handshake's answer
        client = WireClient(f"w{next(self._names)}", socket)
        self._closing.push_async_callback(client.close)
        await client.send("40" + ("" if auth is None else json.dumps(auth)))
        return client

    async def person(self, user: str, **told: str) -> WirePerson:
        """A user's client, welcomed; `told` are a name and a picture."""
        client = await self.open({"token": token(user, **told)})  # type: ignore[arg-type]
        await client.wait("welcome")
        return WirePerson(user, client)

    async def people(self, *users: str) -> list[WirePerson]:
        return [await self.person(user) for user in users]


class WirePerson(Actor):
    """A user with such a client."""

    client: WireClient


@contextlib.asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Wire]:
    """Clients to the server at an address, closed at the end."""
    connector = aiohttp.TCPConnector(limit=0)  # by default a hundred connections, and the next one waits
    async with aiohttp.ClientSession(connector=connector) as http, contextlib.AsyncExitStack() as closing:
        yield Wire(url, http, closing)
