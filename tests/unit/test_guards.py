"""socketserver.door.connects: who may connect, with a clock that stands still until it is moved."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from dataclasses import dataclass
from socketserver.chat.domain import UserId
from socketserver.chat.identity import Identity
from socketserver.door.connects import Guards
from socketserver.door.loops import DROPS, HOLD_S, REPLACEMENTS, SHORT_S
from socketserver.door.origins import Origins
from socketserver.door.proxies import Proxies
from socketserver.door.visits import Guest
from socketserver.errors import (
    AUTH_TIMEOUT,
    CROWDED_OUT,
    ENDS,
    KICKED,
    REPLACED,
    RESTART,
    SLOW_CONSUMER,
    TOO_LARGE,
    ChatError,
    InternalError,
    InvalidToken,
    StoreUnavailable,
    TooManyConnects,
)
from socketserver.settings import Settings
from typing import Any
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

PAGE = "http://localhost:3000"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic_s(self) -> float:
        return self.seconds


@dataclass(eq=False)
class Session:
    """What the guards look at of an engine's session."""

    request: web.Request
    kept_bytes: int = 1_000
    gone: bool = False


@functools.lru_cache
def _request(address: str, origin: str | None, program: str, cookie: str | None) -> web.Request:
    """A handshake, to be copied: that is a hundred times quicker than to mock another one."""
    headers = {"Host": "localhost:3001", "User-Agent": program, "Origin": origin, "Cookie": cookie}
    transport = mock.Mock()
    transport.get_extra_info = lambda name, default=None: (address, 4711) if name == "peername" else default
    shown = CIMultiDict({name: value for name, value in headers.items() if value is not None})
    return make_mocked_request("GET", "/socket.io/", headers=shown, transport=transport)


class Door:
    """Guards, a clock, and those who knock."""

    def __init__(self, **options: Any) -> None:
        settings = Settings(**options)
        self.clock = Clock()
        self.login = False
        self.guards = Guards(
            settings,
            Proxies(settings.trusted_proxies),
            Origins(settings),
            self.clock,
            on_crowded=self.crowd_out,
            proves=self.proves,
        )

    def crowd_out(self, session: Session) -> None:
        session.gone = True
        self.guards.closed(session, "crowded_out")

    async def proves(self, request: web.Request) -> bool:
        return self.login

    def request(
        self, address: str = "192.0.2.1", origin: str | None = None, program: str = "x", cookie: str | None = None
    ) -> web.Request:
        return _request(address, origin, program, cookie).clone()

    def knock(self, address: str = "192.0.2.1", origin: str | None = None) -> Session | web.Response:
        """A handshake: the session that it begins, or its refusal."""
        request = self.request(address, origin)
        refusal = self.guards.admit_handshake(request)
        if refusal is not None:
            assert isinstance(refusal, web.Response)
            return refusal
        session = Session(request)
        self.guards.opened(session)
        return session

    def open(self, address: str = "192.0.2.1", origin: str | None = None) -> Session:
        session = self.knock(address, origin)
        assert isinstance(session, Session)
        return session

    def user(self, address: str = "192.0.2.1", origin: str | None = None) -> Session:
        """A connection that has a user."""
        session = self.open(address, origin)
        self.guards.proved(self.guards.guest(session.request))
        return session

    def refused(self, address: str = "192.0.2.1", origin: str | None = None) -> dict[str, Any]:
        """The error of a handshake that has to be refused."""
        refusal = self.knock(address, origin)
        assert isinstance(refusal, web.Response)
        assert refusal.status == 429
        body = json.loads(refusal.text or "")
        assert body["ok"] is False
        error: dict[str, Any] = body["error"]
        assert error["retryable"] is True
        assert error["help"]
        assert int(refusal.headers["Retry-After"]) >= error["retryAfterMs"] / 1000
        return error

    def visit(self, user: str | None, *, lasts_s: float = 0.1, code: str = "transport close") -> None:
        """A user's connect, let in and then gone. Raises: TooManyConnects."""
        identity = None if user is None else Identity(UserId(user), user)
        with self.guards.visit("sid", self.request()) as visit:
            self.guards.admit(visit, identity)
        self.clock.seconds += lasts_s
        if (end := ENDS.get(code)) is not None:
            self.guards.loops.ended(visit.guest, None if user is None else UserId(user), end, lasted_s=lasts_s)

    def token(self, token: str, guest: Guest | None = None, *, good: bool = False) -> None:
        """Somebody shows a token. Raises: TooManyConnects where it is not looked at."""
        with contextlib.suppress(InvalidToken), self.guards.token(guest or self.guest(), token):
            if not good:
                raise InvalidToken

    def guest(self) -> Guest:
        return self.guards.guest(self.request())


