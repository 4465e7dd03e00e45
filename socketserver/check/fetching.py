"""HTTP requests to the server that is checked, at the one address that was found to answer.

The server is believed nothing: what is read, and what is kept of it, is bounded. Whatever is not as it should be
becomes a Fault. Every request has the caller's deadline.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from .. import __version__
from .causes import Fault, of_answer

MAX_BODY_BYTES: Final = 1 << 20
# Of everything that comes during one check. A packet or an answer counts some more than its length.
MAX_TOTAL_BYTES: Final = 1 << 25
_OVERHEAD_BYTES: Final = 1 << 9
CLOSE_S: Final = 1.0


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


def _length(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())


async def _refuse_redirect(*arguments: object) -> None:
    """A websocket's handshake would be followed to wherever the server says."""
    raise aiohttp.ClientConnectionError
