"""Who may connect: how often, and how many at a time; and what ends a loop of connects.

Bookkeeping only. `admit_handshake` is asked before a connection costs anything, by its address; `admit` once it is
known who wants to connect. A connect is one `Visit`, which counts once, at its end: let in, refused, or a fault of
ours. Knows no rooms and no events, starts no task and no timer; `sweep` is called now and then.

Whoever has proved who it is never loses its place, or its turn, to those who have not:
docs/decisions/0015-who-pays-at-the-door.md. So over HTTP only those are refused whose address makes far more handshakes
than an office needs of which no user comes, or has too many users. Loops are ended where the token is known (loops.py),
with a Socket.IO CONNECT_ERROR, at which the stock client does not try again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import hdrs, web

from ..chat.domain import Clock
from ..chat.identity import Identity
from ..errors import (
    TOO_LARGE,
    AuthUnavailable,
    ChatError,
    Draining,
    InternalError,
    InvalidToken,
    TooManyConnections,
    TooManyConnects,
)
from ..limits import Windows, in_ms
from ..logs import get_logger
from ..settings import Settings, variable
from ..values.web_names import origin_form
from ..wire.answers import error_response
from .admin_tries import AdminTries
from .lobby import Lobby
from .loops import SHORT_S, Loops
from .notes import SPAN_S, Notes
from .origins import Origins
from .proxies import Proxies, network_of
from .token_checks import TokenChecks, digest_of
from .visits import Guest, Visit

log = get_logger(__name__)

# Maximum number of clients that are remembered because a user has come of them lately.
MAX_KNOWN: Final = 20_000
# Advice, in seconds, to a client that finds too many connections open; nobody knows when one of them will end.
FULL_RETRY_S: Final = 10.0
# Advice, in seconds, to a client that comes while the server stops.
DRAINING_RETRY_S: Final = 2.0
MAX_SHOWN_CHARS: Final = 200
# Longer than an origin that could be allowed.
MAX_ORIGIN_CHARS: Final = 300

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

Answer = web.Response | None


class Guards:
    """The limits on connecting.

    Implements realtime's `allow_request` (`admit_handshake`), `forbidden` (`wrong_origin`) and `Observer` (`opened`,
    `closed`, `rejected`).

    Args:
        on_refused: told of every request to connect that was answered with an error, by its code.
        on_crowded: ends a session without a user whose place is needed; must not call back here before it returns,
            except for `closed`.
        proves: whether a request carries a login that is good.

    Attributes:
        loops: ends loops of connects.
        admin_tries: the wrong admin tokens.
        draining: whether nobody is let in any more, because the server stops.
        visits: the connects that are neither let in nor refused so far, by their sid.
        crowded_out: how many sessions without a user had to go so that others had room.
    """

    def __init__(
        self,
        settings: Settings,
        proxies: Proxies,
        origins: Origins,
        clock: Clock,
        *,
        on_refused: Callable[[str], None] = lambda code: None,
        on_crowded: Callable[[Any], None] = lambda session: None,
        proves: Callable[[web.Request], Awaitable[bool]] | None = None,
    ) -> None:
        self._on_refused = on_refused
        self._on_crowded = on_crowded
        self._proves = proves
        self._proxies = proxies
        self._origins = origins
        self._clock = clock
        self._max_address = settings.max_connections_address
        self._max_origin = settings.max_connections_origin
        self._connects: Windows[str] = Windows(settings.connects_per_minute_address, SPAN_S)
        self._known_connects: Windows[bytes] = Windows(settings.connects_per_minute_address, SPAN_S)
        self._tokens = TokenChecks(settings.bad_tokens_per_second_address)
        self._lobby = Lobby(settings.max_unproven_address, settings.max_unproven, settings.max_unproven_bytes)
        self._open_address: Counter[str] = Counter()
        self._open_origin: Counter[str] = Counter()
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._notes = Notes(__name__, settings.log_refusals_per_minute)
        self.loops: Final = Loops(settings, clock, self._notes)
        self.admin_tries: Final = AdminTries(settings, clock, self._notes)
        self.draining = False
        self.visits: Final[dict[str, Visit]] = {}
        self.crowded_out = 0

    # Before a session exists

    def check(self) -> None:
        """Raises: Draining once the server stops."""
        if self.draining:
            raise Draining(retry_after_ms=in_ms(DRAINING_RETRY_S))

    def admit_handshake(self, request: web.Request) -> Answer | Awaitable[Answer]:
        """None to let a handshake go on, else its refusal; to be awaited where it takes a look at a login."""
        try:
            self.check()
        except Draining as error:
            return self._refusal(error, "Nothing is wrong: a new server takes this one's place.")
        guest = self.guest(request)
        now_s = self._clock.monotonic_s()
        if 0 < self._max_address <= self._open_address[guest.network]:
            return self._full(guest, now_s, "address", guest.address, "max_connections_address", self._max_address)
        if guest.origin is not None and 0 < self._max_origin <= self._open_origin[guest.origin]:
            return self._full(guest, now_s, "origin", guest.origin, "max_connections_origin", self._max_origin)
        wait_s = self._connects.take(guest.network, now_s)
        guest.counted = not wait_s
        if not wait_s or (guest.client in self._known and not self._known_connects.take(guest.client, now_s)):
            return None
        if self._proves is not None and (hdrs.COOKIE in request.headers or hdrs.AUTHORIZATION in request.headers):
            return self._admit_proven(request, guest, wait_s, self._proves)
        return self._too_many(guest, wait_s)

    async def _admit_proven(
        self, request: web.Request, guest: Guest, wait_s: float, proves: Callable[[web.Request], Awaitable[bool]]
    ) -> Answer:
        # The headers may be long; what they are known by is as short as a token.
        shown = request.headers.get(hdrs.AUTHORIZATION, "") + request.headers.get(hdrs.COOKIE, "")
        try:
            with self.token(guest, shown):
                if not await proves(request):
                    raise InvalidToken
        except ChatError:
            return self._too_many(guest, wait_s)
        return None

    def guest(self, request: web.BaseRequest) -> Guest:
        """Who sends this request; for all requests the same answer, and the same object for the same request."""
        guest = request.get(GUEST)
        if guest is None:
            address = self._proxies.address(request)
            program = request.headers.get(hdrs.USER_AGENT, "")[:MAX_SHOWN_CHARS]
            origin = request.headers.get(hdrs.ORIGIN)
            origin = None if origin is None else origin_form(origin) or origin[:MAX_ORIGIN_CHARS]
            guest = request[GUEST] = Guest(address, network_of(address), origin, program)
        return guest

    def wrong_origin(self, request: web.Request) -> web.Response:
        """The answer to a page that may not connect. It is said in the log, once a minute per origin."""
        error = self._origins.refusal(request)
        guest = self.guest(request)
        self._notes.say(
            guest.origin,
            self._clock.monotonic_s(),
            "origin_refused",
            origin=guest.origin,
            address=guest.address,
            setting=variable("allowed_origins"),
        )
        return self._refusal(error, f"List the page's origin in {variable('allowed_origins')}.")

    def rejected(self, code: int) -> None:
        """A request was answered with an error of Engine.IO's."""
        self._on_refused(_ENGINE_CODES[code])

    # While a session exists

    def opened(self, session: Any) -> None:
        """A session has begun. Where there are too many without a user, the oldest of them end."""
        guest = self.guest(session.request)
        guest.opened_s = self._clock.monotonic_s()
        for other in self._lobby.enter(guest, session, session.kept_bytes):
            self.crowded_out += 1
            self.guest(other.request).settled = True  # by no fault of its own, however soon it ends
            self._on_crowded(other)

    def closed(self, session: Any, reason: str) -> None:
        """A session is over."""
        guest = self.guest(session.request)
        if guest.proven:
            _decrease(self._open_address, guest.network)
            if guest.origin is not None:
                _decrease(self._open_origin, guest.origin)
            return  # how often a user may come is the user's own affair
        self._lobby.leave(guest)
        if reason == TOO_LARGE.code:
            return
        if guest.opened_s is not None and self._clock.monotonic_s() - guest.opened_s < SHORT_S:
            self.loops.failed(guest)

    def proved(self, guest: Guest) -> None:
        """A session's client has proved who it is: from now on it is counted apart from those who have not."""
        if guest.proven:
            return
        guest.proven = True
        now_s = self._clock.monotonic_s()
        if guest.counted:
            self._connects.give_back(guest.network, now_s)
        if self._lobby.leave(guest) or guest.opened_s is not None:
            self._open_address[guest.network] += 1
            if guest.origin is not None:
                self._open_origin[guest.origin] += 1
        client = guest.client
        self._known[client] = None
        self._known.move_to_end(client)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    @contextmanager
    def visit(self, sid: str, request: web.Request) -> Iterator[Visit]:
        """A client connects. What comes of it counts once, at the end of the block: let in, refused, or a fault of
        ours, which does not count as failed however soon the session ends.

        Raises: ChatError, which the client is to be told, whatever the block has raised.
        """
        guest = self.guest(request)
        visit = self.visits[sid] = Visit(sid, guest, request, self._clock.monotonic_s())
        try:
            yield visit
        except ChatError as error:
            raise self._refused(guest, error) from None
        except Exception:
            log.exception("connect_failed", connection_id=sid)
            raise self._refused(guest, InternalError()) from None
        finally:
            del self.visits[sid]

    def admit(self, visit: Visit, identity: Identity | None) -> None:
        """Let a user, or a client without one, connect once more.

        Raises: TooManyConnects.
        """
        if identity is None:
            self.loops.admit_anonymous(visit.guest)
        else:
            self.loops.admit_user(identity.user_id, visit.guest)

    @contextmanager
    def token(self, guest: Guest, token: str) -> Iterator[None]:
        """Let a token be looked at in the block: one that was good lately always, others within the budget of their
        address. It is good unless the block raises, and costs nothing where that is a fault of ours.

        Raises: TooManyConnects.
        """
        now_s = self._clock.monotonic_s()
        digest = digest_of(token)
        if wait_s := self._tokens.wait_s(guest.network, digest, now_s):
            why = "the budget for bad tokens is used up"
            name = "bad_tokens_per_second_address"
            self._notes.loop(guest.network, now_s, name, why, address=guest.address)
            raise TooManyConnects("Too many bad tokens; wait for retryAfterMs.", retry_after_ms=in_ms(wait_s))
        try:
            yield
        except ChatError as error:
            if error.servers_fault:
                self._tokens.forgive(guest.network, self._clock.monotonic_s())
            raise
        self._tokens.good(guest.network, digest, self._clock.monotonic_s())

    def _refused(self, guest: Guest, error: ChatError) -> ChatError:
        """Count a connect that is refused. Returns: what its client is told."""
        if error.servers_fault:
            guest.settled = True
            return error
        if isinstance(error, InvalidToken | AuthUnavailable):
            try:
                self.loops.admit_unproven(guest)
            except TooManyConnects as too_many:
                error = too_many
        self.loops.failed(guest)
        return error

    def trusts_peer(self, request: web.BaseRequest) -> bool:
        """Whether the other end of the connection is a trusted proxy."""
        return self._proxies.trusts_peer(request)

    # Now and then

    def forget(self) -> Iterator[None]:
        """Forget what is over, one registry at each step: a full one takes some 30 ms of the event loop."""
        for registry in (self._connects, self._known_connects, self.admin_tries, self._tokens, self._notes, self.loops):
            registry.sweep(self._clock.monotonic_s())
            yield

    def sweep(self, sessions: Iterable[Any]) -> int:
        """Count the open sessions anew.

        Args:
            sessions: all that the engine has.

        Returns: how many counts were wrong. It is 0 unless there is a bug here or in the engine.
        """
        guests = [self.guest(session.request) for session in sessions]
        proven = [guest for guest in guests if guest.proven]
        addresses = Counter(guest.network for guest in proven)
        origins = Counter(guest.origin for guest in proven if guest.origin is not None)
        wrong = _differences(self._open_address, addresses) + _differences(self._open_origin, origins)
        self._open_address, self._open_origin = addresses, origins
        wrong += self._lobby.keep_only(guest for guest in guests if not guest.proven)
        if wrong:
            log.warning("mended", why="open connections of addresses and origins were miscounted", count=wrong)
        return wrong

    def sizes(self) -> dict[str, int]:
        """How much is kept, per registry; all of it is bounded."""
        return {
            "connects": len(self._connects) + len(self._known_connects),
            **self.loops.sizes(),
            "admin": len(self.admin_tries),
            "bad_tokens": len(self._tokens),
            "unproven": len(self._lobby),
            "open_addresses": len(self._open_address),
            "open_origins": len(self._open_origin),
            "notes": len(self._notes),
        }

    @property
    def unproven_bytes(self) -> int:
        """What is kept of the handshakes of sessions without a user."""
        return self._lobby.bytes

    @property
    def dropped_lines(self) -> Mapping[str, int]:
        """How many lines the log's budget left out, by their event."""
        return self._notes.dropped

    def _too_many(self, guest: Guest, wait_s: float) -> web.Response:
        now_s = self._clock.monotonic_s()
        why = f"{self._connects.count(guest.network, now_s)} connects within a minute of which no user came"
        self._notes.loop(guest.network, now_s, "connects_per_minute_address", why, address=guest.address)
        return self._refusal(TooManyConnects(retry_after_ms=in_ms(wait_s)), _HELP)

    def _full(self, guest: Guest, now_s: float, what: str, value: str, name: str, limit: int) -> web.Response:
        self._notes.loop(value, now_s, name, f"{limit} connections are open", **{what: value})
        error = TooManyConnections(
            f"There are {limit} connections open from this {what} already.", retry_after_ms=in_ms(FULL_RETRY_S)
        )
        return self._refusal(error, f"Close some, or raise {variable(name)} on the server.")

    def _refusal(self, error: ChatError, help: str) -> web.Response:
        """A refused handshake: the body of a failed ack, with `help` for whoever looks at it."""
        self._on_refused(error.code)
        return error_response(error, help=help)


def _decrease(counts: Counter[str], key: str) -> None:
    if counts[key] > 1:
        counts[key] -= 1
    else:
        del counts[key]


def _differences(ours: Counter[str], true: Counter[str]) -> int:
    return sum(ours[key] != true[key] for key in ours.keys() | true.keys())
