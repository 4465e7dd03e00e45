"""Answers over plain HTTP, in the shape of an ack: `{ok: true, …}` or `{ok: false, error: {…}}` with its status.

The codes are those of errors.py, and three that only HTTP has: `not_found`, `method_not_allowed` and `admin_required`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import hdrs, web

from ..errors import (
    AuthRequired,
    AuthUnavailable,
    ChatError,
    Draining,
    InvalidPayload,
    InvalidToken,
    OriginNotAllowed,
    StoreUnavailable,
    TooManyConnects,
)
from .protocol import dump_failure

MAX_BODY_BYTES: Final = 4096
BODY_TIMEOUT_S: Final = 10.0

# The first class that an error is an instance of decides.
_STATUSES: Final[tuple[tuple[type[ChatError], int], ...]] = (
    (InvalidPayload, 400),
    (AuthRequired, 401),
    (InvalidToken, 401),
    (OriginNotAllowed, 403),
    (TooManyConnects, 429),
    (AuthUnavailable, 503),
    (StoreUnavailable, 503),
    (Draining, 503),
)


async def read_body(request: web.Request) -> bytes:
    """The body, bounded in size and time. aiohttp has bounds of its own, but megabytes, and for the time none."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise InvalidPayload(f"The body has more than {MAX_BODY_BYTES} bytes.")
    except TimeoutError:
        raise InvalidPayload(f"The body did not arrive within {BODY_TIMEOUT_S:g} seconds.") from None
    return bytes(body)


def error_response(error: ChatError) -> web.Response:
    """A ChatError as HTTP; 401 and 503 with the headers that go with them."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    headers: dict[str, str] = {}
    if error.retry_after_ms is not None:
        headers[hdrs.RETRY_AFTER] = str(-(-error.retry_after_ms // 1000))  # whole seconds, rounded up
    if status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return web.json_response(dump_failure(error), status=status, headers=headers)


def not_found(message: str) -> web.Response:
    """404: no route has this path."""
    error = {"code": "not_found", "message": message, "retryable": False}
    return web.json_response({"ok": False, "error": error}, status=404)


def method_not_allowed(allow: str) -> web.Response:
    """405: the route has other methods."""
    error = {"code": "method_not_allowed", "message": f"Use one of {allow}.", "retryable": False}
    return web.json_response({"ok": False, "error": error}, status=405, headers={hdrs.ALLOW: allow})
