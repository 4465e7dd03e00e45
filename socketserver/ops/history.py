"""What the monitoring page shows: the last hour, a point every few seconds, and who is connected.

Pure bookkeeping: times and figures are passed in, whatever the number of clients the memory is bounded, and listing
10 000 sockets does not keep the others waiting. Knows no HTTP: monitor_routes.py.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..chat.domain import Clock, UserId
from ..live.connections import Connection, Sessions
from ..realtime import ClientInfo
from .figures import Snapshot

log = logging.getLogger(__name__)

STEP_S: Final = 5.0
_TICK_S: Final = 0.25
# One hour of steps.
POINTS: Final = 720
MAX_ROWS: Final = 200
# After so many sockets the list lets others have a turn.
_LISTED_PER_TURN: Final = 500
# A sid is random: any two letters stand in some of them, its beginning as a log shows it in no other.
_MIN_SID_CHARS: Final = 5

Sort = Literal["user", "age", "unread"]


@dataclass(frozen=True, slots=True)
class Point:
    """The server at one moment, and what happened since the point before it.

    Attributes:
        number: 1 for the first point of the process, then one more each time.
        at_ms: UTC milliseconds.
        span_s: how long it is since the point before; 0 for the first.
        users, sockets, memory_bytes, outbox_bytes: at that moment.
        connects, reconnects, messages: how many there were since. A connect is a socket that got its user.
        ack_p50_s, ack_p95_s, fanout_p95_s: seconds from a message's receipt to its ack, and to its recipients'
            outboxes; None when there was no message.
        ends: how many sockets ended, by code; only what happened.
    """

    number: int
    at_ms: int
    span_s: float
    users: int
    sockets: int
    memory_bytes: int
    outbox_bytes: int
    connects: int
    reconnects: int
    messages: int
    ack_p50_s: float | None
    ack_p95_s: float | None
    fanout_p95_s: float | None
    ends: Mapping[str, int]


class History:
    """The newest POINTS points."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._last: Snapshot | None = None

    def __len__(self) -> int:
        return len(self._points)

    @property
    def newest(self) -> int:
        """The number of the newest point; 0 before the first."""
        return self._points[-1].number if self._points else 0

    def add(self, now: Snapshot, at_ms: int) -> None:
        """Take a point. In the first one nothing has happened, as it is not known since when."""
        then = now if self._last is None else self._last
        self._last = now
        ack, fanout = now.ack.since(then.ack), now.fanout.since(then.fanout)
        ends = {code: count - then.ends.get(code, 0) for code, count in now.ends.items()}
        self._points.append(
            Point(
                number=self.newest + 1,
                at_ms=at_ms,
                span_s=now.at_s - then.at_s,
                users=now.reading.users,
                sockets=sum(now.reading.sockets.values()),
                memory_bytes=now.memory_bytes,
                outbox_bytes=now.reading.outbox_bytes,
                connects=now.authentications - then.authentications,
                reconnects=now.reconnects - then.reconnects,
                messages=now.messages - then.messages,
                ack_p50_s=ack.quantile(0.5),
                ack_p95_s=ack.quantile(0.95),
                fanout_p95_s=fanout.quantile(0.95),
                ends={code: count for code, count in ends.items() if count},
            )
        )

    def since(self, number: int) -> list[Point]:
        """The points after that one, oldest first; all that are kept for 0 or a number that is not kept any more."""
        missed = self.newest - number
        return list(self._points)[max(0, len(self._points) - missed) :] if missed > 0 else []


async def record(history: History, snapshot: Callable[[], Snapshot], clock: Clock) -> None:
    """Add a point every STEP_S of the clock's until cancelled."""
    next_s = clock.monotonic_s()
    while True:
        if (now_s := clock.monotonic_s()) >= next_s:
            next_s = now_s + STEP_S
            try:
                history.add(snapshot(), clock.now_ms())
            except Exception:
                log.exception("the monitoring page's history misses a point")
        await asyncio.sleep(_TICK_S)


@dataclass(frozen=True, slots=True)
class Row:
    """One socket in the list.

    Attributes:
        age_s: since when it is connected.
        user_sockets: how many its user has.
    """

    connection: Connection
    info: ClientInfo
    age_s: float
    user_sockets: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of the sockets.

    Attributes:
        rows: in the order asked for.
        matching: how many there are that fit the search.
        sockets, users: how many there are at all.
    """

    rows: list[Row]
    matching: int
    sockets: int
    users: int


async def list_sockets(
    sessions: Sessions,
    look: Callable[[str], ClientInfo | None],
    now_s: float,
    *,
    search: str = "",
    sort: Sort = "user",
    descending: bool = False,
    limit: int = MAX_ROWS,
) -> Listing:
    """The sockets whose user id, name or address contains `search`, or whose sid begins with it, without those that
    are being ended.

    Args:
        look: what the engine knows of a socket; None for one that is gone.
        now_s: monotonic seconds.
        sort: by user, by how long it is connected, or by what it has not read yet. Sockets without a user come last
            in the order of users.
        limit: at most so many rows.
    """
    keyed: list[tuple[Any, str, Connection]] = []
    for number, connection in enumerate(sessions):
        if number % _LISTED_PER_TURN == 0:
            await asyncio.sleep(0)
        if connection.end is not None or not _fits(connection, search):
            continue
        key = _key(connection, sort, look)
        if key is not None:
            keyed.append((key, connection.sid, connection))
    pick: Callable[..., list[tuple[Any, str, Connection]]] = heapq.nlargest if descending else heapq.nsmallest
    picked = pick(limit, keyed, key=lambda item: item[:2])
    rows = [
        Row(connection, info, now_s - connection.since_s, _sockets_of(sessions, connection))
        for _, _, connection in picked
        if (info := look(connection.sid)) is not None
    ]
    return Listing(rows, len(keyed), len(sessions), sessions.users)


def find(sessions: Sessions, *, sid: str | None = None, user_id: str | None = None) -> list[Connection]:
    """One socket, or all of a user's, without those that are being ended."""
    if sid is not None:
        connection = sessions.get(sid)
        return [] if connection is None else [connection]
    return [] if user_id is None else [each for each in sessions.of_user(UserId(user_id)) if each.end is None]


def _fits(connection: Connection, search: str) -> bool:
    identity = connection.identity
    who = (identity.user_id, identity.display_name) if identity is not None else ()
    return (
        not search
        or search.casefold() in "\n".join((*who, connection.guest.address)).casefold()
        or (len(search) >= _MIN_SID_CHARS and connection.sid.startswith(search))
    )


def _key(connection: Connection, sort: Sort, look: Callable[[str], ClientInfo | None]) -> Any:
    """What a socket is sorted by; None for one that is gone."""
    if sort == "unread":
        info = look(connection.sid)
        return None if info is None else info.unsent_bytes
    if sort == "age":
        return -connection.since_s
    identity = connection.identity
    return (identity is None, identity.user_id.casefold() if identity is not None else "")


def _sockets_of(sessions: Sessions, connection: Connection) -> int:
    return 1 if connection.identity is None else len(sessions.of_user(connection.identity.user_id))
