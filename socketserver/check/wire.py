"""A small Socket.IO client that keeps what it sees: HTTP answers, long-polling, a websocket, the upgrade between them.

It reads when it is told to, in the caller's task and with the caller's deadline, and turns whatever is not as it
should be into a Fault. The server is believed nothing: what is read, and what is kept of it, is bounded.
python-socketio has a client too, but that one retries, falls back and reports "could not connect": it hides what this
one is there to find.
Source: the Engine.IO protocol, revision 4; the Socket.IO protocol, revision 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from .. import __version__
from .causes import Fault, of_answer, parse, refused

MAX_BODY_BYTES: Final = 1 << 20
MAX_EVENTS: Final = 1_000
# Those that are waited for are small.
MAX_EVENT_CHARS: Final = 1 << 14
# Of everything that comes during one check. A packet or an answer counts some more than its length.
MAX_TOTAL_BYTES: Final = 1 << 25
_OVERHEAD_BYTES: Final = 1 << 9
CLOSE_S: Final = 1.0
_SEPARATOR: Final = "\x1e"
_KINDS: Final = frozenset("12346b")
_PROBE: Final = "probe"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    Attributes:
        body: at most MAX_BODY_BYTES of it, as text.
        asked_ms, came_ms: this machine's wall clock before the request and after the answer's head.
    """

    status: int
    headers: Mapping[str, str]
    body: str
    asked_ms: float
    came_ms: float

    def all(self, name: str) -> list[str]:
        """Every value of a header that may stand there several times."""
        return [value for key, value in self.headers.items() if key.lower() == name.lower()]


class _Pinned(AbstractResolver):
    """Every name is at one address: the one that was found to answer."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0),
        ]

    async def close(self) -> None:
        """Nothing is held."""


class _Socket(aiohttp.ClientWebSocketResponse):
    """A websocket whose connection is gone once it is closed.

    Over TLS aiohttp (3.14) leaves the connection waiting for the peer's goodbye, and the event loop ends before that.
    """

    async def close(self, *, code: int = aiohttp.WSCloseCode.OK, message: bytes = b"") -> bool:
        connection = self._response.connection
        transport = connection.transport if connection is not None else None
        try:
            async with asyncio.timeout(CLOSE_S):  # aiohttp waits as long as something comes
                return await super().close(code=code, message=message)
        except TimeoutError:
            return False
        finally:
            if transport is not None:
                transport.abort()


class Http:
    """Requests to one server, at one address.

    Args:
        base: scheme, host and port.
        path: of Socket.IO, with slashes at both ends.
        ours: whether this kind of server is known to answer; set by whoever finds out.
    """

    def __init__(self, base: str, path: str, address: str, context: ssl.SSLContext) -> None:
        self._base = base
        self._path = path
        self.ours = False
        self._left_bytes = MAX_TOTAL_BYTES
        redirects = aiohttp.TraceConfig()
        redirects.on_request_redirect.append(_refuse_redirect)
        connector = aiohttp.TCPConnector(resolver=_Pinned(address), ssl=context, limit=8)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            # Not compressed: a few bytes could become more than there is memory for.
            headers={"User-Agent": f"socketserver-check/{__version__}", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trace_configs=[redirects],
            ws_response_class=_Socket,
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # a load balancer's cookie, of an address too
        )

    async def close(self) -> None:
        await self._session.close()

    def spend(self, size: int) -> None:
        """Count what has come. Raises: Fault when it is more than any check needs."""
        self._left_bytes -= size + _OVERHEAD_BYTES
        if self._left_bytes < 0:
            raise Fault("unexpected_answer", f"more than {MAX_TOTAL_BYTES >> 20} MiB came")

    async def get(self, path: str) -> Answer:
        """GET a path of the server's.

        Raises: Fault.
        """
        return await self._request("GET", self._base + path)

    async def post_json(self, path: str, value: object) -> Answer:
        """POST a JSON value to a path of the server's.

        Raises: Fault.
        """
        return await self._request("POST", self._base + path, data=json.dumps(value), kind="application/json")

    async def engine(
        self, method: str, *, sid: str | None = None, data: str | None = None, origin: str | None = None
    ) -> Answer:
        """One request of the long-polling transport.

        Raises: Fault.
        """
        return await self._request(method, self.engine_url("polling", sid), data=data, origin=origin)

    async def websocket(self, sid: str | None = None) -> aiohttp.ClientWebSocketResponse:
        """Open a websocket.

        Raises: Fault.
        """
        url = self.engine_url("websocket", sid).replace("http", "ws", 1)
        try:
            return await self._session.ws_connect(
                url, autoping=False, max_msg_size=MAX_BODY_BYTES, timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S)
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403, 407, 429, 502, 503, 504):
                raise of_answer(error.status, error.headers or {}, "", ours=self.ours) from None
            raise Fault("no_upgrade", f"HTTP {error.status} instead of 101") from None
        except (aiohttp.ClientError, OSError):
            raise Fault("no_upgrade", "the connection was closed instead of upgraded") from None

    def engine_url(self, transport: str, sid: str | None) -> str:
        return f"{self._base}{self._path}?EIO=4&transport={transport}" + (f"&sid={sid}" if sid is not None else "")

    async def _request(
        self, method: str, url: str, *, data: str | None = None, kind: str = "text/plain", origin: str | None = None
    ) -> Answer:
        headers = {"Origin": origin} if origin is not None else {}
        if data is not None:
            headers["Content-Type"] = f"{kind}; charset=UTF-8"
        asked_ms = time.time() * 1000
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                came_ms = time.time() * 1000
                body = await response.content.read(MAX_BODY_BYTES)
                while len(body) < MAX_BODY_BYTES and (more := await response.content.read(MAX_BODY_BYTES)):
                    body += more
                self.spend(len(body) + _length(response.headers))
                text = body.decode("utf-8", "replace")
                return Answer(response.status, response.headers, text, asked_ms, came_ms)
        except aiohttp.ClientResponseError:
            raise Fault("not_http", "what came is no HTTP") from None
        except aiohttp.ServerDisconnectedError:
            raise Fault("connection_closed", "closed without an answer") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Fault("connection_closed", str(error) or type(error).__name__) from None


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


def _length(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())


async def _refuse_redirect(*arguments: object) -> None:
    """A websocket's handshake would be followed to wherever the server says."""
    raise aiohttp.ClientConnectionError


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
