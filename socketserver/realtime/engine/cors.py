"""Which web pages may talk to this server, and the headers that say so. Pure.

Source: the Fetch standard, "CORS protocol"; a WebSocket handshake carries an Origin but knows no CORS, so that the
same check is made here for it.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Origins = str | Iterable[str] | Callable[..., Any] | None


class Cors:
    """The decision for one server.

    Args:
        allowed: None: the server's own origin only. "*": any, without credentials. A string or strings: exactly
            those origins, and an empty list none. A callable (origin, environ) or (origin) that returns a truth value.
        credentials: whether pages of an allowed origin may send cookies.

    A request without an Origin (no browser, or a page of the same origin) is always allowed.
    """

    def __init__(self, allowed: Origins = None, credentials: bool = True) -> None:
        self._credentials = credentials
        self._call: Callable[..., Any] | None = None
        self._origins: frozenset[str] | None = None
        self._any = False
        if callable(allowed):
            self._call = allowed
            self._takes_environ = _positional(allowed) != 1
        elif allowed is not None:
            self._origins = frozenset([allowed] if isinstance(allowed, str) else allowed)
            self._any = "*" in self._origins

    def allows(self, origin: str | None, own: Callable[[], Iterable[str]], environ: Callable[[], Any]) -> bool:
        """Return whether a request with this Origin is served.

        Args:
            own: gives the origins under which this server is reached, such as "https://chat.example".
            environ: gives the environ for a callable.
        """
        if origin is None or self._any:
            return True
        if self._call is not None:
            return bool(self._call(origin, environ()) if self._takes_environ else self._call(origin))
        if self._origins is not None:
            return origin in self._origins
        return origin in own()

    def headers(self, origin: str | None, request_headers: Mapping[str, str], method: str) -> dict[str, str]:
        """Return the response headers for a request that `allows` has let through."""
        if origin is None:
            return {}
        if self._any:
            # Never together with credentials: that would let any page act as the visitor.
            headers = {"Access-Control-Allow-Origin": "*"}
        else:
            headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
            if self._credentials:
                headers["Access-Control-Allow-Credentials"] = "true"
        if method == "OPTIONS":
            headers["Access-Control-Allow-Methods"] = "OPTIONS, GET, POST"
            wanted = request_headers.get("Access-Control-Request-Headers")
            if wanted:
                headers["Access-Control-Allow-Headers"] = wanted
        return headers


def _positional(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return len([p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)])
