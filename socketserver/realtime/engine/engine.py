"""An Engine.IO 4 server for aiohttp: handshakes, sessions, and what python-socketio calls of an engine.

Knows nothing of Socket.IO packets: the layer above is a `session.Application`.
Source: the Engine.IO protocol, revision 4.
"""

import asyncio
import inspect
import logging
import secrets
import sys
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Final

import orjson
from aiohttp import web

from . import kept, polling, websocket
from . import packets as engine_packets
from . import session as sessions
from .cors import Cors, Origins
from .intake import Intake, IntakeLimits, Meter
from .outbox import Flusher
from .packets import Encoded
from .plain import EVENTS, Plain
from .session import Application, Observer, Session
from .wheel import Wheel

TRANSPORTS: Final = ("polling", "websocket")

UNKNOWN_TRANSPORT: Final = 0
UNKNOWN_SID: Final = 1
BAD_METHOD: Final = 2
BAD_REQUEST: Final = 3
FORBIDDEN: Final = 4
UNSUPPORTED_VERSION: Final = 5

UNKNOWN_SID_MESSAGE: Final = "Session ID unknown"

SHUTDOWN_WAIT_S: Final = 5.0
"""How long `shutdown` lets handlers finish before it cancels them, by default."""
CANCEL_WAIT_S: Final = 1.0

AllowRequest = Callable[[web.Request], "web.StreamResponse | Awaitable[web.StreamResponse | None] | None"]

logger = logging.getLogger(__name__)