def test_connects_of_an_address() -> None:
    """So many a minute, not one more; others are not concerned, and after the time it said there is room again."""
    door = Door(connects_per_minute_address=5)
    for _ in range(5):
        door.open()
    error = door.refused()
    assert error["code"] == "too_many_connects"
    door.open("192.0.2.2")
    door.clock.seconds += error["retryAfterMs"] / 1000
    door.open()


def test_short_connects_of_a_client() -> None:
    """Connections without a user that ended within 5 s of their start are failed ones; those that lasted are not."""
    door = Door(failed_connects_per_minute_address=3)
    lasting = [door.open() for _ in range(10)]
    door.clock.seconds += SHORT_S
    for session in lasting:
        door.guards.closed(session, "transport close")
    for _ in range(3):
        door.guards.loops.admit_anonymous(door.guest())
        session = door.open()
        door.clock.seconds += SHORT_S - 0.1
        door.guards.closed(session, "transport close")
    with pytest.raises(TooManyConnects):
        door.guards.loops.admit_anonymous(door.guest())
    door.guards.loops.admit_anonymous(door.guards.guest(door.request(address="192.0.2.2")))
    door.guards.loops.admit_anonymous(door.guards.guest(door.request(program="another")))
    door.guards.loops.admit_anonymous(door.guards.guest(door.request(origin=PAGE)))
    door.user()


def test_connections_of_users_that_are_short_do_not_fail() -> None:
    """How often a user may come is the user's own affair: a bad network costs the office nothing."""
    door = Door(failed_connects_per_minute_address=3)
    for _ in range(10):
        door.guards.closed(door.user(), "transport close")
    door.guards.loops.admit_anonymous(door.guest())


def test_a_refused_connect_that_is_short_too_counts_once() -> None:
    """A bad token is one failure, not two."""
    door = Door(failed_connects_per_minute_address=2)
    for _ in range(2):
        door.guards.loops.admit_unproven(door.guest())
        session = door.open()
        door.guards.loops.failed(door.guards.guest(session.request))
        door.guards.closed(session, "client disconnect")
    with pytest.raises(TooManyConnects):
        door.guards.loops.admit_unproven(door.guest())


