"""Which web pages may talk to this server, judged by the Origin and Host headers that their browser sends.

Pure apart from reading a request's headers: no state beyond the settings. What a refusal looks like on the wire belongs
to routes.py and to the handshake.

A browser lets any page on the internet send requests here, with this server's cookies, and tells the truth about the
page in `Origin`. Programs that are no browsers send no Origin, or any that they like: for them the token is the proof.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ..errors import OriginNotAllowed
from ..settings import Settings, variable
from ..values.web_names import is_loopback, origin_form, split_host
from .proxies import Proxies

_SHOWN_CHARS: Final = 200


class Origins:
    """The allowed origins: those of the settings, and the server's own. All are compared in one form (web_names.py),
    because clients that are no browsers write them as they like: `wss://` for `https://`, a slash or a port too many.

    The server's own origin is the scheme and the Host of the request. Where the server sees http, https with the same
    host counts as its own too: that is what a proxy that ends TLS in front of it makes of it, and a page that came
    encrypted is no less trustworthy than one that did not. Another port is another origin.

    In the development login, where a token proves nothing, the Host has to name this machine: else a page whose name
    its owner points at 127.0.0.1 (DNS rebinding) would have an origin of "its own" here. The host names of the allowed
    origins count as this machine's, so a name in /etc/hosts can be used by listing it.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed: Final = frozenset(settings.allowed_origins)
        self._any_host: Final = not settings.development_login
        self._proxies: Final = Proxies(settings.trusted_proxies)
        self._hosts: Final = frozenset(
            _name(origin.partition("://")[2]) for origin in settings.allowed_origins if origin.startswith("http")
        )

    def allows(self, origin: str | None, *, scheme: str, host: str) -> bool:
        """Whether a request with these headers may be served.

        Args:
            origin: the Origin header; None when there is none. `null` (sandboxed frames, files, some redirects) is
                never allowed, as any page can make its origin that.
            scheme: http or https, as the server sees the connection.
            host: the Host header, with the port if it has one.

        Returns: True without an Origin too, as clients that are no browsers send none; whether a cookie may then be
            believed is `trusts_cookie`'s to say.
        """
        if not self.trusts_host(host):
            return False
        if origin is None:
            return True
        return origin_form(origin) in self._allowed or _is_own(origin, scheme, host)

    def trusts_host(self, host: str) -> bool:
        """Whether the Host header may be what it is: anything, but in the development login only this machine."""
        return self._any_host or names_loopback(host) or (_name(host) or None) in self._hosts

    def is_own(self, request: web.BaseRequest) -> bool:
        """Whether the request has an Origin, and it is the server's own: its page is one of this server's."""
        origins = request.headers.getall("Origin", [])
        scheme, host = self._proxies.scheme(request), self._proxies.host(request)
        return len(origins) == 1 and _is_own(origins[0], scheme, host)

    def allows_request(self, request: web.BaseRequest) -> bool:
        """`allows` for an aiohttp request. Two Origin headers are never allowed: no browser sends them."""
        origins = request.headers.getall("Origin", [])
        if len(origins) > 1:
            return False
        scheme, host = self._proxies.scheme(request), self._proxies.host(request)
        return self.allows(origins[0] if origins else None, scheme=scheme, host=host)

    def refusal(self, request: web.BaseRequest) -> OriginNotAllowed:
        """Why a request is not allowed, and which setting would let it in."""
        host = self._proxies.host(request)
        if not self.trusts_host(host):
            return wrong_host(host)
        origins = request.headers.getall("Origin", [])
        if len(origins) != 1:
            return OriginNotAllowed("A request has one Origin.")
        if origins[0] == "null":
            return OriginNotAllowed('The origin "null" (a file, or a sandboxed frame) is never allowed.')
        return OriginNotAllowed(
            f'The origin "{_shown(origins[0])}" is not allowed; add it to {variable("allowed_origins")}.'
        )

    def trusts_cookie(self, request: web.BaseRequest) -> bool:
        """Whether the cookies of a request may be believed, because no foreign page can have caused it.

        That needs an allowed Origin. Browsers leave it out of GET requests to the page's own server, so
        `Sec-Fetch-Site: same-origin` stands in for it: no script can set that header. They send it where the address
        is https or of this machine; elsewhere a plain http page has its cookie believed over websocket only, which
        always carries an Origin.
        """
        if not self.allows_request(request):
            return False
        return "Origin" in request.headers or request.headers.get("Sec-Fetch-Site") == "same-origin"


def names_loopback(host: str) -> bool:
    """Whether a Host header calls the server by a name that always stands for the machine itself."""
    name = _name(host)
    # RFC 6761 6.3: browsers take every name under localhost. for the loopback address without asking the DNS.
    return is_loopback(name) or name.endswith(".localhost")


def wrong_host(host: str) -> OriginNotAllowed:
    """Why the development login does not answer under a name, and which setting makes it one of this machine's.

    The Android emulator is why this is asked for: 10.0.2.2 is its name for the machine that it runs on.
    """
    shown = _shown(host)
    return OriginNotAllowed(
        "The development login answers only under this machine's own names, such as http://localhost. If "
        f'"{shown}" is one, add http://{shown} to {variable("allowed_origins")}.'
    )


def _shown(text: str) -> str:
    return "".join(c if " " < c < "\x7f" and c != '"' else "?" for c in text[:_SHOWN_CHARS])


def _name(host: str) -> str:
    """The name that a Host header has; nothing for what is no host."""
    return (split_host(host) or ("", ""))[0]


def _is_own(origin: str, scheme: str, host: str) -> bool:
    schemes = ("http", "https") if scheme == "http" else (scheme,)
    given = origin_form(origin)
    return given is not None and any(given == origin_form(f"{each}://{host}") for each in schemes)
