"""An Engine.IO 4 server for aiohttp: handshakes, sessions, and what python-socketio calls of an engine.

Knows nothing of Socket.IO packets: the layer above is a `contracts.Application`.
Source: the Engine.IO protocol, revision 4.
"""

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from . import kept, polling, websocket
from .answers import (
    BAD_METHOD,
    BAD_REQUEST,
    FORBIDDEN,
    UNKNOWN_SID,
    UNKNOWN_SID_MESSAGE,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_VERSION,
    Answers,
    session_cookie,
)
from .contracts import Application
from .cors import Cors, Origins
from .handshake import environ_of
from .intake import Intake, IntakeLimits, Meter
from .outbox import Flusher
from .packets import Encoded, binary_message
from .plain import EVENTS, Plain
from .reasons import Gone
from .session import Session
from .tasks import Tasks
from .wheel import Wheel

TRANSPORTS: Final = ("polling", "websocket")

SHUTDOWN_WAIT_S: Final = 5.0
"""Seconds that `shutdown` gives handlers before it cancels them, by default."""
CANCEL_WAIT_S: Final = 1.0
"""Seconds that `shutdown` gives cancelled handlers to end."""

Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
AllowRequest = Callable[[web.Request], "web.StreamResponse | Awaitable[web.StreamResponse | None] | None"]


