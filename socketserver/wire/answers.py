"""Answers over plain HTTP, in the shape of an ack: `{ok: true, …}` or `{ok: false, error: {…}}` with its status.

The codes are those of errors.py, and the three below, which only HTTP has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
    TooManyConnections,
    TooManyConnects,
)
from .dumping import dump_failure
from .shapes import ErrorWire

# No route has the path; the route has other methods; the route is for the administrator.
NOT_FOUND: Final = "not_found"
METHOD_NOT_ALLOWED: Final = "method_not_allowed"
ADMIN_REQUIRED: Final = "admin_required"

MAX_BODY_BYTES: Final = 4096
BODY_TIMEOUT_S: Final = 10.0

# The first class that an error is an instance of decides.
_STATUSES: Final[tuple[tuple[type[ChatError], int], ...]] = (
    (InvalidPayload, 400),
    (AuthRequired, 401),
    (InvalidToken, 401),
    (OriginNotAllowed, 403),
    (TooManyConnects, 429),
    (TooManyConnections, 429),
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
    except (ConnectionError, web.RequestPayloadError):
        raise InvalidPayload("The body was cut off, or is not HTTP.") from None
    return bytes(body)


def error_response(error: ChatError, *, help: str | None = None) -> web.Response:
    """A ChatError as HTTP; 401 and whatever says when to come back with the headers that go with them.

    Args:
        help: what to look at, for whoever reads the body.
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    body = dump_failure(error)
    if help is not None:
        body["error"]["help"] = help
    headers: dict[str, str] = {}
    if error.retry_after_ms is not None:
        headers[hdrs.RETRY_AFTER] = str(-(-error.retry_after_ms // 1000))  # whole seconds, rounded up
    if status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return web.json_response(body, status=status, headers=headers)


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A refusal with a code that only HTTP has; the same request will not fare better."""
    error: ErrorWire = {"code": code, "message": message, "retryable": False}
    return web.json_response({"ok": False, "error": error}, status=status, headers=headers)


def not_found(message: str) -> web.Response:
    """404: no route has this path."""
    return refusal(404, NOT_FOUND, message)


def method_not_allowed(allow: str) -> web.Response:
    """405: the route has other methods."""
    return refusal(405, METHOD_NOT_ALLOWED, f"Use one of {allow}.", {hdrs.ALLOW: allow})
