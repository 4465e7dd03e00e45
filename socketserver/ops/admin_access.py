"""Who may see the server's insides: /metrics, /monitor and what one can do there.

Without an admin token: programs and browsers of this machine. With one: whoever has it, from wherever; then this
machine needs it too, because a proxy on it makes everybody look local, and not every proxy says that it is one.

What counts as this machine is a peer on a loopback address that calls the server by a loopback name (a page whose name
is pointed at 127.0.0.1 calls it by that name: DNS rebinding) and that no proxy speaks for: no forwarded header, no
trusted proxy's address, and not HTTP/1.0, which only proxies speak that were not told otherwise.

The token comes as `Authorization: Bearer TOKEN`, or as the password of HTTP Basic under any name. Basic, because with
it a browser asks for the token by itself, keeps it until it is closed, and sends it with a page's own requests: no
login page, no cookie, nothing to store here. Since a browser also sends it with what foreign pages make it send, an
action needs the server's own Origin, and a JSON body.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from ..door.connects import Guards
from ..door.origins import Origins, names_loopback
from ..errors import TooManyConnects
from ..settings import Settings, variable
from ..values.web_names import is_loopback
from ..wire.answers import ADMIN_REQUIRED, error_response, refusal

_REALM: Final = 'Basic realm="socketserver admin", charset="UTF-8"'
# A request that has one of these was passed on by a proxy.
_FORWARDED: Final = (
    hdrs.FORWARDED,
    hdrs.VIA,
    hdrs.X_FORWARDED_FOR,
    hdrs.X_FORWARDED_HOST,
    hdrs.X_FORWARDED_PROTO,
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminAccess:
    """Lets requests to administrative routes through, or says why not.

    Args:
        origins: tells which pages are the server's own.
        guards: limits how often an address may try a token.
        on_refused: told of every refusal, by its code.
    """

    def __init__(
        self,
        settings: Settings,
        origins: Origins,
        guards: Guards,
        *,
        on_refused: Callable[[str], None] = lambda code: None,
    ) -> None:
        self._on_refused: Final = on_refused
        token = settings.admin_token
        self._token: Final = None if token is None else token.get_secret_value().encode()
        self._origins: Final = origins
        self._guards: Final = guards

    def protect(self, handler: Handler, *, action: bool = False) -> Handler:
        """A handler that answers only those who may.

        Args:
            action: it changes something: then a POST of one of the server's own pages, or of a program, with a body of
                the type application/json.
        """

        async def protected(request: web.Request) -> web.StreamResponse:
            refused = self.refuse(request, action=action)
            if refused is not None:
                self._on_refused(TooManyConnects.code if refused.status == 429 else ADMIN_REQUIRED)
            response = await handler(request) if refused is None else refused
            # Neither a proxy's cache nor the browser's may show it to the next one. A stream has its headers sent.
            if not response.prepared:
                response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
            return response

        return protected

    def refuse(self, request: web.Request, *, action: bool = False) -> web.Response | None:
        """None to let a request go on, else its refusal: 401, 403, 415 or 429 with a JSON body."""
        if self._token is not None:
            refused = self._refuse_token(request, self._token)
        elif self._is_local(request):
            refused = None
        else:
            refused = _refusal(
                403,
                "This is answered to this machine only, called http://localhost or http://127.0.0.1 and without a "
                f"proxy; set {variable('admin_token')} to reach it from elsewhere.",
            )
        if refused is None and action:
            refused = self._refuse_action(request)
        return refused

    def _is_local(self, request: web.Request) -> bool:
        return (
            is_loopback(self._guards.guest(request).address)
            and names_loopback(request.host)
            and not self._guards.trusts_peer(request)
            and request.version >= HttpVersion11
            and not any(name in request.headers for name in _FORWARDED)
        )

    def _refuse_token(self, request: web.Request, token: bytes) -> web.Response | None:
        given = _given(request)
        if given is None:
            return _refusal(
                401,
                f"Send the token of {variable('admin_token')} as Authorization: Bearer TOKEN, "
                "or in a browser as the password, under any name.",
            )
        if hmac.compare_digest(given, token):  # first: the right one is let in whoever has tried wrong ones before
            return None
        guest = self._guards.guest(request)
        try:
            self._guards.admin_tries.admit(guest)
        except TooManyConnects as error:
            return error_response(error)
        self._guards.admin_tries.refused(guest)
        return _refusal(401, f"The admin token is not the one of {variable('admin_token')}.")

    def _refuse_action(self, request: web.Request) -> web.Response | None:
        # Browsers send an Origin with every POST, and no browser adds a Bearer token by itself.
        bearer = self._token is not None and _scheme(request) == "bearer" and hdrs.ORIGIN not in request.headers
        if not bearer and not self._origins.is_own(request):
            return _refusal(
                403, "This is done by the server's own pages; a program sends a Bearer token or their Origin."
            )
        if request.content_type != "application/json":
            return _refusal(415, "Send the body as application/json.")
        return None


def _scheme(request: web.Request) -> str:
    return request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")[0].lower()


def _given(request: web.Request) -> bytes | None:
    """The token that a request carries; None if it carries none."""
    value = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")[2].strip()
    match _scheme(request):
        case "bearer" if value:
            return value.encode("utf-8", "surrogateescape")
        case "basic":
            try:
                _, _, password = base64.b64decode(value, validate=True).partition(b":")
            except (binascii.Error, ValueError):
                return None
            return password or None
    return None


def _refusal(status: int, message: str) -> web.Response:
    return refusal(status, ADMIN_REQUIRED, message, {hdrs.WWW_AUTHENTICATE: _REALM} if status == 401 else None)
