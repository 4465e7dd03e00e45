"""The HTTP answers of an Engine.IO server, byte by byte those of Engine.IO's own."""

from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web

from .cors import Cors

UNKNOWN_TRANSPORT: Final = 0
UNKNOWN_SID: Final = 1
BAD_METHOD: Final = 2
BAD_REQUEST: Final = 3
FORBIDDEN: Final = 4
UNSUPPORTED_VERSION: Final = 5

UNKNOWN_SID_MESSAGE: Final = "Session ID unknown"


class Answers:
    """Makes the answers of one engine, with the headers that CORS asks for.

    Args:
        compression_bytes: from this size on payloads are sent as gzip; None for never.
        rejected: told of the code of every refusal.
    """

    def __init__(self, cors: Cors, compression_bytes: int | None, rejected: Callable[[int], None]) -> None:
        self._cors = cors
        self._compression_bytes = compression_bytes
        self._rejected = rejected

    def headers(self, request: web.Request) -> dict[str, str]:
        """Return the headers of every answer."""
        headers = self._cors.headers(request.headers.get("Origin"), request.headers, request.method)
        headers["Cache-Control"] = "no-store"
        return headers

    def options(self, request: web.Request) -> web.Response:
        """Answer a preflight."""
        return web.Response(status=204, headers=self.headers(request))

    def payload(self, request: web.Request, payload: bytes) -> web.Response:
        """Answer a GET with an Engine.IO payload."""
        response = web.Response(
            body=payload, headers={**self.headers(request), "Content-Type": "text/plain; charset=UTF-8"}
        )
        if self._compression_bytes is not None and len(payload) >= self._compression_bytes:
            response.enable_compression()
        return response

    def text(self, request: web.Request, text: str) -> web.Response:
        """Answer with a short text."""
        return web.Response(text=text, headers=self.headers(request))

    def error(
        self, request: web.Request, code: int, message: str, status: int = 400, cors: bool = True
    ) -> web.Response:
        """Refuse a request: {"code", "message"}."""
        self._rejected(code)
        return self._error(request, code, message, status, cors)

    def unknown(self, request: web.Request) -> web.Response:
        """Answer a poll of a session that has just ended, so that its client begins anew. That is no refusal."""
        return self._error(request, UNKNOWN_SID, UNKNOWN_SID_MESSAGE, 400, True)

    def too_large(self, request: web.Request) -> web.Response:
        """Refuse a POST by its size, with an empty body."""
        self._rejected(BAD_REQUEST)
        return web.Response(status=413, headers=self.headers(request))

    def _error(self, request: web.Request, code: int, message: str, status: int, cors: bool) -> web.Response:
        headers = self.headers(request) if cors else {}
        headers["Content-Type"] = "application/json"
        return web.Response(body=orjson.dumps({"code": code, "message": message}), status=status, headers=headers)


def session_cookie(attributes: dict[str, Any], sid: str) -> str:
    """Return the Set-Cookie of a session's handshake. Attributes: see the engine's `cookie`."""
    parts = [f"{attributes.get('name', 'io')}={sid}"]
    for name, value in attributes.items():
        if name != "name":
            value = value() if callable(value) else value
            parts.append(name if value is True else f"{name}={value}")
    return "; ".join(parts)