class Engine:
    """Serves sessions over websockets and long-polling.

    Args (times in seconds, sizes in bytes; a limit of 0 means none):
        ping_interval: a number, fractions allowed; of a tuple (python-engineio's form) the first.
        ping_timeout: how long a client may take to answer.
        max_http_buffer_size: the largest message taken, announced to the client as maxPayload.
        max_skipped_bytes: the largest message, or POST, that is read past if it is over that, and answered instead of
            ending the session. Never held in memory.
        allow_upgrades: whether polling clients are offered a websocket.
        transports: which of 'polling' and 'websocket' are served; both by default.
        http_compression, compression_threshold: gzip for answers to polls from that size on.
        websocket_compression: whether permessage-deflate may be negotiated. It costs about 100 KB per connection.
        cookie: None, a name, or a dict with 'name' and attributes: sent with the handshake of a polling client.
        cors_allowed_origins, cors_credentials: see `cors.Cors`.
        outbox_bytes: what a client may leave unread before it is dropped as a slow consumer.
        inbox_bytes: what a client may send ahead of its handlers; an event counts its length and 1024.
        intake_limits: how much one client may send, and how much of a turn of the event loop all may take.
        intake_group: gives for a handshake whom the client shares its turns with; by default its TCP peer's address.
        upgrade_timeout: how long an upgrade may take before the client stays with polling.
        connect_timeout: how long a session may live without being connected to a namespace.
        allow_request: called with each handshake's request; what it returns, unless None, is the answer.
        forbidden: makes the answer to a request whose Origin is not allowed.
        observer: told of every session's beginning and end, and of requests that were refused.
    """

    async_mode = "aiohttp"

    class reason:
        """Why a client went, as its disconnect handler is told."""

        SERVER_DISCONNECT = sessions.SERVER_DISCONNECT
        CLIENT_DISCONNECT = sessions.CLIENT_DISCONNECT
        PING_TIMEOUT = sessions.PING_TIMEOUT
        TRANSPORT_CLOSE = sessions.TRANSPORT_CLOSE
        TRANSPORT_ERROR = sessions.TRANSPORT_ERROR

    def __init__(
        self,
        *,
        ping_interval: float | tuple[float, float] = 25,
        ping_timeout: float = 20,
        max_http_buffer_size: int = 1_000_000,
        max_skipped_bytes: int = 1 << 23,
        allow_upgrades: bool = True,
        transports: str | list[str] | None = None,
        http_compression: bool = True,
        compression_threshold: int = 1024,
        websocket_compression: bool = False,
        cookie: str | dict[str, Any] | None = None,
        cors_allowed_origins: Origins | None = None,
        cors_credentials: bool = True,
        outbox_bytes: int = 1 << 20,
        inbox_bytes: int = 1 << 17,
        intake_limits: IntakeLimits = IntakeLimits(),  # noqa: B008  # frozen
        intake_group: Callable[[web.Request], Hashable] = lambda request: request.remote,
        upgrade_timeout: float = 10,
        connect_timeout: float = 45,
        allow_request: AllowRequest | None = None,
        forbidden: Callable[[web.Request], web.StreamResponse] | None = None,
        observer: Observer | None = None,
        **ignored: Any,
    ) -> None:
        for name in ignored:
            if name not in {"async_mode", "async_handlers", "monitor_clients", "json", "logger"}:
                raise TypeError(f"unknown option {name!r}")
        self.ping_interval = ping_interval[0] if isinstance(ping_interval, tuple) else ping_interval
        self.ping_timeout = ping_timeout
        self.max_payload = max_http_buffer_size
        self.max_skipped = max_skipped_bytes
        self.transports = tuple([transports] if isinstance(transports, str) else transports or TRANSPORTS)
        if not set(self.transports) <= set(TRANSPORTS):
            raise ValueError("transports are 'polling' and 'websocket'")
        self.allow_upgrades = allow_upgrades and "websocket" in self.transports
        self.http_compression = http_compression
        self.compression_threshold = compression_threshold
        self.websocket_compression = websocket_compression
        self.cookie = {"name": cookie} if isinstance(cookie, str) else cookie
        self.cors = Cors(cors_allowed_origins, cors_credentials)
        self.outbox_bytes = outbox_bytes
        self.inbox_bytes = inbox_bytes
        self.upgrade_timeout = upgrade_timeout
        self.connect_timeout = connect_timeout
        self.allow_request = allow_request
        self.forbidden = forbidden
        self.observer = observer
        self.wheel = Wheel()
        self.intake = Intake(intake_limits, self.wheel)
        self.intake_group = intake_group
        self.flusher = Flusher()
        self.sessions: dict[str, Session] = {}
        self.stopped = False
        self.dead = False
        self.plain = Plain(self)
        self.application: Application = self.plain
        self.on_open: Callable[[Session], None] = self.plain.opened
        self._tasks: set[asyncio.Task[Any]] = set()
        self._background: set[asyncio.Task[Any]] = set()
        self._requests = 0
        self._idle: asyncio.Event | None = None

    # What python-socketio calls of an engine

    def on(self, event: str, handler: Any = None) -> Any:
        """Register a handler of raw messages: 'connect', 'message' or 'disconnect' (see `plain.Plain`).

        From then on this is an Engine.IO server without Socket.IO. Without `handler` it is a decorator.
        Raises: ValueError for any other event.
        """
        if event not in EVENTS:
            raise ValueError("Invalid event")

        def register(handler: Any) -> Any:
            self.plain.handlers[event] = handler
            self.application = self.plain
            self.on_open = self.plain.opened
            return handler

        return register if handler is None else register(handler)

    def environ_of(self, session: Session) -> dict[str, Any]:
        """Return the environ of a session's handshake: always the same one, if somebody has put something into it."""
        if session.environ is None:
            session.environ = environ_of(session.request)
        return session.environ

    def release_environ(self, session: Session, entries: int) -> None:
        """Forget an environ that its reader has added nothing to: it is made again when somebody asks, and until then
        it would be a tenth of what an idle connection costs.

        Args:
            entries: how many it had when it was made.
        """
        if session.environ is not None and len(session.environ) == entries:
            session.environ = None

    def settle(self, session: Session) -> None:
        """Keep little of the handshake of a session that was let in, also in an environ that its reader has added
        something to: what the reader has added, and what the smaller request has."""
        before = session.request
        session.settle()
        environ = session.environ
        if environ is not None and session.request is not before:
            smaller = environ_of(session.request)
            for name in environ_of(before):
                if name in smaller:
                    environ[name] = smaller[name]
                else:
                    environ.pop(name, None)

    def generate_id(self) -> str:
        """Return a new id: 120 random bits, safe in a URL."""
        return secrets.token_urlsafe(15)

    def transport(self, sid: str) -> str:
        """Return 'polling' or 'websocket'. Raises: KeyError when there is no such session."""
        return self.sessions[sid].transport_name

    async def send(self, sid: str, data: str | bytes) -> None:
        """Send one message; a session that is gone gets nothing."""
        session = self.sessions.get(sid)
        if session is not None:
            session.outbox.push(
                Encoded((b"4" + data.encode(),)) if isinstance(data, str) else engine_packets.binary_message(data)
            )

    async def send_packet(self, sid: str, packet: Any) -> None:
        """Send an engineio.packet.Packet of the type MESSAGE."""
        await self.send(sid, packet.data)

    async def disconnect(self, sid: str | None = None) -> None:
        """Close one session, or all of them."""
        for session in [self.sessions.get(sid)] if sid is not None else list(self.sessions.values()):
            if session is not None:
                session.close(sessions.SERVER_DISCONNECT)

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Run the coroutine function `target` in a task, which `shutdown` cancels if it is still running."""
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def sleep(self, seconds: float = 0) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def create_event(self, *args: Any, **kwargs: Any) -> asyncio.Event:
        """Return an event."""
        return asyncio.Event(*args, **kwargs)

    def create_queue(self, *args: Any, **kwargs: Any) -> "asyncio.Queue[Any]":
        """Return a queue."""
        return asyncio.Queue(*args, **kwargs)

    def get_queue_empty_exception(self) -> type[Exception]:
        """Return what `create_queue(...).get_nowait()` raises."""
        return asyncio.QueueEmpty

    def attach(self, app: web.Application, path: str = "socket.io") -> None:
        """Serve `/path/` and `/path` of an aiohttp application, and shut down with it."""
        # Next.js strips the last slash in its rewrites, and clients may have `addTrailingSlash: false`.
        for route in (f"/{path.strip('/')}/", f"/{path.strip('/')}"):
            app.router.add_route("*", route, self.handle_request)

        async def stop(_: web.Application) -> None:
            await self.shutdown()

        app.on_shutdown.append(stop)

    def meter(self, request: web.Request) -> Meter:
        """Return the meter of a new client."""
        return self.intake.meter(self.intake_group(request))

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a task that this engine keeps track of."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def tasks(self) -> int:
        """How many tasks of this engine are running, the application's background tasks among them."""
        return len(self._tasks) + len(self._background)

    async def shutdown(self, wait_s: float = SHUTDOWN_WAIT_S) -> None:
        """Close all sessions, so that their clients come back elsewhere, and wait for the handlers.

        Handlers that take longer than `wait_s` are cancelled, and so are background tasks. Afterwards no task, timer or
        session is left.
        """
        for session in list(self.sessions.values()):
            session.finish(sessions.SERVER_SHUTDOWN)
        self.stopped = True
        deadline = self.wheel.clock() + wait_s
        current = asyncio.current_task()
        while self.wheel.clock() < deadline:
            tasks = {task for task in self._tasks if task is not current}
            if self._requests == 0 and not tasks and not self.sessions:
                break
            if tasks:
                await asyncio.wait(tasks, timeout=0.05)
            else:
                self._idle = asyncio.Event()
                try:
                    await asyncio.wait_for(self._idle.wait(), 0.05)
                except TimeoutError:
                    continue
        for session in list(self.sessions.values()):
            session.close(sessions.SERVER_SHUTDOWN)
        for self.dead in (False, True):  # once for the handlers that hang, once for the disconnect handlers after them
            for task in (self._tasks | self._background) - {current}:
                task.cancel()
            give_up = self.wheel.clock() + CANCEL_WAIT_S
            while (left := (self._tasks | self._background) - {current}) and self.wheel.clock() < give_up:
                await asyncio.wait(left, timeout=0.05)
        self.wheel.clear()

    # Requests

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of a client."""
        self._requests += 1
        try:
            response = await self._handle(request)
            if not response.prepared and kept.head_bytes(request) > kept.CONNECTING_BYTES:
                # aiohttp holds a connection's last request while it waits for the next one.
                response.force_close()
            return response
        finally:
            self._requests -= 1
            if self._idle is not None and not self._requests:
                self._idle.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not self.cors.allows(origin, lambda: _own_origins(request), lambda: environ_of(request)):
            if self.forbidden is not None:
                return self.forbidden(request)
            return self.error(request, FORBIDDEN, "Origin not allowed", cors=False)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=self._headers(request))
        query = request.query
        transport = query.get("transport")
        if transport not in self.transports:
            return self.error(request, UNKNOWN_TRANSPORT, "Transport unknown")
        if query.get("EIO") != "4":
            return self.error(request, UNSUPPORTED_VERSION, "Unsupported protocol version")
        if request.method not in ("GET", "POST"):
            return self.error(request, BAD_METHOD, "Bad handshake method")
        sid = query.get("sid")
        wants_websocket = transport == "websocket"
        if wants_websocket and (
            request.method != "GET" or request.headers.get("Upgrade", "").strip().lower() != "websocket"
        ):
            return self.error(request, BAD_REQUEST, "Not a websocket handshake")
        if wants_websocket and kept.head_bytes(request) > kept.CONNECTING_BYTES:
            # aiohttp holds the head for as long as the websocket is open.
            return self.error(request, BAD_REQUEST, "Headers too large", status=431)
        if sid is None:
            if request.method != "GET":
                return self.error(request, BAD_METHOD, "Bad handshake method")
            return await self._open(request, wants_websocket)
        session = self.sessions.get(sid)
        if session is None or not session.check():
            return self.error(request, UNKNOWN_SID, UNKNOWN_SID_MESSAGE)
        if wants_websocket:
            if not self.allow_upgrades:
                return self.error(request, BAD_REQUEST, "No upgrades")
            if session.link is not None or session.upgrade is not None:
                return await websocket.refuse(self, request)
            return await websocket.upgrade(self, request, session)
        if session.link is not None:
            return self.error(request, BAD_REQUEST, "Already on a websocket")
        if request.method == "GET":
            return await polling.get(self, request, session)
        return await polling.post(self, request, session)

    async def _open(self, request: web.Request, over_websocket: bool) -> web.StreamResponse:
        if self.stopped:
            return self.error(request, BAD_REQUEST, "Shutting down", status=503)
        if self.allow_request is not None:
            answer = self.allow_request(request)
            if inspect.isawaitable(answer):
                answer = await answer
            if answer is not None:
                answer.headers.update(self._headers(request))
                return answer
        session = Session(self, self.generate_id(), request, over_websocket=over_websocket)
        self.sessions[session.id] = session
        if self.observer is not None:
            self.observer.opened(session)
        self.on_open(session)
        session.outbox.push(self._handshake(session, over_websocket))
        if over_websocket:
            return await websocket.serve(self, request, session)
        response = self.payload(request, session.outbox.take())
        if self.cookie is not None:
            response.headers["Set-Cookie"] = _cookie(self.cookie, session.id)
        return response

    def _handshake(self, session: Session, over_websocket: bool) -> Encoded:
        upgrades = ["websocket"] if self.allow_upgrades and not over_websocket else []
        return Encoded(
            (
                b"0"
                + orjson.dumps(
                    {
                        "sid": session.id,
                        "upgrades": upgrades,
                        "pingInterval": round(self.ping_interval * 1000),
                        "pingTimeout": round(self.ping_timeout * 1000),
                        "maxPayload": self.max_payload,
                    }
                ),
            )
        )

    # Answers

    def payload(self, request: web.Request, payload: bytes) -> web.Response:
        """Answer a GET with an Engine.IO payload."""
        response = web.Response(
            body=payload, headers={**self._headers(request), "Content-Type": "text/plain; charset=UTF-8"}
        )
        if self.http_compression and len(payload) >= self.compression_threshold:
            response.enable_compression()
        return response

    def text(self, request: web.Request, text: str) -> web.Response:
        """Answer with a short text."""
        return web.Response(text=text, headers=self._headers(request))

    def error(
        self, request: web.Request, code: int, message: str, status: int = 400, cors: bool = True
    ) -> web.Response:
        """Refuse a request: {"code", "message"}, the codes of Engine.IO's own server and, byte by byte, its form."""
        if self.observer is not None:
            self.observer.rejected(code)
        return self._error(request, code, message, status, cors)

    def unknown(self, request: web.Request) -> web.Response:
        """Answer a poll of a session that has just ended, so that its client begins anew. That is no refusal."""
        return self._error(request, UNKNOWN_SID, UNKNOWN_SID_MESSAGE, 400, True)

    def too_large(self, request: web.Request) -> web.Response:
        """Refuse a POST by its size, with an empty body as Engine.IO's own server does."""
        if self.observer is not None:
            self.observer.rejected(BAD_REQUEST)
        return web.Response(status=413, headers=self._headers(request))

    def _error(self, request: web.Request, code: int, message: str, status: int, cors: bool) -> web.Response:
        headers = self._headers(request) if cors else {}
        headers["Content-Type"] = "application/json"
        return web.Response(body=orjson.dumps({"code": code, "message": message}), status=status, headers=headers)

    def _headers(self, request: web.Request) -> dict[str, str]:
        headers = self.cors.headers(request.headers.get("Origin"), request.headers, request.method)
        headers["Cache-Control"] = "no-store"
        return headers


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


def _own_origins(request: web.Request) -> tuple[str, ...]:
    # Behind a proxy that ends TLS we see http where the page was loaded over https.
    return (f"http://{request.host}", f"https://{request.host}")


def _cookie(attributes: dict[str, Any], sid: str) -> str:
    parts = [f"{attributes.get('name', 'io')}={sid}"]
    for name, value in attributes.items():
        if name != "name":
            value = value() if callable(value) else value
            parts.append(name if value is True else f"{name}={value}")
    return "; ".join(parts)
