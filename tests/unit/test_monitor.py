"""socketserver.ops.history"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from socketserver.chat.domain import UserId
from socketserver.chat.identity import Identity
from socketserver.door.visits import Guest
from socketserver.errors import KICKED
from socketserver.live.connections import Connection, Sessions
from socketserver.ops.figures import Distribution, Reading, Snapshot
from socketserver.ops.history import MAX_ROWS, POINTS, STEP_S, History, Listing, Sort, find, list_sockets, record
from socketserver.ops.metrics import Metrics
from socketserver.realtime import ClientInfo

import pytest
from support.clock import START_MS, FakeClock

EMPTY = Metrics(FakeClock()).snapshot()


def observed(*seconds: float) -> Distribution:
    """What a histogram says after these observations."""
    bounds = EMPTY.ack.bounds
    return Distribution(bounds, tuple(sum(each <= bound for each in seconds) for bound in bounds), sum(seconds))


def snapshot(at_s: float, **values: object) -> Snapshot:
    return replace(EMPTY, at_s=at_s, **values)  # type: ignore[arg-type]


# The history


def test_a_point_tells_what_happened_since_the_one_before() -> None:
    """Totals become differences, gauges stay what they are, times are those of the step."""
    history = History()
    history.add(snapshot(100, authentications=7, messages=50, ends={"replaced": 3, "restart": 1}), START_MS)
    history.add(
        snapshot(
            105,
            reading=Reading(users=4, sockets={"websocket": 4, "polling": 1}, outbox_bytes=99),
            authentications=10,
            reconnects=2,
            messages=60,
            ends={"replaced": 5, "restart": 1, "kicked": 1},
            memory_bytes=1 << 20,
        ),
        START_MS + 5_000,
    )
    first, second = history.since(0)
    assert (first.number, first.at_ms, first.span_s, first.connects, first.messages) == (1, START_MS, 0, 0, 0)
    assert first.ends == {}, "what was before the first point is not known to have happened in it"
    assert (second.number, second.at_ms, second.span_s) == (2, START_MS + 5_000, 5)
    assert (second.users, second.sockets, second.outbox_bytes, second.memory_bytes) == (4, 5, 99, 1 << 20)
    assert (second.connects, second.reconnects, second.messages) == (3, 2, 10)
    assert second.ends == {"replaced": 2, "kicked": 1}


def test_the_latency_of_a_step_is_of_its_own_messages() -> None:
    """An earlier slow message does not colour a later step; a step without messages has no latency."""
    history = History()
    slow, both = (2.0,) * 10, (2.0,) * 10 + (0.002,) * 20
    for at_s, ack in enumerate([(), slow, both, both]):
        history.add(snapshot(at_s, ack=observed(*ack), fanout=observed(*ack[:1])), START_MS)
    _, slow_step, quick_step, quiet_step = history.since(0)
    assert slow_step.ack_p50_s is not None
    assert 1 < slow_step.ack_p50_s <= 2.5
    assert quick_step.ack_p95_s is not None
    assert quick_step.ack_p95_s <= 0.0025
    assert quick_step.fanout_p95_s is None
    assert (quiet_step.ack_p50_s, quiet_step.ack_p95_s) == (None, None)


def test_the_history_is_the_last_hour() -> None:
    """However long the server runs, there are POINTS points, and their numbers go on."""
    history = History()
    for number in range(POINTS + 30):
        history.add(snapshot(number * STEP_S), START_MS + number * 5_000)
    points = history.since(0)
    assert len(points) == len(history) == POINTS
    assert (points[0].number, points[-1].number, history.newest) == (31, POINTS + 30, POINTS + 30)
    assert points[-1].at_ms - points[0].at_ms == (POINTS - 1) * STEP_S * 1000


@pytest.mark.parametrize(
    ("number", "numbers"),
    [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, []), (4, []), (1_000_000, [])],
)
def test_only_what_is_new(number: int, numbers: list[int]) -> None:
    """A page asks for what came after the point that it has."""
    history = History()
    for at_s in range(3):
        history.add(snapshot(at_s), START_MS)
    assert [point.number for point in history.since(number)] == numbers
    assert History().since(number) == []


async def test_a_point_that_cannot_be_taken_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the figures is in the log, and ends nothing."""
    history, broken = History(), asyncio.Event()

    def fail() -> Snapshot:
        broken.set()
        raise RuntimeError("broken")

    task = asyncio.create_task(record(history, fail, FakeClock()))
    await broken.wait()
    await asyncio.sleep(0)
    assert not task.done()
    assert "misses a point" in caplog.text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(history) == 0