class Observer(Protocol):
    """Who keeps count of sessions. Must not raise, wait, or touch the session."""

    def rejected(self, code: int) -> None:
        """A request was answered with an error of Engine.IO's (answers.UNKNOWN_TRANSPORT to UNSUPPORTED_VERSION)."""

    def opened(self, session: Session) -> None:
        """A session has begun."""

    def closed(self, session: Session, reason: str) -> None:
        """A session that had begun is over. Called exactly once."""


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
        allow_origin: says in place of `cors_allowed_origins` whether a request that has an Origin is served.
        outbox_bytes: what a client may leave unread before it is dropped as a slow consumer.
        inbox_bytes: what a client may send ahead of its handlers; an event counts its length and 1024.
        intake_limits: how much one client may send, and how much of a turn of the event loop all may take.
        intake_group: gives for a handshake whom the client shares its turns with; by default its TCP peer's address.
        upgrade_timeout: how long an upgrade may take before the client stays with polling.
        connect_timeout: how long a session may live without being connected to a namespace.
        allow_request: called with each handshake's request; what it returns, unless None, is the answer.
        forbidden: makes the answer to a request whose Origin is not allowed.
        observer: the first of `observers`.
        finish_timeout: how long a polling client may take to fetch its last messages.

    Attributes:
        observers: told of every session's beginning and end, and of requests that were refused.
        sessions: by id, until they are over for their clients too.
        stopped: whether no new sessions are taken.
        dead: whether nothing is handled any more.
        spawn: runs a coroutine in a task that this engine keeps track of, and waits for at its end.
    """

    async_mode = "aiohttp"

    reason = Gone
    """Why a client went, as its disconnect handler is told."""

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
        allow_origin: Callable[[web.Request], bool] | None = None,
        outbox_bytes: int = 1 << 20,
        inbox_bytes: int = 1 << 17,
        intake_limits: IntakeLimits = IntakeLimits(),  # noqa: B008  # frozen
        intake_group: Callable[[web.Request], Hashable] = lambda request: request.remote,
        upgrade_timeout: float = 10,
        connect_timeout: float = 45,
        finish_timeout: float = 1,
        allow_request: AllowRequest | None = None,
        forbidden: Callable[[web.Request], web.StreamResponse] | None = None,
        observer: Observer | None = None,
        **ignored: Any,
    ) -> None:
        for name in ignored:
            if name not in {"async_mode", "async_handlers", "monitor_clients", "json", "logger"}:
                raise TypeError(f"unknown option {name!r}")
        self.ping_interval: float = ping_interval[0] if isinstance(ping_interval, tuple) else ping_interval
        self.ping_timeout: float = ping_timeout
        self.max_payload = max_http_buffer_size
        self.max_skipped = max_skipped_bytes
        self.transports = tuple([transports] if isinstance(transports, str) else transports or TRANSPORTS)
        if not set(self.transports) <= set(TRANSPORTS):
            raise ValueError("transports are 'polling' and 'websocket'")
        self.allow_upgrades = allow_upgrades and "websocket" in self.transports
        self.websocket_compression = websocket_compression
        self.cookie = {"name": cookie} if isinstance(cookie, str) else cookie
        self.cors = Cors(cors_allowed_origins, cors_credentials)
        self.allow_origin = allow_origin
        self.answers = Answers(self.cors, compression_threshold if http_compression else None, self._rejected)
        self.outbox_bytes = outbox_bytes
        self.inbox_bytes = inbox_bytes
        self.upgrade_timeout: float = upgrade_timeout
        self.connect_timeout = connect_timeout
        self.finish_timeout: float = finish_timeout
        self.allow_request = allow_request
        self.forbidden = forbidden
        self.observers: list[Observer] = [] if observer is None else [observer]
        self.wheel = Wheel()
        self.intake = Intake(intake_limits, self.wheel)
        self.intake_group = intake_group
        self.flusher = Flusher()
        self.sessions: dict[str, Session] = {}
        self.stopped = False
        self.dead = False
        self.plain = Plain()
        self.application: Application[Session] = self.plain
        self._tasks = Tasks()
        self.spawn: Spawn = self._tasks.spawn
        self._requests = 0

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
            return handler

        return register if handler is None else register(handler)

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
            session.outbox.push(Encoded((b"4" + data.encode(),)) if isinstance(data, str) else binary_message(data))

    async def disconnect(self, sid: str | None = None) -> None:
        """Close one session, or all of them."""
        for session in [self.sessions.get(sid)] if sid is not None else list(self.sessions.values()):
            if session is not None:
                session.close(Gone.SERVER_DISCONNECT)

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Run the coroutine function `target` in a task, which `shutdown` cancels if it is still running."""
        return self._tasks.spawn_background(target(*args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    def attach(self, app: web.Application, path: str = "socket.io", *, own_shutdown: bool = True) -> None:
        """Serve `/path/` and `/path` of an aiohttp application, and shut down with it.

        Args:
            own_shutdown: False for an application that calls `shutdown` itself, at a time of its own.
        """
        # Next.js strips the last slash in its rewrites, and clients may have `addTrailingSlash: false`.
        for route in (f"/{path.strip('/')}/", f"/{path.strip('/')}"):
            app.router.add_route("*", route, self.handle_request)

        async def stop(_: web.Application) -> None:
            await self.shutdown()

        if own_shutdown:
            app.on_shutdown.append(stop)

    def meter(self, request: web.Request) -> Meter:
        """Return the meter of a new client."""
        return self.intake.meter(self.intake_group(request))

    @property
    def tasks(self) -> int:
        """How many tasks of this engine are running, the application's background tasks among them."""
        return len(self._tasks)

    # The stop

    async def shutdown(self, wait_s: float = SHUTDOWN_WAIT_S) -> None:
        """Close all sessions, so that their clients come back elsewhere, and wait for the handlers.

        Handlers that take longer than `wait_s` are cancelled, and so are background tasks. Afterwards no task, timer or
        session is left.
        """
        self._refuse()
        await self._tasks.until(self._idle, self._tasks.handlers, wait_s)
        self._close_all()
        await self._tasks.cancel(CANCEL_WAIT_S)  # the handlers that hang
        self.dead = True
        await self._tasks.cancel(CANCEL_WAIT_S)  # the disconnect handlers after them
        self.wheel.clear()

    def _refuse(self) -> None:
        """Take no session any more, and end all that there are once their clients have the last messages."""
        for session in list(self.sessions.values()):
            session.finish(Gone.SERVER_SHUTDOWN)
        self.stopped = True

    def _close_all(self) -> None:
        for session in list(self.sessions.values()):
            session.close(Gone.SERVER_SHUTDOWN)

    def _idle(self) -> bool:
        return not (self._requests or self.sessions or self._tasks.handlers())

    # Sessions

    def begin(self, request: web.Request, *, over_websocket: bool = False) -> Session:
        """Begin a session. Its OPEN packet is the first that leaves."""
        session = Session(self, self.generate_id(), request, over_websocket=over_websocket)
        self.sessions[session.id] = session
        for observer in self.observers:
            observer.opened(session)
        self.application.opened(session)
        session.outbox.push(self._handshake(session, over_websocket))
        return session

    def forget(self, session: Session, reason: str) -> None:
        """A session is over for its client too."""
        self.sessions.pop(session.id, None)
        for observer in self.observers:
            observer.closed(session, str(reason))
        if not self.sessions:
            self._tasks.changed()

    def _rejected(self, code: int) -> None:
        for observer in self.observers:
            observer.rejected(code)

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
            if not self._requests:
                self._tasks.changed()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not self._allows_origin(request):
            if self.forbidden is not None:
                return self.forbidden(request)
            return self.answers.error(request, FORBIDDEN, "Origin not allowed", cors=False)
        if request.method == "OPTIONS":
            return self.answers.options(request)
        query = request.query
        transport = query.get("transport")
        if transport not in self.transports:
            return self.answers.error(request, UNKNOWN_TRANSPORT, "Transport unknown")
        if query.get("EIO") != "4":
            return self.answers.error(request, UNSUPPORTED_VERSION, "Unsupported protocol version")
        if request.method not in ("GET", "POST"):
            return self.answers.error(request, BAD_METHOD, "Bad handshake method")
        sid = query.get("sid")
        wants_websocket = transport == "websocket"
        if wants_websocket and (
            request.method != "GET" or request.headers.get("Upgrade", "").strip().lower() != "websocket"
        ):
            return self.answers.error(request, BAD_REQUEST, "Not a websocket handshake")
        if wants_websocket and kept.head_bytes(request) > kept.CONNECTING_BYTES:
            # aiohttp holds the head for as long as the websocket is open.
            return self.answers.error(request, BAD_REQUEST, "Headers too large", status=431)
        if sid is None:
            if request.method != "GET":
                return self.answers.error(request, BAD_METHOD, "Bad handshake method")
            return await self._open(request, wants_websocket)
        session = self.sessions.get(sid)
        if session is None or not session.check():
            return self.answers.error(request, UNKNOWN_SID, UNKNOWN_SID_MESSAGE)
        if wants_websocket:
            if not self.allow_upgrades:
                return self.answers.error(request, BAD_REQUEST, "No upgrades")
            if session.link is not None or session.upgrade is not None:
                return await websocket.refuse(self, request)
            return await websocket.upgrade(self, request, session)
        if session.link is not None:
            return self.answers.error(request, BAD_REQUEST, "Already on a websocket")
        if request.method == "GET":
            return await polling.get(self, request, session)
        return await polling.post(self, request, session)

    def _allows_origin(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is not None and self.allow_origin is not None:
            return self.allow_origin(request)
        return self.cors.allows(origin, lambda: _own_origins(request), lambda: environ_of(request))

    async def _open(self, request: web.Request, over_websocket: bool) -> web.StreamResponse:
        if self.stopped:
            return self.answers.error(request, BAD_REQUEST, "Shutting down", status=503)
        if self.allow_request is not None:
            answer = self.allow_request(request)
            if inspect.isawaitable(answer):
                answer = await answer
            if answer is not None:
                answer.headers.update(self.answers.headers(request))
                return answer
        session = self.begin(request, over_websocket=over_websocket)
        if over_websocket:
            return await websocket.serve(self, request, session)
        response = self.answers.payload(request, session.outbox.take())
        if self.cookie is not None:
            response.headers["Set-Cookie"] = session_cookie(self.cookie, session.id)
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


def _own_origins(request: web.Request) -> tuple[str, ...]:
    # Behind a proxy that ends TLS we see http where the page was loaded over https.
    return (f"http://{request.host}", f"https://{request.host}")
