"""What is counted, in the shape in which it is read."""

from __future__ import annotations

import asyncio
import math
import platform
import time
from socketserver import __version__
from socketserver.chat.domain import Conversation, ConversationId, Message, MessageId, UserId
from socketserver.chat.news import MessageUpdated
from socketserver.errors import ENDS
from socketserver.live.left import code_of, left_for
from socketserver.ops import metrics as module
from socketserver.ops.figures import Distribution, Reading
from socketserver.ops.metrics import (
    CONNECT,
    HTTP,
    LAG_PROBE_S,
    MOST_FORMATS,
    OTHER,
    SCRAPES_AT_ONCE,
    SCRAPES_PER_SECOND,
    Metrics,
)
from socketserver.realtime.engine.reasons import Gone
from socketserver.wire.protocol import ClientEvent

import pytest
from support.clock import FakeClock
from support.scrape import OPENMETRICS, Scrape
from support.waiting import eventually

ANA, BEN = UserId("ana"), UserId("ben")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    return Metrics(clock)


def scrape(metrics: Metrics, accept: str = "") -> Scrape:
    body, content_type = metrics.expose(accept)
    return Scrape.read(body.decode(), content_type)


# Connections


@pytest.mark.parametrize("reason", [*ENDS, *(reason for reason in Gone if reason is not Gone.CONNECT_TIMEOUT)])
def test_every_end_has_a_code_of_its_own(metrics: Metrics, reason: str) -> None:
    """Those of the server's ends, and the engine's. (CONNECT_TIMEOUT ends what never was a socket.)"""
    code = code_of(left_for(reason))
    assert scrape(metrics).has("ends_total", code=code), "it exists before it happens, so that a rate sees the first"
    metrics.ended(ANA, code)
    after = scrape(metrics)
    assert after("ends_total", code=code) == 1
    assert after("ends_total", code=OTHER) == 0


def test_what_nobody_thought_of_does_not_make_new_series(metrics: Metrics) -> None:
    """Names that come from outside, or from a later version of a library, are counted together."""
    series = len(scrape(metrics).families["socketserver_ends"].samples)
    metrics.ended(None, "an unheard-of reason")
    metrics.ended(None, "another one")
    after = scrape(metrics)
    assert after("ends_total", code=OTHER) == 2
    assert len(after.families["socketserver_ends"].samples) == series
    metrics.event_failed("drop_tables", "unknown_event")
    metrics.event_failed("x" * 1000, "unknown_event")
    assert scrape(metrics)("events_total", event="unknown", outcome="unknown_event") == 2


@pytest.mark.parametrize(
    ("away_s", "replaces", "counts"), [(0, False, 1), (299, False, 1), (301, False, 0), (301, True, 1)]
)
def test_a_reconnect_is_one_who_comes_back_soon(
    metrics: Metrics, clock: FakeClock, away_s: float, replaces: bool, counts: int
) -> None:
    """Within five minutes of an end, or in the place of an older socket."""
    metrics.authenticated(ANA, replaces=False)
    metrics.ended(ANA, "transport_close")
    clock.advance(away_s)
    metrics.authenticated(BEN, replaces=False)
    metrics.authenticated(ANA, replaces=replaces)
    seen = scrape(metrics)
    assert seen("reconnects_total") == counts
    assert seen("authentications_total") == 3