@pytest.mark.parametrize(
    ("raised", "told", "counts"),
    [
        (None, None, True),  # let in, and gone at once
        (InvalidToken(), InvalidToken, True),
        (TooManyConnects(), TooManyConnects, True),
        (StoreUnavailable(), StoreUnavailable, False),
        (ValueError("a bug"), InternalError, False),
    ],
)
def test_a_visit_counts_once_at_its_end(
    raised: Exception | None, told: type[Exception] | None, counts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Let in, refused, or a fault of ours, which is none of the client's however soon the session ends."""
    door = Door(failed_connects_per_minute_address=1)
    session = door.open()
    with contextlib.nullcontext() if told is None else pytest.raises(told), door.guards.visit("sid", session.request):
        assert list(door.guards.visits) == ["sid"]
        if raised is not None:
            raise raised
    assert not door.guards.visits
    door.guards.closed(session, "transport close")
    assert door.guards.sizes()["failed"] == counts
    assert ("connect_failed" in caplog.text) == (told is InternalError)
    with pytest.raises(TooManyConnects) if counts else contextlib.nullcontext():
        door.guards.loops.admit_unproven(door.guest())


def test_who_is_told_too_often_that_its_token_is_bad_is_told_something_else() -> None:
    """The last answer to a loop of bad tokens says that it is one, and after how long to come back."""
    door = Door(failed_connects_per_minute_address=2)
    told = []
    for _ in range(3):
        with pytest.raises(ChatError) as refused, door.guards.visit("sid", door.request()):
            raise InvalidToken
        told.append(refused.value.code)
    assert told == ["invalid_token", "invalid_token", "too_many_connects"]
    assert refused.value.retry_after_ms


def test_refusals_are_late_for_who_comes_back_regardless() -> None:
    """As many as may fail, and two that say it is enough, are answered at once."""
    door = Door(failed_connects_per_minute_address=3)
    waits = [door.guards.loops.hold_s(door.guest()) for _ in range(7)]
    assert waits == [0.0] * 5 + [HOLD_S] * 2
    assert Door(failed_connects_per_minute_address=0).guards.loops.hold_s(door.guest()) == 0


def test_open_connections_of_an_address() -> None:
    """So many users at a time; when one goes, there is room for one."""
    door = Door(max_connections_address=3)
    sessions = [door.user() for _ in range(3)]
    assert door.refused()["code"] == "too_many_connections"
    door.open("192.0.2.2")
    door.guards.closed(sessions[0], "transport close")
    door.user()
    door.refused()


def test_open_connections_of_an_origin() -> None:
    """So many users of the pages of one origin, over all addresses; programs without an Origin are not counted."""
    door = Door(max_connections_origin=2)
    door.user("192.0.2.1", PAGE)
    door.user("192.0.2.2", PAGE)
    error = door.refused("192.0.2.3", PAGE)
    assert error["code"] == "too_many_connections"
    door.open("192.0.2.3", "http://localhost:3001")
    for _ in range(5):
        door.user("192.0.2.3")


def test_strangers_fill_neither_an_address_nor_an_origin() -> None:
    """Ten addresses with 500 handshakes each and the application's Origin, forged, got real visitors refused."""
    door = Door()
    users = [door.user(f"192.0.2.{number}", PAGE) for number in range(1, 11)]
    strangers = [door.open(f"192.0.2.{number}", PAGE) for number in range(1, 11) for _ in range(500)]
    assert sum(not session.gone for session in strangers) == 2_000
    newcomers = [door.open(f"192.0.2.{number}", PAGE) for number in range(1, 21)]
    assert not any(session.gone for session in users + newcomers)
    for session in newcomers:
        door.guards.proved(door.guards.guest(session.request))
    assert door.guards.sweep([*users, *newcomers, *(session for session in strangers if not session.gone)]) == 0
    assert door.guards.crowded_out == 5_000 - 2_000 + 20


@pytest.mark.parametrize("count", [600, 601])
async def test_the_handshakes_of_an_address_of_which_no_user_comes(count: int) -> None:
    """600 are let in and one more is not, but for who has a good login, or a browser that has proved itself lately."""
    door = Door()
    for _ in range(1_000):
        door.guards.closed(door.user(), "transport close")  # users are not counted
    for _ in range(count):
        refusal = door.guards.admit_handshake(door.request(program="flood"))
        assert refusal is None or (isinstance(refusal, web.Response) and count == 601)
    request = door.request(program="flood", cookie="socketserver_session=x")
    answer = door.guards.admit_handshake(request)
    assert answer is not None
    assert not isinstance(answer, web.Response)
    refusal = await answer
    assert refusal is not None
    assert refusal.status == 429
    door.login = True
    answer = door.guards.admit_handshake(door.request(program="flood", cookie="socketserver_session=y"))
    assert answer is not None
    assert not isinstance(answer, web.Response)
    assert await answer is None
    door.user()


@pytest.mark.thorough
def test_an_office_with_broken_pages() -> None:
    """One broken page locked out its whole address: 200 users, three broken pages, an hour: none is refused."""
    door = Door()

    def come() -> tuple[Session, Guest]:
        session = door.open(origin=PAGE)
        return session, door.guards.guest(session.request)

    told: list[int] = []
    for minute in range(60):
        for second in range(60):
            door.clock.seconds += 1
            for user in range(second, 200, 60):  # each comes once a minute, some of them without a lasting connection
                session, guest = come()
                door.token(f"good {user} {minute}", guest, good=True)
                door.guards.loops.admit_user(UserId(f"user {user}"), guest)
                door.guards.proved(guest)
                door.guards.closed(session, "transport close")
            tries = 0
            for page in range(3):
                held = False
                while not held:  # connect() in every listener, as fast as it is answered
                    session, guest = come()
                    door.token(f"bad {page}", guest)
                    tries += 1
                    with contextlib.suppress(TooManyConnects):
                        door.guards.loops.admit_unproven(guest)
                    door.guards.loops.failed(guest)
                    held = bool(door.guards.loops.hold_s(guest))
                    door.guards.closed(session, "client disconnect")
            told.append(tries)
            door.clock.seconds += HOLD_S - 1 if second % 10 == 9 else 0
    assert max(told) <= 40


def test_idle_login_pages_keep_nobody_out() -> None:
    """Three login pages that were left open kept others with the same browser from connecting without a token."""
    door = Door()
    for _ in range(20):
        door.visit(None, lasts_s=10, code=AUTH_TIMEOUT.code)
        door.clock.seconds += 3  # nobody came back at once
    door.visit(None)


def test_tokens_that_were_good_need_no_budget() -> None:
    """Somebody who tries tokens does not lock out those whose token was good lately; others get in a while later."""
    door = Door(bad_tokens_per_second_address=1)
    door.token("good", good=True)
    for number in range(60):
        door.token(f"bad {number}")
    with pytest.raises(TooManyConnects) as refused:
        door.token("new")
    door.token("good", good=True)
    door.token("new", door.guards.guest(door.request(address="192.0.2.2")))
    assert refused.value.retry_after_ms is not None
    door.clock.seconds += refused.value.retry_after_ms / 1000
    door.token("new")


def test_connects_of_a_user() -> None:
    """So many a minute; the refusal says after what time, and it is true."""
    door = Door(connects_per_minute_user=4)
    for _ in range(4):
        door.visit("ann")
    with pytest.raises(TooManyConnects) as refused:
        door.visit("ann")
    door.visit("bob")
    assert refused.value.retry_after_ms is not None
    door.clock.seconds += refused.value.retry_after_ms / 1000
    door.visit("ann")


def test_a_user_whom_the_server_drops_each_time() -> None:
    """The connect after the third drop is refused."""
    door = Door()
    for _ in range(DROPS):
        door.visit("ann", code=SLOW_CONSUMER.code)
    with pytest.raises(TooManyConnects):
        door.visit("ann")
    door.visit("bob")
    door.clock.seconds += 66
    door.visit("ann")


@pytest.mark.parametrize(
    "code",
    sorted(set(ENDS) - {REPLACED.code, RESTART.code, KICKED.code, AUTH_TIMEOUT.code, CROWDED_OUT.code, TOO_LARGE.code}),
)
def test_every_end_by_the_server_counts_if_it_comes_soon(code: str) -> None:
    """Whatever the reason, a connection that never lasts is a loop."""
    door = Door()
    for _ in range(DROPS):
        door.visit("ann", code=code)
    with pytest.raises(TooManyConnects):
        door.visit("ann")


def test_what_is_too_large_is_sent_again_before_it_is_given_up() -> None:
    """The stock client's `retries` were taken for a loop, and what stood behind the large message was lost with it."""
    door = Door()
    for _ in range(2 * DROPS):
        door.visit("ann", code=TOO_LARGE.code)
    door.visit("ann")


def test_a_drop_after_a_while_is_no_loop() -> None:
    """A token that ran out, a client that was slow once in a while: that is life."""
    door = Door()
    for _ in range(10):
        door.visit("ann", lasts_s=SHORT_S, code="token_expired")


def test_tabs_that_replace_each_other() -> None:
    """As many replacements in a row as a reloading page can need are borne, not more."""
    door = Door()
    for _ in range(REPLACEMENTS):
        door.visit("ann", code=REPLACED.code)
    with pytest.raises(TooManyConnects, match="replacing each other"):
        door.visit("ann")


def test_sockets_without_a_user_that_are_ended_each_time() -> None:
    """The same program and page from the same address is refused for a while; another one is not."""
    door = Door()
    for _ in range(DROPS):
        door.visit(None, lasts_s=10, code=AUTH_TIMEOUT.code)
    with pytest.raises(TooManyConnects):
        door.visit(None)
    door.visit("ann")
    door.guards.loops.admit_anonymous(door.guards.guest(door.request(program="another")))


@pytest.mark.parametrize(
    "visits",
    [
        pytest.param([("client disconnect", 0.05), ("transport close", 3600)], id="StrictMode connects twice"),
        pytest.param([("transport close", 0.8)] * 5 + [("transport close", 3600)], id="five reloads in a row"),
        pytest.param([(REPLACED.code, 0.8)] * 5 + [("transport close", 3600)], id="five reloads over polling"),
        pytest.param([("ping timeout", 4 * 3600), ("transport close", 3600)], id="a laptop wakes up"),
        pytest.param([(RESTART.code, 0.5)] * 10, id="deploys"),
        pytest.param([(KICKED.code, 0.5)] * 10, id="an administrator"),
    ],
)
def test_no_loops(visits: list[tuple[str, float]]) -> None:
    """What people do is let in."""
    door = Door()
    for code, lasts_s in visits:
        session = door.open(origin=PAGE)
        door.visit("ann", lasts_s=lasts_s, code=code)
        door.guards.closed(session, code)


def test_zero_is_no_limit() -> None:
    """Every limit can be lifted, for benchmarks from one address."""
    door = Door(
        connects_per_minute_user=0,
        failed_connects_per_minute_address=0,
        connects_per_minute_address=0,
        max_connections_address=0,
        max_connections_origin=0,
    )
    for number in range(100):
        session = door.open(origin=PAGE)
        if number % 2:
            door.guards.closed(session, "transport close")
        door.visit("ann", code=SLOW_CONSUMER.code, lasts_s=0.001)
        door.visit("ann", code=REPLACED.code, lasts_s=0.001)
        door.visit(None, code=AUTH_TIMEOUT.code, lasts_s=0.001)
    assert door.guards.sizes()["users"] == 0


def test_one_line_per_loop(caplog: pytest.LogCaptureFixture) -> None:
    """A loop is written about when it is seen, with the count that made it one, and again only after a minute."""
    door = Door(connects_per_minute_address=5)
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            door.open()
        for _ in range(100):
            door.refused()
        (first,) = [record.getMessage() for record in caplog.records]
        assert "address=192.0.2.1" in first
        assert "5 connects within a minute" in first
        assert "WEBSOCKET_CONNECTS_PER_MINUTE_ADDRESS" in first
        door.clock.seconds += 59
        door.refused()
        assert len(caplog.records) == 1
        door.clock.seconds += 7
        for _ in range(6):
            door.knock()
    assert len(caplog.records) == 2
    assert "repeats=100" in caplog.records[1].getMessage()


def test_a_flood_from_everywhere_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Lines about loops are bounded, and so is what is remembered of them."""
    door = Door(max_connections_address=1)
    with caplog.at_level(logging.DEBUG):
        for number in range(200):
            address = f"198.51.{number // 250}.{number % 250}"
            door.user(address)
            door.refused(address)
        assert len(caplog.records) <= 60
        assert door.guards.sizes()["notes"] <= 60
        assert door.guards.dropped_lines == {"connects_refused": 140}
        door.clock.seconds += 1
        door.user("198.51.100.1")
        door.refused("198.51.100.1")
    assert "dropped=140" in caplog.records[-1].getMessage()


def test_made_up_origins_silence_no_other_line(caplog: pytest.LogCaptureFixture) -> None:
    """After 125 of them neither admin_refused nor connects_refused was written any more."""
    door = Door(connects_per_minute_address=1)
    with caplog.at_level(logging.DEBUG):
        for number in range(300):
            door.guards.wrong_origin(door.request(origin=f"https://{number}.example"))
        assert len(caplog.records) == 60
        door.guards.admin_tries.refused(door.guest())
        door.open()
        door.refused()
    assert [record.getMessage().split()[0] for record in caplog.records[60:]] == ["admin_refused", "connects_refused"]
    assert door.guards.dropped_lines == {"origin_refused": 240}


def test_wrong_origin(caplog: pytest.LogCaptureFixture) -> None:
    """The refusal names the origin and the setting, and so does the log, once; what else stands there is harmless."""
    door = Door()
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            response = door.guards.wrong_origin(door.request(origin="https://evil.example"))
    assert response.status == 403
    error = json.loads(response.text or "")["error"]
    assert error["code"] == "origin_not_allowed"
    assert error["retryable"] is False
    assert '"https://evil.example"' in error["message"]
    assert "WEBSOCKET_ALLOWED_ORIGINS" in error["message"]
    (record,) = caplog.records
    assert "https://evil.example" in record.getMessage()
    odd = json.loads(door.guards.wrong_origin(door.request(origin="x\x1b[31m" + "y" * 9_000)).text or "")
    assert len(odd["error"]["message"]) < 400
    assert "\x1b" not in odd["error"]["message"]
    null = json.loads(door.guards.wrong_origin(door.request(origin="null")).text or "")
    assert "null" in null["error"]["message"]


def test_the_sweep_counts_anew_and_forgets(caplog: pytest.LogCaptureFixture) -> None:
    """Counts of open connections that are wrong are mended and reported; windows that are over are dropped."""
    door = Door()
    sessions = [door.user(origin=PAGE) for _ in range(3)]
    waiting = [door.open(origin=PAGE) for _ in range(3)]
    assert door.guards.sweep(sessions + waiting) == 0
    assert door.guards.sweep(sessions[:1]) == 2 + 3  # an address and an origin, and three who wait
    assert "mended" in caplog.text
    assert door.guards.sweep(sessions[:1]) == 0
    door.visit("ann")
    door.guards.closed(sessions[0], "transport close")
    door.clock.seconds += 600
    door.guards.sweep([])
    assert len(list(door.guards.forget())) > 1, "others have turns in between"
    assert set(door.guards.sizes().values()) == {0}
