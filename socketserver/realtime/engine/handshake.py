"""The request that a session began with: as much of it as is kept, and the environ that handlers know it as."""

import sys
from typing import Any

from aiohttp import web

from . import kept


class Handshake:
    """A session's first request.

    Attributes:
        request: the aiohttp request, or a copy with as much of it as is kept (`kept`).
        kept_bytes: how much is kept of it until a connect handler has been answered.
    """

    __slots__ = ("_environ", "_original", "kept_bytes", "request")

    def __init__(self, request: web.Request, *, over_websocket: bool) -> None:
        size = kept.head_bytes(request)
        self.request = request
        self.kept_bytes = size
        if size > kept.CONNECTING_BYTES:
            self.request = kept.trimmed(request, kept.CONNECTING_BYTES)
            self.kept_bytes = kept.head_bytes(self.request)
        self._original = request if over_websocket else None  # aiohttp holds it for as long as the websocket is open
        if over_websocket:
            self.kept_bytes += size
        self._environ: dict[str, Any] | None = None

    @property
    def environ(self) -> dict[str, Any]:
        """The request in WSGI's form. It stays the same dict once somebody has put something into it."""
        if self._environ is None:
            self._environ = environ_of(self.request)
        return self._environ

    def release_environ(self, entries: int) -> None:
        """Forget an environ that its reader has added nothing to: it is made again when somebody asks, and until then
        it would be a tenth of what an idle connection costs.

        Args:
            entries: how many it had when it was made.
        """
        if self._environ is not None and len(self._environ) == entries:
            self._environ = None

    def settle(self) -> None:
        """A connect handler has let the client in: from now on little is kept.

        Of an environ that its reader has added to, what the reader has added stays, and what the smaller request has.
        """
        before = self.request
        self.request = kept.trimmed(before, kept.CONNECTED_BYTES)
        if self._environ is not None and self.request is not before:
            smaller = environ_of(self.request)
            for name in environ_of(before):
                if name in smaller:
                    self._environ[name] = smaller[name]
                else:
                    self._environ.pop(name, None)
        if self._original is not None:
            kept.let_go(self._original, self.request)
            self._original = None


def environ_of(request: web.Request) -> dict[str, Any]:
    """Return the request in WSGI's form, as python-socketio's handlers know it. REMOTE_ADDR is the true peer.

    `aiohttp.request` holds the request itself. Forwarded headers are data from outside: nothing here believes them.
    """
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    address, port = peer[:2] if isinstance(peer, tuple) else (request.remote or "", 0)
    environ: dict[str, Any] = {
        "wsgi.input": request.content,
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.async": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": request.scheme,
        "SERVER_SOFTWARE": "aiohttp",
        "SERVER_NAME": "aiohttp",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": f"HTTP/{request.version.major}.{request.version.minor}",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query_string,
        "RAW_URI": request.path_qs,
        "PATH_INFO": request.path,
        "SCRIPT_NAME": "",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(port),
        "aiohttp.request": request,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
