"""Where in a request a proof of who somebody is stands, and where people put it by mistake.

Reads headers and the query; whether a proof is good is auth.py's to say. Nothing here writes a proof anywhere.
"""

from __future__ import annotations

import math
import re
from typing import Final

from aiohttp import hdrs, web

from ..logs import get_logger

log = get_logger(__name__)

COOKIE_NAME: Final = "socketserver_session"

# Maximum number of login cookies that are read. A browser may have one per path and domain; each costs a decryption.
_MOST_COOKIES: Final = 10
# It begins with the name, so that the scan for it is one of memory, not of pairs.
_LOGIN_COOKIE: Final = re.compile(rf"{COOKIE_NAME}\s*(?:=([^;]*)|(?=;|$))")
_NAMES: Final = frozenset(
    {"token", "auth", "auth_token", "authtoken", "access_token", "accesstoken", "id_token", "jwt", "bearer"}
)
_HEADERS: Final = ("X-Auth-Token", "X-Access-Token", "Token")
_JWT: Final = re.compile(r"(?i:bearer\s+)?eyJ[\w-]+\.[\w-]+\.[\w-]*")
_LOGGED_EACH_S: Final = 60.0
_PLACES: Final = "pass it in auth: { token }, or as the header Authorization: Bearer TOKEN"


def bearer(request: web.BaseRequest) -> str | None:
    """The token in `Authorization: Bearer TOKEN` (RFC 6750 2.1); None without one, and for other schemes."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def login_cookies(request: web.BaseRequest) -> list[str]:
    """The values of all login cookies of a request, in the order in which they came.

    A browser sends several of one name if they were set for different paths or domains (RFC 6265 5.4), and a parser
    that makes a dictionary of them keeps the last. Only these are looked for: 32 KiB of others cost microseconds.
    """
    values: list[str] = []
    for line in request.headers.getall(hdrs.COOKIE, ()):
        for found in _LOGIN_COOKIE.finditer(line):
            if _begins_pair(line, found.start()):
                values.append((found[1] or "").strip().strip('"'))
                if len(values) == _MOST_COOKIES:
                    return values
    return values


def _begins_pair(line: str, place: int) -> bool:
    while place and line[place - 1].isspace():
        place -= 1
    return not place or line[place - 1] == ";"


def misplaced(request: web.BaseRequest, auth: object = None) -> str | None:
    """A sentence on a token that stands where none is read: in the query, in `auth` under another name, in a header
    without its scheme.

    Args:
        auth: what came with CONNECT, any JSON value.
    Returns: None if there is none. The sentence has the place and its name, nothing of the token.
    """
    for name, value in request.query.items():
        if value and (name.lower() in _NAMES or _JWT.fullmatch(value)):
            shown = f' ("{name}")' if name.lower() in _NAMES else ""
            return f"A token in the query{shown} is not read, as addresses end in logs; {_PLACES}."
    if isinstance(auth, str) or (isinstance(auth, dict) and any(str(name).lower() in _NAMES for name in auth)):
        return f"auth has no token under the name that is read; {_PLACES}."
    if _JWT.fullmatch(request.headers.get(hdrs.AUTHORIZATION, "").strip()):
        return f"A token in Authorization without the word Bearer is not read; {_PLACES}."
    for name in _HEADERS:
        if request.headers.get(name):
            return f"A token in the header {name} is not read; {_PLACES}."
    return None


class MisplacedTokens:
    """Says in the log that clients send tokens where none is read: at once, then once a minute with the number."""

    def __init__(self) -> None:
        self._logged_s = -math.inf
        self._repeats = 0

    def say(self, hint: str, address: str, now_s: float) -> None:
        """A client at this address was given the hint of `misplaced`; `now_s` is monotonic seconds."""
        if now_s - self._logged_s < _LOGGED_EACH_S:
            self._repeats += 1
            return
        log.warning("token_misplaced", address=address, help=hint, repeats=self._repeats or None)
        self._logged_s, self._repeats = now_s, 0
