"""The Socket.IO Admin UI's side of a server: a namespace in which it sees clients and rooms, and events by name.

It is there once `AsyncServer.instrument` was called, and costs nothing while nobody watches: what the UI is told is the
difference between two looks at the registries, one per interval, and only a watched server records its events. Of a
handshake it shows what `_describe` names, never a cookie, a token, an event's arguments or a user session.
Source: the events of @socket.io/admin-ui 0.5.
"""

import asyncio
import hashlib
import hmac
import inspect
import os
import secrets
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal, Protocol

import orjson
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError

from .engine.engine import Engine
from .engine.reasons import Gone
from .engine.session import Session
from .rooms import CONNECTED, Client, RoomManager

DEVELOPMENT: Final = "development"
PRODUCTION: Final = "production"

MAX_CHANGES: Final = 200
"""Maximum sockets told of per interval, those that came, went or changed; the others wait for the next."""
MAX_SOCKETS: Final = 2_000
"""Maximum sockets that are listed; the counts are complete."""
MAX_ROOMS: Final = 20
"""Maximum rooms that are listed of one socket."""
MAX_EVENTS: Final = 100
"""Maximum events told of per interval."""
MAX_SESSIONS: Final = 32
"""Maximum browsers that are remembered; the oldest login is forgotten."""
SESSION_S: Final = 8 * 3600.0
"""Seconds for which a browser in which somebody has logged in is let in again without the password."""
MAX_SHOWN_CHARS: Final = 200

REFUSAL: Final = "invalid credentials"  # the UI asks for the password again at exactly these words
UNKNOWN_EVENT: Final = "(unknown)"
WATCHERS: Final = "watchers"  # the room of those who have logged in; nothing is sent to the namespace as a whole
SHOWN_HEADERS: Final = ("User-Agent", "Origin")
SHOWN_QUERY: Final = ("EIO", "transport")

Auth = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Callable[[Any], bool | Awaitable[bool]] | Literal[False]

_TRIED: Final = web.RequestKey("admin_ui_tried", bool)


class Server(Protocol):
    """What the UI needs of the server that it shows."""

    eio: Engine
    manager: RoomManager
    disconnect_grace: float

    def on(self, event: str, handler: Callable[..., Any], namespace: str | None = None) -> None: ...

    def watch(
        self, received: Callable[[Client, Any], None], sent: Callable[[str, str, Iterable[Client]], None]
    ) -> Callable[[], None]: ...

    def has_handler(self, event: Any, namespace: str) -> bool: ...

    def emit_now(self, event: str, data: Any = None, *, to: Any = None, namespace: str | None = None) -> int: ...

    async def enter_room(self, sid: str, room: str, namespace: str | None = None) -> None: ...

    async def disconnect(self, sid: str, namespace: str | None = None) -> None: ...


class _Shown:
    """What the watchers were told of a client."""

    __slots__ = ("rooms", "transport")

    def __init__(self, client: Client) -> None:
        self.transport = client.session.transport_name
        self.rooms = _rooms(client)