# Who is connected


class Hall:
    """Sockets, and what the engine would know of them."""

    def __init__(self) -> None:
        self.sessions = Sessions(0)
        self.infos: dict[str, ClientInfo] = {}

    def enter(
        self,
        sid: str,
        user: str | None = None,
        *,
        name: str = "",
        since_s: float = 0,
        unread: int = 0,
        address: str = "",
    ) -> Connection:
        connection = self.sessions.add(sid, since_s, Guest(address or "192.0.2.1", "", None, ""))
        if user is not None:
            self.sessions.authenticate(connection, Identity(UserId(user), name or user))
        self.infos[sid] = ClientInfo(sid, "/", "websocket", None, 0, unread, 2)
        return connection

    async def list(
        self, search: str = "", sort: Sort = "user", *, descending: bool = False, limit: int = MAX_ROWS
    ) -> Listing:
        return await list_sockets(
            self.sessions, self.infos.get, 1000, search=search, sort=sort, descending=descending, limit=limit
        )


def sids(listing: Listing) -> list[str]:
    return [row.connection.sid for row in listing.rows]


async def test_the_list_is_sorted() -> None:
    """By user in whatever case, by age, by what is unread; both ways."""
    hall = Hall()
    hall.enter("a", "Zoe", since_s=10, unread=5)
    hall.enter("b", "anna", since_s=30, unread=700)
    hall.enter("c", None, since_s=20, unread=0)
    assert sids(await hall.list()) == ["b", "a", "c"]
    assert sids(await hall.list(descending=True)) == ["c", "a", "b"]
    assert sids(await hall.list(sort="age")) == ["b", "c", "a"]
    assert sids(await hall.list(sort="age", descending=True)) == ["a", "c", "b"]
    assert sids(await hall.list(sort="unread", descending=True)) == ["b", "a", "c"]
    (row, *_) = (await hall.list()).rows
    assert (row.age_s, row.info.unsent_bytes, row.user_sockets) == (970, 700, 1)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ANN", ["a"]),
        ("Ångström", ["b"]),
        ("2001:db8", ["c"]),
        ("sid-c", ["sid-c"]),
        ("sid-", []),
        ("SID-C", []),
        ("", None),
    ],
)
async def test_the_list_is_searched(search: str, found: list[str] | None) -> None:
    """By a part of the user's id or name, or of the address, in any case; by the beginning of the socket's id, which
    is random: a few letters of it fit nobody."""
    hall = Hall()
    hall.enter("a", "anna")
    hall.enter("b", "u2", name="ÅNGSTRÖM")
    hall.enter("c", "u3", address="2001:db8::7")
    hall.enter("sid-c", "u4")
    listing = await hall.list(search)
    assert sorted(sids(listing)) == (["a", "b", "c", "sid-c"] if found is None else found)
    assert (listing.matching, listing.sockets) == (len(listing.rows), 4)


async def test_the_list_is_bounded_and_says_how_many_there_are() -> None:
    """Of 10 000 sockets the first few are listed, while others have their turns."""
    hall = Hall()
    for number in range(10_000):
        hall.enter(f"s{number}", f"user {number % 5000:04}", since_s=number)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count_turns())
    listing = await hall.list(limit=3)
    task.cancel()
    assert sids(listing) == ["s0", "s5000", "s1"]
    assert [row.user_sockets for row in listing.rows] == [2, 2, 2]
    assert (listing.matching, listing.sockets, listing.users) == (10_000, 10_000, 5_000)
    assert turns >= 20
    assert (await hall.list("user 01", limit=3)).matching == 200


async def test_what_is_being_ended_is_not_listed() -> None:
    """Nor what is gone already, whichever way it is sorted."""
    hall = Hall()
    hall.enter("going", "anna").end = KICKED
    hall.enter("gone", "bob")
    del hall.infos["gone"]
    hall.enter("here", "carol")
    for sort in ("user", "age", "unread"):
        assert sids(await hall.list(sort=sort)) == ["here"]


def test_sockets_to_end_are_found() -> None:
    """One by its id, or all of a user; nobody else's."""
    hall = Hall()
    one, two = hall.enter("a1", "anna"), hall.enter("a2", "anna")
    hall.enter("b", "bob")
    assert find(hall.sessions, sid="a1") == [one]
    assert find(hall.sessions, user_id="anna") == [one, two]
    one.end = KICKED
    assert find(hall.sessions, sid="a1") == []
    assert find(hall.sessions, user_id="anna") == [two]
    assert find(hall.sessions, sid="nothing") == find(hall.sessions, user_id="nobody") == find(hall.sessions) == []
