"""The two transports of Engine.IO, and the packet with which a session begins.

Source: the Engine.IO protocol, revision 4.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from .causes import Fault, of_answer, parse
from .fetching import Http

_SEPARATOR: Final = "\x1e"
_KINDS: Final = frozenset("12346b")


@dataclass(frozen=True, slots=True)
class Opened:
    """What the server says of a new session; times in seconds."""

    sid: str
    upgrades: tuple[str, ...]
    ping_interval_s: float
    ping_timeout_s: float


def opened(packet: str) -> Opened | None:
    """The Engine.IO OPEN packet, None for anything else."""
    value: Any = parse(packet[1:]) if packet.startswith("0") else None
    try:
        sid, upgrades = value["sid"], value["upgrades"]
        interval_s, timeout_s = value["pingInterval"] / 1000, value["pingTimeout"] / 1000
    except (TypeError, KeyError, ArithmeticError):
        return None
    if not isinstance(sid, str) or not re.fullmatch(r"[\w.~-]{1,256}", sid, re.ASCII) or not isinstance(upgrades, list):
        return None
    if not (0 < interval_s < math.inf and 0 < timeout_s < math.inf):
        return None
    return Opened(sid, tuple(each for each in upgrades if isinstance(each, str)), interval_s, timeout_s)


class Polling:
    """A session's long-polling transport."""

    name: Final = "polling"

    def __init__(self, http: Http, sid: str) -> None:
        self._http = http
        self._sid = sid

    async def send(self, packet: str) -> None:
        """Bring one packet. Raises: Fault."""
        answer = await self._http.engine("POST", sid=self._sid, data=packet)
        if answer.status != 200:
            raise of_answer(answer.status, answer.headers, answer.body, ours=self._http.ours)
        if answer.body != "ok":
            raise Fault("polling_broken", f"a POST was answered with {answer.body!r}")

    async def receive(self) -> list[str]:
        """Wait for packets. Raises: Fault."""
        answer = await self._http.engine("GET", sid=self._sid)
        if answer.status != 200:
            raise of_answer(answer.status, answer.headers, answer.body, ours=self._http.ours)
        packets = answer.body.split(_SEPARATOR)
        if any(packet[:1] not in _KINDS for packet in packets):
            raise Fault("polling_broken", f"a GET was answered with {answer.body!r}")
        return packets

    async def close(self) -> None:
        with contextlib.suppress(Fault):
            await self._http.engine("POST", sid=self._sid, data="1")


class WebSocket:
    """A session's websocket transport."""

    name: Final = "websocket"

    def __init__(self, http: Http, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._http = http
        self._socket = socket

    async def send(self, packet: str) -> None:
        """Send one packet. Raises: Fault."""
        try:
            await self._socket.send_str(packet)
        except (aiohttp.ClientError, OSError):
            raise self._closed() from None

    async def receive(self) -> list[str]:
        """Wait for a packet. Raises: Fault."""
        while True:
            message = await self._message()
            if message.type is aiohttp.WSMsgType.TEXT:
                return [message.data]

    async def ping(self) -> None:
        """Send a WebSocket ping and wait for its answer; packets that come meanwhile are dropped.

        Raises: Fault.
        """
        try:
            await self._socket.ping(b"check")
        except (aiohttp.ClientError, OSError):
            raise self._closed() from None
        while (await self._message()).type is not aiohttp.WSMsgType.PONG:
            pass

    async def close(self) -> None:
        await self._socket.close()

    async def _message(self) -> aiohttp.WSMessage:
        message = await self._socket.receive()
        self._http.spend(len(message.data) if isinstance(message.data, str | bytes) else 0)
        if message.type is aiohttp.WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
            raise self._closed()
        elif message.type is aiohttp.WSMsgType.ERROR:
            raise Fault("unexpected_answer", f"no WebSocket frame: {message.data}")
        return message

    def _closed(self) -> Fault:
        code = self._socket.close_code
        return Fault("connection_closed", f"the websocket was closed, code {1006 if code is None else code}")
