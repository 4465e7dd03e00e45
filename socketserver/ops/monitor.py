"""The monitoring page over HTTP, for those whom admin_access.py lets through.

    GET  /monitor             the page; its files are beside it, under /monitor/…
    GET  /monitor/data        200 {ok, now, stepMs, cursor, server, points}: the last hour, or with ?cursor=… newer ones
    GET  /monitor/users       200 {ok, sockets, matching, totalSockets, totalUsers}; ?search=, ?sort=user|age|unread,
                              ?order=asc|desc, ?limit= (at most MAX_ROWS)
    POST /monitor/disconnect  {"sid"} or {"userId"}: ends the socket, or all of the user's; 200 {ok, ended}

`points` has an array per column, with one entry per point; times are UTC milliseconds. No message, token or cookie is
among all this.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import web

from .. import __version__
from ..chat.domain import Clock
from ..door.connects import Guards
from ..errors import ChatError, InvalidPayload
from ..live.connections import Sessions
from ..live.lifecycle import Lifecycle
from ..realtime import AsyncServer
from ..settings import Settings, variable
from ..values import check_user_id, whole_number_in
from ..wire.answers import error_response, read_body
from ..wire.files import PageFiles
from ..wire.protocol import dump_ok
from .admin_access import AdminAccess
from .history import MAX_ROWS, STEP_S, History, Point, Row, Sort, find, list_sockets

_PAGE: Final = Path(__file__).resolve().parent / "monitor_page"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that, browsers send `Origin: null` with the page's POST.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_SORTS: Final = ("user", "age", "unread")
MAX_SEARCH_CHARS: Final = 200

# What explains most of what the charts show. None of it is a secret.
_SETTINGS: Final = (
    "sockets_per_user",
    "ping_interval_s",
    "ping_timeout_s",
    "auth_timeout_s",
    "presence_grace_s",
    "sweep_s",
    "connects_per_minute_user",
    "connects_per_minute_address",
    "failed_connects_per_minute_address",
    "max_connections_address",
    "max_connections_origin",
    "messages_per_second",
    "messages_burst",
    "conversations_per_minute",
    "conversations_burst",
    "events_per_second",
    "events_burst",
    "max_event_bytes",
    "max_skipped_bytes",
    "outbox_bytes",
    "inbox_bytes",
    "websocket_compression",
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Monitor:
    """The page's routes.

    Args:
        history: the points; somebody else adds to it.
        lifecycle: ends sockets.
    """

    def __init__(
        self,
        *,
        history: History,
        sessions: Sessions,
        sio: AsyncServer,
        lifecycle: Lifecycle,
        guards: Guards,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._history: Final = history
        self._sessions: Final = sessions
        self._sio: Final = sio
        self._lifecycle: Final = lifecycle
        self._guards: Final = guards
        self._clock: Final = clock
        self._started_ms: Final = clock.now_ms()
        self._server: Final = {
            "version": __version__,
            "startedAt": self._started_ms,
            "store": settings.store_url.partition("://")[0],
            "settings": [_setting(settings, name) for name in _SETTINGS],
        }

    def setup(self, app: web.Application, admin: AdminAccess, prefix: str = "") -> None:
        """Add the routes, behind `admin`.

        Args:
            prefix: what each path begins with. The page itself needs not know it: it asks for what lies beside it.
        """
        files = {file.name: file for file in _PAGE.iterdir()}
        monitor = f"{prefix}/monitor"
        page = PageFiles(_HEADERS)
        app.router.add_get(monitor, admin.protect(_file(page, files["index.html"])))
        for name, file in files.items():
            app.router.add_get(f"{monitor}/{name}", admin.protect(_file(page, file)))
        app.router.add_get(f"{monitor}/data", admin.protect(self._data))
        app.router.add_get(f"{monitor}/users", admin.protect(_answered(self._users)))
        app.router.add_post(f"{monitor}/disconnect", admin.protect(_answered(self._disconnect), action=True))

    async def _data(self, request: web.Request) -> web.StreamResponse:
        # The cursor names the process too: after a restart the numbers begin anew.
        run, _, number = request.query.get("cursor", "").partition("-")
        known = run == str(self._started_ms) and number.isascii() and number.isdigit()
        points = self._history.since(int(number[:18]) if known else 0)
        return web.json_response(
            dump_ok(
                now=self._clock.now_ms(),
                stepMs=round(STEP_S * 1000),
                cursor=f"{self._started_ms}-{self._history.newest}",
                server=self._server,
                points=_columns(points),
            )
        )

    async def _users(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        sort, order = query.get("sort", "user"), query.get("order", "asc")
        if sort not in _SORTS or order not in ("asc", "desc"):
            raise InvalidPayload(f"sort is one of {', '.join(_SORTS)}, order is asc or desc.")
        listing = await list_sockets(
            self._sessions,
            self._sio.client_info,
            self._clock.monotonic_s(),
            search=query.get("search", "")[:MAX_SEARCH_CHARS],
            sort=cast(Sort, sort),
            descending=order == "desc",
            limit=_limit(query.get("limit", str(MAX_ROWS))),
        )
        return web.json_response(
            dump_ok(
                sockets=[_row(row) for row in listing.rows],
                matching=listing.matching,
                totalSockets=listing.sockets,
                totalUsers=listing.users,
            )
        )

    async def _disconnect(self, request: web.Request) -> web.StreamResponse:
        sid, user_id = await _read_target(request)
        connections = find(self._sessions, sid=sid, user_id=user_id)
        address = self._guards.guest(request).address
        for connection in connections:
            await self._lifecycle.kick(connection, by=address)
        return web.json_response(dump_ok(ended=len(connections)))


async def _read_target(request: web.Request) -> tuple[str | None, str | None]:
    """The sid or the user id of a body {"sid": …} or {"userId": …}; the other one is None.

    Raises: InvalidPayload.
    """
    try:
        body = json.loads(await read_body(request))
    except (ValueError, RecursionError):
        raise InvalidPayload("The body is not JSON.") from None
    if isinstance(body, dict) and len(body) == 1:
        ((name, value),) = body.items()
        if name == "sid" and isinstance(value, str):
            return value, None
        if name == "userId":
            try:
                return None, check_user_id(value)
            except ValueError as error:
                raise InvalidPayload(f"userId {error}.") from None
    raise InvalidPayload('Send {"sid": "…"} or {"userId": "…"}.')


def _limit(text: str) -> int:
    try:
        limit = whole_number_in(text)
    except ValueError as error:
        raise InvalidPayload(f"limit {error}.") from None
    if not 0 <= limit < 1_000_000_000:
        raise InvalidPayload("limit must be 0 or more, and not absurd.")
    return min(limit, MAX_ROWS)


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    unit = extra.get("unit", "") if isinstance(extra, dict) else ""
    return {"name": variable(name), "value": getattr(settings, name), "unit": unit}


def _columns(points: Iterable[Point]) -> dict[str, list[Any]]:
    columns: dict[str, Callable[[Point], Any]] = {
        "at": lambda point: point.at_ms,
        "spanMs": lambda point: round(point.span_s * 1000),
        "users": lambda point: point.users,
        "sockets": lambda point: point.sockets,
        "memoryBytes": lambda point: point.memory_bytes,
        "outboxBytes": lambda point: point.outbox_bytes,
        "connects": lambda point: point.connects,
        "reconnects": lambda point: point.reconnects,
        "messages": lambda point: point.messages,
        "ackP50Ms": lambda point: _ms(point.ack_p50_s),
        "ackP95Ms": lambda point: _ms(point.ack_p95_s),
        "fanoutP95Ms": lambda point: _ms(point.fanout_p95_s),
        "ends": lambda point: point.ends,
    }
    points = list(points)
    return {name: [value(point) for point in points] for name, value in columns.items()}


def _row(row: Row) -> dict[str, Any]:
    identity = row.connection.identity
    return {
        "sid": row.connection.sid,
        "userId": identity.user_id if identity is not None else None,
        "name": identity.display_name if identity is not None else None,
        "userSockets": row.user_sockets,
        "address": row.connection.guest.address,
        "transport": row.info.transport,
        "ageMs": round(row.age_s * 1000),
        "unreadBytes": row.info.unsent_bytes,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _file(page: PageFiles, file: Path) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await page.file(request, file)

    return handler


def _answered(handler: Handler) -> Handler:
    """A handler whose ChatError is an answer."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ChatError as error:
            return error_response(error)

    return answered