def test_those_who_left_are_forgotten(metrics: Metrics, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After their time, and when there are too many, the oldest first."""
    monkeypatch.setattr(module, "MAX_LEFT", 3)
    for number in range(10):
        metrics.ended(UserId(f"user {number}"), "transport_close")
    assert list(metrics._left) == ["user 7", "user 8", "user 9"]
    clock.advance(module.RECONNECT_S + 1)
    metrics.ended(ANA, "transport_close")
    assert list(metrics._left) == [ANA]


# Messages


def test_a_message_and_its_repeat(metrics: Metrics) -> None:
    """A repeat is acked and measured, but is no message."""
    started = time.perf_counter()
    metrics.message_announced(started - 0.2)
    metrics.message_acked(started - 0.2, duplicate=False)
    metrics.message_acked(started, duplicate=True)
    seen = scrape(metrics)
    assert seen("messages_total") == 1
    assert seen("duplicates_total") == 1
    assert seen("message_fanout_seconds_count") == 1
    assert seen("message_fanout_seconds_bucket", le="0.1") == 0
    assert seen("message_fanout_seconds_bucket", le="+Inf") == 1
    assert seen("message_fanout_seconds_sum") >= 0.2
    assert seen("message_ack_seconds_count") == 2


def test_changes_and_what_was_announced_of_them(metrics: Metrics) -> None:
    """Three reactions that were stored together are one event; repeats are neither."""
    for _ in range(3):
        metrics.changed(module.REACTION)
    conversation = Conversation(ConversationId("c"), "group", None, ANA, (ANA,), 1)
    message = Message(MessageId("m"), conversation.id, 1, 2, ANA, "key", "hello", None, 5)
    for duplicate in (False, True):
        metrics.receive(MessageUpdated(conversation, message, duplicate))
    seen = scrape(metrics)
    assert [seen("changes_total", kind=kind) for kind in module.CHANGES] == [0, 0, 3]
    assert seen("change_events_total") == 1
    assert seen("messages_total") == 0


@pytest.mark.parametrize("event", ClientEvent)
def test_every_event_is_counted_by_name(metrics: Metrics, event: ClientEvent) -> None:
    """Success and failure apart."""
    assert scrape(metrics).has("events_total", event=event.value, outcome="ok")
    metrics.event_done(event)
    metrics.event_failed(event, "rate_limited")
    seen = scrape(metrics)
    assert seen("events_total", event=event.value, outcome="ok") == 1
    assert seen("events_total", event=event.value, outcome="rate_limited") == 1


# The process


async def test_a_blocked_event_loop_is_seen(metrics: Metrics) -> None:
    """A handler that does not let go shows as lag of that length."""
    task = asyncio.create_task(metrics.measure_lag())
    await asyncio.sleep(0)
    time.sleep(LAG_PROBE_S + 0.5)  # what no handler may do
    await eventually("the first probe", lambda: metrics.snapshot().lag.count)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lag = metrics.snapshot().lag
    assert lag.counts[lag.bounds.index(0.25)] < lag.count, "one was late by more than a quarter of a second"


def test_who_scrapes_without_end_gets_the_last_answer_again(metrics: Metrics, clock: FakeClock) -> None:
    """Four connections that asked for it as fast as they were answered took an eighth of a core: each answer was put
    together anew. In another format it is put together once, and after a moment it is new again."""
    reads: list[None] = []

    def read() -> Reading:
        reads.append(None)
        return Reading()

    metrics.watch(read)
    answers = {metrics.expose("")[0] for _ in range(3 * SCRAPES_AT_ONCE)}
    assert len(reads) == SCRAPES_AT_ONCE
    body, content_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert body not in answers
    assert content_type.startswith("application/openmetrics-text")
    assert len(reads) == SCRAPES_AT_ONCE + 1
    clock.advance(1 / SCRAPES_PER_SECOND)
    for _ in range(2):
        metrics.expose("")
    assert len(reads) == SCRAPES_AT_ONCE + 2
    for number in range(100):
        metrics.expose(f"application/openmetrics-text; version=1.{number}.0")
    assert len(reads) == SCRAPES_AT_ONCE + MOST_FORMATS, "versions that are made up have no answers kept"


def test_a_scrape_reads_once(metrics: Metrics) -> None:
    """All gauges come from one reading, so they fit together."""
    readings = []

    def read() -> Reading:
        readings.append(1)
        return Reading(users=7, sockets={"websocket": 8}, rooms=9, outbox_bytes=10, guard_entries={"users": 3})

    metrics.watch(read)
    seen = scrape(metrics)
    assert len(readings) == 1
    assert (seen("users"), seen("rooms"), seen("outbox_bytes")) == (7, 9, 10)
    assert seen("sockets", transport="websocket") == 8
    assert seen.has("sockets", transport="polling"), "a transport that nobody uses is 0, not missing"
    assert seen("guard_entries", registry="users") == 3


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=0.0.4", OPENMETRICS])
def test_every_format_says_the_same(metrics: Metrics, accept: str) -> None:
    """Each is read by its own parser, and has nothing but our metrics and no times of creation."""
    metrics.connected()
    metrics.refused(HTTP, "invalid_token")
    body, content_type = metrics.expose(accept)
    assert content_type.startswith("application/openmetrics-text" if accept == OPENMETRICS else "text/plain")
    seen = Scrape.read(body.decode(), content_type)
    assert all(name.startswith("socketserver_") for name in seen.families)
    assert not [name for name in seen.labels if name.endswith("_created")]
    assert seen("connects_total") == 1
    assert seen("refusals_total", at="http", code="invalid_token") == 1
    assert seen("build_info", version=__version__, python=platform.python_version()) == 1


# For the monitoring page


def test_a_snapshot_has_the_same_numbers(metrics: Metrics, clock: FakeClock) -> None:
    """As a scrape of the same moment, with refusals from everywhere added up."""
    metrics.watch(lambda: Reading(users=2))
    metrics.connected()
    metrics.authenticated(ANA, replaces=True)
    metrics.refused(HTTP, "invalid_token")
    metrics.refused(CONNECT, "invalid_token")
    metrics.ended(ANA, "replaced")
    metrics.message_announced(time.perf_counter())
    metrics.message_acked(time.perf_counter(), duplicate=True)
    clock.advance(5)
    now = metrics.snapshot()
    assert now.at_s == clock.monotonic_s()
    assert now.reading.users == 2
    assert (now.connects, now.authentications, now.reconnects) == (1, 1, 1)
    assert (now.messages, now.duplicates) == (1, 1)
    assert now.refusals == {"invalid_token": 2}
    assert {code: count for code, count in now.ends.items() if count} == {"replaced": 1}
    assert (now.ack.count, now.fanout.count, now.lag.count) == (1, 1, 0)
    assert now.memory_bytes > 0


BOUNDS = (1.0, 2.0, 4.0, math.inf)


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 10, 10, 10), 0.5, 0.5),
        ((10, 10, 10, 10), 1.0, 1.0),
        ((0, 10, 10, 10), 0.5, 1.5),
        ((5, 5, 10, 10), 0.75, 3.0),
        ((5, 5, 10, 10), 0.5, 1.0),
        ((0, 0, 0, 10), 0.5, 4.0),  # nobody knows how far beyond
        ((9, 9, 9, 10), 0.99, 4.0),
    ],
)
def test_quantile(counts: tuple[int, ...], share: float, value: float | None) -> None:
    """By interpolation within the bucket, as Prometheus' histogram_quantile does."""
    assert Distribution(BOUNDS, counts, 0.0).quantile(share) == value


def test_what_came_since() -> None:
    """The difference of two moments is a distribution of its own."""
    earlier, later = Distribution(BOUNDS, (1, 1, 1, 1), 0.5), Distribution(BOUNDS, (1, 4, 4, 5), 105.0)
    assert later.since(earlier) == Distribution(BOUNDS, (0, 3, 3, 4), 104.5)
