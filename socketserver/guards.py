"""Who may connect: how often, and how many at a time; and what ends a loop of connects.

Bookkeeping only. `admit` is asked before a connection costs anything, by its address; `admit_user` and
`admit_anonymous` once it is known who wants to connect. Knows no rooms and no events, starts no task and no timer;
`sweep` is called now and then.

A loop is a client that is refused or dropped, and comes back at once. Three windows see it, whichever way it takes:

    per address   connects that were refused, or ended within SHORT_S of their start   → HTTP 429
    per user      connects; those that the server ended soon after their start; sockets that replaced each other
    per client    (address, program and page) connects without a user that the server ended

The last two refuse with a Socket.IO CONNECT_ERROR, at which the stock client does not try again; after a 429 it tries
as often as its `reconnectionAttempts` say.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiohttp import hdrs, web

from . import protocol
from .domain import Clock, UserId
from .errors import (
    AUTH_TIMEOUT,
    ENDS,
    FLOODING,
    KICKED,
    MALFORMED,
    REPLACED,
    RESTART,
    TOO_LARGE,
    TOO_MANY_CONNECTS,
    ChatError,
    Draining,
    TooManyConnections,
    TooManyConnects,
)
from .limits import TokenBucket, Windows
from .logs import get_logger
from .origins import Origins
from .proxies import Proxies, network_of
from .sessions import Connection, Guest
from .settings import Settings, variable

log = get_logger(__name__)

# A connection that ends sooner than that counts as failed.
SHORT_S: Final = 5.0
SPAN_S: Final = 60.0
# So often within a minute the server may end a user's connection soon after its start. The next connect is refused.
DROPS: Final = 3
# So often within a minute a user's young sockets may replace each other. A page that is reloaded does that too (over
# polling the server cannot see that the old page is gone), but not so often.
# Two tabs that fight connect four times each.
REPLACEMENTS: Final = 6
# What a client is told that finds too many connections open; nobody knows when one of them will end.
FULL_RETRY_S: Final = 10.0
# What a client is told that comes while the server stops.
DRAINING_RETRY_S: Final = 2.0
# Loops and foreign origins that are being written about at a time.
MAX_SUBJECTS: Final = 1_000
LINES_PER_MINUTE: Final = 60
MAX_SHOWN_CHARS: Final = 200

# Ends that are the client's own doing, however long it took.
_OWN_FAULTS: Final = frozenset({AUTH_TIMEOUT.code, FLOODING.code, MALFORMED.code, TOO_MANY_CONNECTS.code})
# Ends that say nothing about the client, and the one that the stock client's `retries` repeat: it gives up what is too
# large after a few tries, and is not to be locked out before that, with all that waits behind.
_FAULTS: Final = frozenset(ENDS) - {RESTART.code, KICKED.code, TOO_LARGE.code}

# Engine.IO's numbers, as words.
_ENGINE_CODES: Final = (
    "unknown_transport",
    "unknown_sid",
    "bad_method",
    "bad_request",
    "origin_not_allowed",
    "unsupported_version",
)

_HELP: Final = (
    "The client connects again and again: see whether it is refused or dropped each time, or whether the page calls "
    "connect() by itself. docs/protocol.md#when-the-handshake-fails"
)


GUEST: Final = web.RequestKey("guest", Guest)


class Guards:
    """The limits on connecting.

    Implements realtime's `allow_request` (`admit`), `forbidden` (`wrong_origin`) and `Observer` (`opened`, `closed`,
    `rejected`).

    Args:
        on_refused: told of every request to connect that was answered with an error, by its code.

    Attributes:
        draining: whether nobody is let in any more, because the server stops.
    """

    def __init__(
        self,
        settings: Settings,
        proxies: Proxies,
        origins: Origins,
        clock: Clock,
        *,
        on_refused: Callable[[str], None] = lambda code: None,
    ) -> None:
        self._on_refused = on_refused
        self._proxies = proxies
        self._origins = origins
        self._clock = clock
        self._max_address = settings.max_connections_address
        self._max_origin = settings.max_connections_origin
        self._connects: Windows[str] = Windows(settings.connects_per_minute_address, SPAN_S)
        self._failed: Windows[str] = Windows(settings.failed_connects_per_minute_address, SPAN_S)
        self._users: Windows[UserId] = Windows(settings.connects_per_minute_user, SPAN_S)
        watched = settings.connects_per_minute_user > 0
        self._drops: Windows[object] = Windows(DROPS if watched else 0, SPAN_S)
        self._replacements: Windows[UserId] = Windows(REPLACEMENTS if watched else 0, SPAN_S)
        self._admin: Windows[str] = Windows(settings.failed_connects_per_minute_address, SPAN_S)
        self._open_address: Counter[str] = Counter()
        self._open_origin: Counter[str] = Counter()
        self._notes = _Notes()
        self.draining = False

    # Before a session exists

    def check(self) -> None:
        """Raises: Draining once the server stops."""
        if self.draining:
            raise Draining(retry_after_ms=_ms(DRAINING_RETRY_S))

    def admit(self, request: web.Request) -> web.Response | None:
        """None to let a handshake go on, else its refusal."""
        try:
            self.check()
        except Draining as error:
            return self._refusal(error, 503, "Nothing is wrong: a new server takes this one's place.")
        guest = self.guest(request)
        now_s = self._clock.monotonic_s()
        failed_s = self._failed.wait_s(guest.network, now_s)
        wait_s = failed_s or self._connects.take(guest.network, now_s)
        if wait_s:
            window, name = (
                (self._failed, "failed_connects_per_minute_address")
                if failed_s
                else (self._connects, "connects_per_minute_address")
            )
            why = f"{window.count(guest.network, now_s)} connects within a minute{' that failed' if failed_s else ''}"
            self._notes.loop(("address", guest.network), now_s, name, why, address=guest.address)
            return self._refusal(TooManyConnects(retry_after_ms=_ms(wait_s)), 429, _HELP)
        if 0 < self._max_address <= self._open_address[guest.network]:
            return self._full(guest, now_s, "address", guest.address, "max_connections_address", self._max_address)
        if guest.origin is not None and 0 < self._max_origin <= self._open_origin[guest.origin]:
            return self._full(guest, now_s, "origin", guest.origin, "max_connections_origin", self._max_origin)
        return None

    def guest(self, request: web.BaseRequest) -> Guest:
        """Who sends this request; for all requests the same answer, and the same object for the same request."""
        guest = request.get(GUEST)
        if guest is None:
            address = self._proxies.address(request)
            program = request.headers.get(hdrs.USER_AGENT, "")[:MAX_SHOWN_CHARS]
            origin = request.headers.get(hdrs.ORIGIN)
            guest = request[GUEST] = Guest(address, network_of(address), origin, program)
        return guest

    def wrong_origin(self, request: web.Request) -> web.Response:
        """The answer to a page that may not connect. It is said in the log, once a minute per origin."""
        error = self._origins.refusal(request)
        guest = self.guest(request)
        self._notes.say(
            ("origin", guest.origin),
            self._clock.monotonic_s(),
            "origin_refused",
            origin=guest.origin,
            address=guest.address,
            setting=variable("allowed_origins"),
        )
        return self._refusal(error, 403, f"List the page's origin in {variable('allowed_origins')}.")

    def rejected(self, code: int) -> None:
        """A request was answered with an error of Engine.IO's."""
        self._on_refused(_ENGINE_CODES[code])

    # While a session exists

    def opened(self, session: Any) -> None:
        """A session has begun."""
        guest = self.guest(session.request)
        guest.opened_s = self._clock.monotonic_s()
        self._open_address[guest.network] += 1
        if guest.origin is not None:
            self._open_origin[guest.origin] += 1

    def closed(self, session: Any, reason: str) -> None:
        """A session is over."""
        guest = self.guest(session.request)
        _decrease(self._open_address, guest.network)
        if guest.origin is not None:
            _decrease(self._open_origin, guest.origin)
        if reason == TOO_LARGE.code:
            return
        if guest.opened_s is not None and self._clock.monotonic_s() - guest.opened_s < SHORT_S:
            self._fail(guest)

    def refused(self, guest: Guest) -> None:
        """A client could not prove who it is, or connects too often."""
        self._fail(guest)

    def forgive(self, guest: Guest) -> None:
        """A connect failed by a fault of the server's: it does not count as failed, however soon it ends."""
        guest.failed = True

    def admit_login(self, guest: Guest) -> None:
        """Let an address try a token over HTTP; what fails there counts like a connect that failed.

        Raises: TooManyConnects.
        """
        now_s = self._clock.monotonic_s()
        if wait_s := self._failed.wait_s(guest.network, now_s):
            why = f"{self._failed.count(guest.network, now_s)} failed within a minute"
            name = "failed_connects_per_minute_address"
            self._notes.loop(("address", guest.network), now_s, name, why, address=guest.address)
            raise TooManyConnects(retry_after_ms=_ms(wait_s))

    def admit_admin(self, guest: Guest) -> None:
        """Let an address try an admin token. The tries that failed are counted apart from connects, so that a client
        that loops does not lock out whoever looks after it from the same address.

        Raises: TooManyConnects.
        """
        if wait_s := self._admin.wait_s(guest.network, self._clock.monotonic_s()):
            raise TooManyConnects("Too many wrong admin tokens; wait for retryAfterMs.", retry_after_ms=_ms(wait_s))

    def refused_admin(self, guest: Guest) -> None:
        """An admin token was wrong. It is said in the log, once a minute per address."""
        now_s = self._clock.monotonic_s()
        self._admin.add(guest.network, now_s)
        self._notes.say(("admin", guest.network), now_s, "admin_refused", address=guest.address)

    def trusts_peer(self, request: web.BaseRequest) -> bool:
        """Whether the other end of the connection is a trusted proxy."""
        return self._proxies.trusts_peer(request)

    def admit_user(self, user_id: UserId, guest: Guest) -> None:
        """Let a user connect once more.

        Raises: TooManyConnects.
        """
        now_s = self._clock.monotonic_s()
        drops_s = self._drops.wait_s(user_id, now_s)
        replacements_s = self._replacements.wait_s(user_id, now_s)
        wait_s = max(drops_s, replacements_s) or self._users.take(user_id, now_s)
        if not wait_s:
            return
        if replacements_s:
            message = "The user's sockets keep replacing each other; wait for retryAfterMs."
            why = f"{REPLACEMENTS} sockets replaced one another within {SHORT_S:g} s of their start"
        elif drops_s:
            message = "The connection was ended soon after its start several times; wait for retryAfterMs."
            why = f"{DROPS} connections were ended soon after their start"
        else:
            message = None
            why = f"{self._users.count(user_id, now_s)} connects within a minute"
        name = "connects_per_minute_user"
        self._notes.loop(("user", user_id), now_s, name, why, user_id=user_id, address=guest.address)
        raise TooManyConnects(message, retry_after_ms=_ms(wait_s))

    def admit_anonymous(self, guest: Guest) -> None:
        """Let a client without a user connect once more.

        Raises: TooManyConnects.
        """
        now_s = self._clock.monotonic_s()
        if wait_s := self._drops.wait_s(guest.client, now_s):
            why = f"{DROPS} connections without a user were ended"
            self._notes.loop(("client", guest.client), now_s, "connects_per_minute_user", why, address=guest.address)
            message = "Connections without a user were ended several times; connect with a token."
            raise TooManyConnects(message, retry_after_ms=_ms(wait_s))

    def gone(self, connection: Connection, code: str) -> None:
        """A socket is gone.

        Args:
            code: of the End by which the server ended it, or anything else.
        """
        now_s = self._clock.monotonic_s()
        if code not in _FAULTS or not (code in _OWN_FAULTS or now_s - connection.since_s < SHORT_S):
            return
        if connection.identity is None:
            self._drops.add(connection.guest.client, now_s)
        elif code == REPLACED.code:
            self._replacements.add(connection.identity.user_id, now_s)
        else:
            self._drops.add(connection.identity.user_id, now_s)

    # Now and then

    def sweep(self, sessions: Iterable[Any]) -> int:
        """Forget what is over, and count the open sessions anew.

        Args:
            sessions: all that the engine has.

        Returns: how many counts were wrong. It is 0 unless there is a bug here or in the engine.
        """
        now_s = self._clock.monotonic_s()
        for windows in (self._connects, self._failed, self._users, self._drops, self._replacements, self._admin):
            windows.sweep(now_s)
        self._notes.sweep(now_s)
        guests = [self.guest(session.request) for session in sessions]
        addresses = Counter(guest.network for guest in guests)
        origins = Counter(guest.origin for guest in guests if guest.origin is not None)
        wrong = _differences(self._open_address, addresses) + _differences(self._open_origin, origins)
        self._open_address, self._open_origin = addresses, origins
        if wrong:
            log.warning("mended", why="open connections of addresses and origins were miscounted", count=wrong)
        return wrong

    def sizes(self) -> dict[str, int]:
        """How much is kept, per registry; all of it is bounded."""
        return {
            "connects": len(self._connects),
            "failed": len(self._failed),
            "users": len(self._users),
            "drops": len(self._drops),
            "replacements": len(self._replacements),
            "admin": len(self._admin),
            "open_addresses": len(self._open_address),
            "open_origins": len(self._open_origin),
            "notes": len(self._notes),
        }

    def _fail(self, guest: Guest) -> None:
        if not guest.failed:
            guest.failed = True
            self._failed.add(guest.network, self._clock.monotonic_s())

    def _full(self, guest: Guest, now_s: float, what: str, value: str, name: str, limit: int) -> web.Response:
        self._notes.loop((what, "full", value), now_s, name, f"{limit} connections are open", **{what: value})
        error = TooManyConnections(
            f"There are {limit} connections open from this {what} already.", retry_after_ms=_ms(FULL_RETRY_S)
        )
        return self._refusal(error, 429, f"Close some, or raise {variable(name)} on the server.")

    def _refusal(self, error: ChatError, status: int, help: str) -> web.Response:
        """A refused handshake: the body of a failed ack, with `help` for whoever looks at it."""
        self._on_refused(error.code)
        body = protocol.dump_failure(error)
        body["error"]["help"] = help
        headers = {}
        if error.retry_after_ms is not None:
            headers[hdrs.RETRY_AFTER] = str(-(-error.retry_after_ms // 1000))
        return web.json_response(body, status=status, headers=headers)


class _Notes:
    """Says in the log what goes on and on: at once when it begins, then once a minute with the number of times."""

    def __init__(self) -> None:
        # subject → (when it was written about, how often it happened since); oldest first
        self._subjects: OrderedDict[object, tuple[float, int]] = OrderedDict()
        self._lines = TokenBucket(LINES_PER_MINUTE / 60, LINES_PER_MINUTE, LINES_PER_MINUTE, 0.0)

    def __len__(self) -> int:
        return len(self._subjects)

    def loop(self, subject: object, now_s: float, name: str, why: str, **fields: str) -> None:
        """Connects are refused, because of a setting's limit."""
        self.say(subject, now_s, "connects_refused", why=why, **fields, setting=variable(name))

    def say(self, subject: object, now_s: float, event: str, **fields: str | None) -> None:
        written_s, count = self._subjects.get(subject, (-math.inf, 0))
        if now_s - written_s < SPAN_S:
            self._subjects[subject] = (written_s, count + 1)
            return
        if self._lines.take(now_s):
            return
        self._subjects[subject] = (now_s, 0)
        self._subjects.move_to_end(subject)
        if len(self._subjects) > MAX_SUBJECTS:
            self._subjects.popitem(last=False)
        log.warning(event, **fields, repeats=count or None)

    def sweep(self, now_s: float) -> None:
        # A second span, so that a loop that still goes on is written about with its count.
        while self._subjects and next(iter(self._subjects.values()))[0] < now_s - 2 * SPAN_S:
            self._subjects.popitem(last=False)


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _decrease(counts: Counter[str], key: str) -> None:
    if counts[key] > 1:
        counts[key] -= 1
    else:
        del counts[key]


def _differences(ours: Counter[str], true: Counter[str]) -> int:
    return sum(ours[key] != true[key] for key in ours.keys() | true.keys())