class AdminUi:
    """Serves the Admin UI in a namespace of its own. See `AsyncServer.instrument`."""

    def __init__(
        self,
        server: Server,
        auth: Auth,
        *,
        mode: str,
        read_only: bool,
        server_id: str | None,
        namespace: str,
        interval_s: float,
        address: Callable[[web.Request], str | None],
        refused: Callable[[web.Request], None],
        let_in: Callable[[web.Request], None],
        disconnect: Callable[[str, str, web.Request], Awaitable[None]] | None,
    ) -> None:
        if mode not in (DEVELOPMENT, PRODUCTION):
            raise ValueError("mode is 'development' or 'production'")
        self._server = server
        self._auth = auth
        self._lists = mode == DEVELOPMENT
        self._acts = self._lists and not read_only
        self._namespace = namespace
        self._interval_s = interval_s
        self._address = address
        self._refused = refused
        self._let_in = let_in
        self._end = disconnect
        self._identity = {"serverId": server_id or socket.gethostname(), "hostname": socket.gethostname()}
        self._started = self._now()
        self._logins: OrderedDict[str, float] = OrderedDict()  # hash of a session id → when it ends
        self._shown: dict[Client, _Shown] = {}
        self._events: list[tuple[str, tuple[Any, ...]]] = []
        self._raw: Counter[tuple[int, str, str | None]] = Counter()
        self._fresh = False
        self._task: asyncio.Task[Any] | None = None
        self._wake: asyncio.Event | None = None
        server.eio.observers.append(self)
        server.on("connect", self._connect, namespace)
        if self._acts:
            server.on("_disconnect", self._disconnect, namespace)

    # Connections, as an observer of the engine

    def rejected(self, code: int) -> None:
        """A request was answered with an error."""

    def opened(self, session: Session) -> None:
        """A session has begun."""
        if self._task is not None:
            self._raw[int(time.time()), "rawConnection", None] += 1

    def closed(self, session: Session, reason: str) -> None:
        """A session is over."""
        if self._task is not None:
            self._raw[int(time.time()), "rawDisconnection", reason] += 1

    # Logging in

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        request: web.Request = environ["aiohttp.request"]
        login = auth.get("sessionId") if isinstance(auth, dict) else None
        known = isinstance(login, str) and self._knows(login)
        # One try per handshake, so that whoever counts handshakes counts tries.
        if request.get(_TRIED) or not (known or await self._may(auth)):
            self._refuse(sid, request)
            raise ConnectionRefusedError(REFUSAL)
        self._let_in(request)
        if not known and self._auth is not False:
            self._tell("session", self._remember(), to=sid)
        features = ["AGGREGATED_EVENTS"]
        features += ["ALL_EVENTS"] if self._lists else []
        features += ["DISCONNECT"] if self._acts else []
        self._tell("config", {"supportedFeatures": features}, to=sid)
        await self._server.enter_room(sid, WATCHERS, self._namespace)
        self._watch()

    async def _may(self, auth: Any) -> bool:
        if self._auth is False:
            return True
        if callable(self._auth):
            allowed = self._auth(auth)
            return bool(await allowed if inspect.isawaitable(allowed) else allowed)
        accepted = [self._auth] if isinstance(self._auth, Mapping) else self._auth
        given = _canonical(auth)
        return any(hmac.compare_digest(given, _canonical(each)) for each in accepted)

    def _refuse(self, sid: str, request: web.Request) -> None:
        if request.get(_TRIED):
            return
        request[_TRIED] = True
        self._refused(request)
        client = self._server.manager.client(sid, self._namespace)
        if client is not None:
            session = client.session
            self._server.eio.wheel.after(self._server.disconnect_grace, lambda: session.close(Gone.SERVER_DISCONNECT))

    def _remember(self) -> str:
        login = secrets.token_urlsafe(32)
        self._logins[_hash(login)] = self._now() + SESSION_S
        if len(self._logins) > MAX_SESSIONS:
            self._logins.popitem(last=False)
        return login

    def _knows(self, login: str) -> bool:
        return self._logins.get(_hash(login), 0.0) > self._now()

    # Watching

    def _watch(self) -> None:
        """Somebody has logged in: tell everything anew, to all who watch."""
        self._fresh = True
        if self._task is None:
            self._wake = asyncio.Event()
            self._task = self._server.eio.start_background_task(self._run)
        assert self._wake is not None
        self._wake.set()

    async def _run(self) -> None:
        assert self._wake is not None
        manager = self._server.manager
        unwatch = self._server.watch(self._received, self._sent) if self._lists else None
        try:
            while (space := manager.namespaces.get(self._namespace)) is not None and WATCHERS in space.rooms:
                self._wake.clear()
                if self._lists:
                    self._tell_changes()
                self._tell_stats()
                try:
                    async with asyncio.timeout(self._interval_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            if unwatch is not None:
                unwatch()
            self._shown.clear()
            self._events.clear()
            self._raw.clear()
            self._task = None

    def _tell_changes(self) -> None:
        manager = self._server.manager
        if self._fresh:
            self._shown.clear()
        left = MAX_CHANGES
        stamp = _stamp()
        for client in list(islice((client for client in self._shown if client.phase != CONNECTED), left)):
            del self._shown[client]
            self._tell("socket_disconnected", (client.namespace, client.sid, client.reason, stamp))
            left -= 1
        everybody = [
            client
            for name, space in manager.namespaces.items()
            if name != self._namespace
            for client in space.clients.values()
            if client.phase == CONNECTED
        ]
        room = max(0, min(left, MAX_SOCKETS - len(self._shown)))
        new = list(islice((client for client in everybody if client not in self._shown), room))
        left -= len(new)
        for client in islice((client for client in self._shown if _changed(client, self._shown[client])), left):
            self._tell_difference(client, self._shown[client], stamp)
        for client in new:
            self._shown[client] = _Shown(client)
        if self._fresh:
            self._tell("all_sockets", [self._describe(client) for client in new])
            self._fresh = False
        else:
            for client in new:
                description = self._describe(client)
                self._tell("socket_connected", (description, description["handshake"]["time"]))
        events, self._events = self._events, []
        for event, args in events:
            self._tell(event, args)

    def _tell_difference(self, client: Client, shown: _Shown, stamp: str) -> None:
        transport, rooms = client.session.transport_name, _rooms(client)
        if transport != shown.transport:
            self._tell("socket_updated", {"id": client.sid, "nsp": client.namespace, "transport": transport})
        for room in rooms:
            if room not in shown.rooms:
                self._tell("room_joined", (client.namespace, room, client.sid, stamp))
        for room in shown.rooms:
            if room not in rooms:
                self._tell("room_left", (client.namespace, room, client.sid, stamp))
        shown.transport, shown.rooms = transport, rooms

    def _describe(self, client: Client) -> dict[str, Any]:
        session = client.session
        request = session.request
        since = time.time() - (self._now() - session.created)
        headers = {name.lower(): request.headers[name] for name in SHOWN_HEADERS if name in request.headers}
        query = {name: request.query[name] for name in SHOWN_QUERY if name in request.query}
        return {
            "id": client.sid,
            # the Engine.IO id is what lets a client go on with its session: a secret, of which a hash stands for it
            "clientId": _hash(session.id)[:12],
            "transport": session.transport_name,
            "nsp": client.namespace,
            "data": {},
            "handshake": {
                "address": self._address(request) or "",
                "headers": {name: _text(value) for name, value in headers.items()},
                "query": {name: _text(value) for name, value in query.items()},
                "secure": request.secure,
                "url": _text(request.path),
                "issued": round(since * 1000),
                "time": _stamp(since),
                "xdomain": "Origin" in request.headers,
            },
            "rooms": list(_rooms(client)),
        }

    def _tell_stats(self) -> None:
        spaces = self._server.manager.namespaces
        engine = self._server.eio
        raw, self._raw = self._raw, Counter()
        self._tell(
            "server_stats",
            {
                **self._identity,
                "pid": os.getpid(),
                "uptime": self._now() - self._started,
                "clientsCount": len(engine.sessions),
                "pollingClientsCount": sum(session.link is None for session in engine.sessions.values()),
                "aggregatedEvents": [
                    {"timestamp": second * 1000, "type": kind, "count": count}
                    | ({} if reason is None else {"subType": reason})
                    for (second, kind, reason), count in raw.items()
                ],
                "namespaces": [
                    {"name": name, "socketsCount": len(spaces[name].clients) if name in spaces else 0}
                    for name in sorted({"/", *spaces} - {self._namespace})
                ],
            },
        )

    # Events, by name

    def _received(self, client: Client, event: Any) -> None:
        if client.namespace != self._namespace and len(self._events) < MAX_EVENTS:
            name = event if self._server.has_handler(event, client.namespace) else UNKNOWN_EVENT
            self._events.append(("event_received", (client.namespace, client.sid, [name], _stamp())))

    def _sent(self, event: str, namespace: str, members: Iterable[Client]) -> None:
        if namespace != self._namespace and len(self._events) < MAX_EVENTS:
            stamp = _stamp()
            for client in islice(members, MAX_EVENTS - len(self._events)):
                self._events.append(("event_sent", (namespace, client.sid, [event], stamp)))

    # What the UI may do: disconnect one socket. Emitting and rooms would go round the application's permissions.

    async def _disconnect(self, sid: str, namespace: Any = None, close: Any = None, other: Any = None) -> None:
        if not isinstance(namespace, str) or not isinstance(other, str) or namespace == self._namespace:
            return
        manager = self._server.manager
        watcher = manager.client(sid, self._namespace)
        if watcher is None or not manager.is_connected(other, namespace):
            return
        if self._end is None:
            await self._server.disconnect(other, namespace)
        else:
            await self._end(other, namespace, watcher.session.request)

    def _tell(self, event: str, data: Any, to: str = WATCHERS) -> None:
        self._server.emit_now(event, data, to=to, namespace=self._namespace)

    def _now(self) -> float:
        return self._server.eio.wheel.clock()


def _rooms(client: Client) -> tuple[str, ...]:
    return (client.sid, *(_text(str(room)) for room in islice(client.rooms, MAX_ROOMS)))


def _text(value: str) -> str:
    # Bytes that are no UTF-8 come out of a header as lone surrogates, which JSON does not have.
    return value[:MAX_SHOWN_CHARS].encode("utf-8", "replace").decode()


def _changed(client: Client, shown: _Shown) -> bool:
    return client.session.transport_name != shown.transport or _rooms(client) != shown.rooms


def _stamp(seconds: float | None = None) -> str:
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _canonical(value: Any) -> bytes:
    return orjson.dumps(dict(value) if isinstance(value, Mapping) else value, option=orjson.OPT_SORT_KEYS)
