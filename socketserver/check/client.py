"""A small Socket.IO client that keeps what it sees, over long-polling, a websocket, and the upgrade between them.

It reads when it is told to, in the caller's task and with the caller's deadline, and turns whatever is not as it
should be into a Fault. What it keeps is bounded. python-socketio has a client too, but that one retries, falls back and
reports "could not connect": it hides what this one is there to find.
Source: the Socket.IO protocol, revision 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from .causes import Fault, parse, refused
from .fetching import CLOSE_S, Http
from .transports import Opened, Polling, WebSocket

MAX_EVENTS: Final = 1_000
# Those that are waited for are small.
MAX_EVENT_CHARS: Final = 1 << 14
_PROBE: Final = "probe"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the server's. `came_ms`: this machine's wall clock."""

    name: str
    payload: Any
    came_ms: float


class Client:
    """A Socket.IO client on one transport or another.

    Attributes:
        sid: its Socket.IO id, once connected.
        refusal: the error with which the server refused the connect.
        events: what the server emitted: at most MAX_EVENTS, and none that is longer than MAX_EVENT_CHARS.
        pings: how many Engine.IO pings were answered.
    """

    def __init__(self, http: Http, transport: Polling | WebSocket, handshake: Opened) -> None:
        self._http = http
        self.transport = transport
        self.handshake = handshake
        self.sid: str | None = None
        self.refusal: Mapping[str, Any] | None = None
        self.events: list[Event] = []
        self.pings = 0
        self._asked = 0
        self._ack: Any = None

    async def connect(self, token: str | None) -> None:
        """Connect to the namespace; whether the server accepted, `sid` and `refusal` say.

        Raises: Fault.
        """
        await self.transport.send("40" + (json.dumps({"token": token}) if token is not None else ""))
        await self._until(lambda: self.sid or self.refusal)

    async def ask(self, event: str, payload: object) -> Mapping[str, Any]:
        """Send an event. Returns: its ack, one that says ok.

        Raises: Fault.
        """
        self._asked += 1
        self._ack = None
        await self.transport.send(f"42{self._asked}{json.dumps([event, payload])}")
        ack = await self._until(lambda: self._ack)
        if not isinstance(ack, dict) or ack.get("ok") is not True:
            error = ack.get("error") if isinstance(ack, dict) else None
            raise refused(error if isinstance(error, dict) else {"code": f"an ack of another form to {event}"})
        return ack

    async def wait(self, event: str, where: Callable[[Any], object] = lambda payload: True) -> Event:
        """The first event of that name for whose payload `where` holds.

        Raises: Fault.
        """
        looked_at = 0

        def look() -> Event | None:
            nonlocal looked_at
            fresh, looked_at = self.events[looked_at:], len(self.events)
            return next((seen for seen in fresh if seen.name == event and where(seen.payload)), None)

        return await self._until(look)

    async def listen(self) -> None:
        """Take what comes and answer pings, without end.

        Raises: Fault.
        """
        while True:
            await self._read()

    async def upgrade(self) -> None:
        """Move from polling to a websocket as the JavaScript client does, with a poll pending meanwhile.

        Raises: Fault; the client then goes on with polling.
        """
        polling = self.transport
        pending = asyncio.ensure_future(polling.receive())
        socket = None
        try:
            try:
                socket = WebSocket(self._http, await self._http.websocket(self.handshake.sid))
                await socket.send(f"2{_PROBE}")
                if (answer := await socket.receive()) != [f"3{_PROBE}"]:
                    raise Fault("upgrade_failed", f"the probe was answered with {answer[0]!r}")
            except Fault as fault:
                raise Fault("upgrade_failed", fault.seen) from None
            for packet in await pending:
                await self._take(packet)
            await socket.send("5")
        except BaseException:
            pending.cancel()
            if socket is not None:
                await _within(CLOSE_S, socket.close())
            raise
        finally:
            await asyncio.gather(pending, return_exceptions=True)
        self.transport = socket

    async def close(self) -> None:
        """Say goodbye, as far as anybody listens."""
        await _within(CLOSE_S, self.transport.close())

    async def _until(self, look: Callable[[], T | None]) -> T:
        while (found := look()) is None:
            await self._read()
        return found

    async def _read(self) -> None:
        for packet in await self.transport.receive():
            await self._take(packet)

    async def _take(self, packet: str) -> None:
        kind, data = packet[:1], packet[1:]
        if kind == "2":
            await self.transport.send("3" + data)
            self.pings += 1
        elif kind == "1":
            raise Fault("connection_closed", "the server closed the session")
        elif kind == "4":
            self._message(data)

    def _message(self, packet: str) -> None:
        if packet[:1] in {"5", "6"}:  # events and acks with attachments: none that is waited for
            return
        match = re.match(r"([0-4])(\d{0,9})", packet)
        value = parse(packet[match.end() :]) if match else None
        kind = match[1] if match else None
        if kind == "0" and isinstance(value, dict):
            self.sid = str(value.get("sid"))
        elif kind == "1":
            raise Fault("connection_closed", "the server disconnected the client")
        elif kind == "2" and isinstance(value, list) and value:
            event = Event(str(value[0]), value[1] if len(value) > 1 else None, time.time() * 1000)
            if event.name == "session_ended" and isinstance(event.payload, dict):
                raise refused(event.payload, "session_ended")
            if len(self.events) < MAX_EVENTS and len(packet) <= MAX_EVENT_CHARS:
                self.events.append(event)
        elif match is not None and kind == "3" and isinstance(value, list):
            if match[2] == str(self._asked):
                self._ack = value[0] if value else {}
        elif kind == "4":
            data = value.get("data") if isinstance(value, dict) else None
            self.refusal = data if isinstance(data, dict) else {"code": "refused", "message": str(value)}
        else:
            raise Fault("unexpected_answer", f"no Socket.IO packet: {packet!r}")


async def _within(seconds: float, closing: Any) -> None:
    """Await what may hang or fail, in whatever way, and give up after a while."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            await closing
