"""What a client is told whose request is refused before it is one: statuses, codes, texts, bytes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import hdrs

from .tcp_connections import MALFORMED, NO_ROOM, TOO_LARGE, TOO_SLOW

RETRY_S: Final = 10
_ORIGIN: Final = re.compile(rb"\norigin:[ \t]*([!-~]{1,300})[ \t]*\r?\n", re.IGNORECASE)


class Refusal(NamedTuple):
    """An answer: HTTP's status and its phrase, our code, a sentence for developers."""

    status: int
    phrase: str
    code: str
    message: str

    def body(self, message: str | None = None) -> dict[str, Any]:
        """The JSON body, in the form of a failed ack."""
        error = {"code": self.code, "message": message or self.message, "retryable": self.status == 503}
        return {"ok": False, "error": error}

    def raw(self, headers: Mapping[str, str]) -> bytes:
        """The whole answer, for a connection on which no request was parsed."""
        body = json.dumps(self.body()).encode()
        lines = [
            f"HTTP/1.1 {self.status} {self.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if self.status == 503:
            lines.append(f"Retry-After: {RETRY_S}")
        return "\r\n".join([*lines, "", ""]).encode() + body


HEADS: Final[Mapping[str, Refusal]] = {
    TOO_LARGE: Refusal(
        431,
        "Request Header Fields Too Large",
        "head_too_large",
        "The head of the request is too large; send fewer cookies.",
    ),
    NO_ROOM: Refusal(
        503, "Service Unavailable", "overloaded", "Too many large requests are under way; send fewer cookies."
    ),
    TOO_SLOW: Refusal(408, "Request Timeout", "head_timeout", "The head of the request did not arrive in time."),
    MALFORMED: Refusal(400, "Bad Request", "bad_request", "This is no HTTP request."),
}
FULL: Final = Refusal(503, "Service Unavailable", "too_many_connections", "Too many connections are open.")
ENCODED: Final = Refusal(
    415,
    "Unsupported Media Type",
    "unsupported_encoding",
    "Send the body without Content-Encoding: it is not unpacked here.",
)


def origin_in(head: bytes) -> str | None:
    """The Origin in the head of a request that was not parsed."""
    found = _ORIGIN.search(head)
    return found[1].decode() if found else None


def cors(origin: str | None) -> dict[str, str]:
    """The headers that let the pages of an origin read an answer; none without one."""
    if origin is None:
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true",
        hdrs.VARY: "Origin",
    }


def first_line(message: str) -> str:
    """What aiohttp says of a request, as one sentence."""
    return message.strip().partition("\n")[0][:200].rstrip(":") + "."
