"""Every metric, on a registry of the application's own, and the same figures as plain numbers for the monitoring page.

The only module that knows prometheus_client. Others tell it what happened (`Metrics`' methods, cheap enough for every
message: bound children, no label is looked up), and it asks the application for what can be counted at any time
(`Reading`) when somebody scrapes. Labels are bounded: an event, an error code, a transport; never a user or a sid.
Source: docs/operations.md#metrics lists every metric; a test holds the two together.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .. import __version__, stdio
from ..chat.domain import Clock, UserId
from ..chat.news import MessageCreated, MessageUpdated, News
from ..errors import ENDS, InternalError, Overloaded, StoreUnavailable
from ..limits import TokenBucket
from ..wire.protocol import ClientEvent
from .figures import Distribution, Reading, Snapshot
from .memory import resident_bytes

# Somebody who comes back within this time counts as coming back …
RECONNECT_S: Final = 300.0
# … if not more users than this have left since.
MAX_LEFT: Final = 50_000
LAG_PROBE_S: Final = 0.25
# Scrapes for which the answer is put together: in the long run, and at once.
SCRAPES_PER_SECOND: Final = 10.0
SCRAPES_AT_ONCE: Final = 20
# Formats of which the last answer is kept; of more, for whoever asks makes up their versions, the plain one's.
MOST_FORMATS: Final = 16

# Chat: half a millisecond is a store on the same machine, ten seconds is when clients give up.
LATENCY_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_WRITES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

OK: Final = "ok"
UNKNOWN_EVENT: Final = "unknown"
# Outcomes that are the server's fault have their series from the start: of one that begins with its first event,
# Prometheus' rate() does not see that event.
SERVER_FAULTS: Final = (InternalError.code, StoreUnavailable.code, Overloaded.code)
OTHER: Final = "other"
TRANSPORTS: Final = ("polling", "websocket")
# Why the engine says that a connection went, where no End says why. Its slow_consumer and malformed are Ends.
TRANSPORT_ENDS: Final = (
    "client_disconnect",
    "server_disconnect",
    "server_shutdown",
    "ping_timeout",
    "transport_close",
    "transport_error",
)
END_CODES: Final = (*ENDS, *TRANSPORT_ENDS, OTHER)
# Lines of the log of which there is a budget a minute.
LIMITED_LINES: Final = ("connects_refused", "origin_refused", "admin_refused")
# Who refuses: the HTTP handshake (429, 403, 400, 503), Socket.IO's CONNECT (connect_error), the other HTTP routes.
HANDSHAKE: Final = "handshake"
CONNECT: Final = "connect"
HTTP: Final = "http"
# What becomes of messages.
EDIT: Final = "edit"
DELETION: Final = "deletion"
REACTION: Final = "reaction"
CHANGES: Final = (EDIT, DELETION, REACTION)
CONVERSATION_CHANGES: Final = ("added", "removed", "left", "role", "title", "metadata")


class Metrics:
    """What is counted and measured. Also the stores' observer (store/base.py), which may call from other threads.

    Args:
        clock: for telling who comes back soon; durations are measured by `time.perf_counter`.
    """

    def __init__(self, clock: Clock) -> None:
        self.registry: Final = CollectorRegistry()
        self._clock: Final = clock
        self._scrapes: Final = TokenBucket(SCRAPES_PER_SECOND, SCRAPES_AT_ONCE, SCRAPES_AT_ONCE, clock.monotonic_s())
        self._scraped: Final[dict[str, bytes]] = {}  # the last answers, by Content-Type
        self._read: Callable[[], Reading] = Reading
        # Users whose socket ended, with the time; oldest first.
        self._left: OrderedDict[UserId, float] = OrderedDict()

        Info("socketserver_build", "The version that runs.", registry=self.registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        self._connects: Final = self._counter("connects", "Socket.IO sockets that were let in.")
        self._authentications: Final = self._counter("authentications", "Sockets that got their user.")
        self._reconnects: Final = self._counter(
            "reconnects", "Sockets whose user had another that ended within five minutes, or that they replaced."
        )
        self._refusals: Final = self._counter("refusals", "Connects and HTTP requests that were refused.", "at", "code")
        self._ends: Final = self._counter("ends", "Sockets that ended, by the reason.", "code")
        self._events: Final = self._counter("events", "Events of clients that were acked.", "event", "outcome")
        self._duplicates: Final = self._counter("duplicates", "Messages that had been stored before.")
        self._changes: Final = self._counter("changes", "Messages that were edited, deleted or reacted to.", "kind")
        self._conversation_changes: Final = self._counter(
            "conversation_changes", "People added to conversations and removed, roles, titles and metadata set.", "kind"
        )
        self._change_events: Final = self._counter(
            "change_events", "What was announced of changes, those that were stored together as one."
        )
        self._ack: Final = self._histogram(
            "message_ack_seconds", "From the receipt of a message to its ack.", LATENCY_S
        )
        self._fanout: Final = self._histogram(
            "message_fanout_seconds", "From the receipt of a message until its recipients' outboxes have it.", LATENCY_S
        )
        self._commit_seconds: Final = self._histogram("store_commit_seconds", "Duration of a commit.", LATENCY_S)
        self._commit_writes: Final = self._histogram("store_commit_writes", "Writes in one commit.", BATCH_WRITES)
        self._store_retries: Final = self._counter("store_retries", "Commits that had to be done again.")
        self._store_errors: Final = self._counter(
            "store_errors", "Commits and reads that failed because of the database."
        )
        self._lag: Final = self._histogram("event_loop_lag_seconds", "How late the event loop is.", LATENCY_S)
        self._messages = 0  # not a Counter: one lock less per message
        self._store_log_bytes = 0
        self.registry.register(_AtScrape(lambda: self._read(), lambda: self._messages, lambda: self._store_log_bytes))

        self._end: Final = {code: self._ends.labels(code) for code in END_CODES}
        self._done: Final = {event.value: self._events.labels(event.value, OK).inc for event in ClientEvent}
        for event in (*self._done, UNKNOWN_EVENT):
            for code in SERVER_FAULTS:
                self._events.labels(event, code)
        self._changed: Final = {kind: self._changes.labels(kind).inc for kind in CHANGES}
        self._reformed: Final = {kind: self._conversation_changes.labels(kind).inc for kind in CONVERSATION_CHANGES}
        self._acked: Final = self._ack.observe
        self._announced: Final = self._fanout.observe

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"socketserver_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"socketserver_{name}", text, buckets=buckets, registry=self.registry)

    def watch(self, read: Callable[[], Reading]) -> None:
        """From now on ask `read` at every scrape and snapshot. It runs on the event loop and must not wait."""
        self._read = read

    # Connections

    def connected(self) -> None:
        """A socket was let in."""
        self._connects.inc()

    def authenticated(self, user_id: UserId, *, replaces: bool) -> None:
        """A socket got its user.

        Args:
            replaces: whether an older socket of the user has to go for it.
        """
        self._authentications.inc()
        left_s = self._left.get(user_id)
        if replaces or (left_s is not None and self._clock.monotonic_s() - left_s <= RECONNECT_S):
            self._reconnects.inc()

    def ended(self, user_id: UserId | None, code: str) -> None:
        """A socket that was let in is gone.

        Args:
            user_id: its user, if it had one.
            code: why, as one word: live/left.py.
        """
        self._end.get(code, self._end[OTHER]).inc()
        if user_id is None:
            return
        now_s = self._clock.monotonic_s()
        self._left[user_id] = now_s
        self._left.move_to_end(user_id)
        while len(self._left) > MAX_LEFT or next(iter(self._left.values())) < now_s - RECONNECT_S:
            self._left.popitem(last=False)

    def refused(self, at: str, code: str) -> None:
        """A client was not let in.

        Args:
            at: HANDSHAKE, CONNECT or HTTP.
            code: from a bounded set: an error's code, or one of the engine's.
        """
        self._refusals.labels(at, code).inc()

    # Events

    def event_done(self, event: str) -> None:
        """An event was acked with success."""
        self._done[event]()

    def event_failed(self, event: str, code: str) -> None:
        """An event was acked with an error; UNKNOWN_EVENT for a name that is no event's."""
        self._events.labels(event if event in self._done else UNKNOWN_EVENT, code).inc()

    def message_acked(self, received_s: float, *, duplicate: bool) -> None:
        """A message is acked, in `time.perf_counter` seconds received at `received_s`."""
        if duplicate:
            self._duplicates.inc()
        self._acked(time.perf_counter() - received_s)

    def changed(self, kind: str) -> None:
        """A message was changed, as one of CHANGES says; a repeat is none."""
        self._changed[kind]()

    def conversation_changed(self, kind: str) -> None:
        """A conversation was changed, as one of CONVERSATION_CHANGES says; a repeat is none."""
        self._reformed[kind]()

    def receive(self, news: News) -> None:
        """Receives the chat's news, after the fan-out."""
        if type(news) is MessageCreated and not news.duplicate:
            self.message_announced(news.received_s)
        elif type(news) is MessageUpdated and not news.duplicate:
            self._change_events.inc()

    def message_announced(self, received_s: float) -> None:
        """A new message was stored and is in its recipients' outboxes."""
        self._messages += 1
        self._announced(time.perf_counter() - received_s)

    # The store's observer; may be called from a thread

    def committed(self, writes: int, seconds: float) -> None:
        self._commit_writes.observe(writes)
        self._commit_seconds.observe(seconds)

    def retried(self) -> None:
        self._store_retries.inc()

    def failed(self) -> None:
        self._store_errors.inc()

    def log_size(self, size_bytes: int) -> None:
        self._store_log_bytes = size_bytes

    # Reading

    async def measure_lag(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LAG_PROBE_S)
            self._lag.observe(max(0.0, time.perf_counter() - before - LAG_PROBE_S))

    def expose(self, accept: str) -> tuple[bytes, str]:
        """What a scrape gets: the text format, or OpenMetrics where the Accept header asks for it.

        Who asks faster than SCRAPES_PER_SECOND gets the last answer again in between: to put one together takes more
        than a millisecond.

        Returns: the body, and its Content-Type.
        """
        encode, content_type = choose_encoder(accept)
        if content_type not in self._scraped and len(self._scraped) >= MOST_FORMATS:
            encode, content_type = choose_encoder("")
        body = self._scraped.get(content_type)
        if not self._scrapes.take(self._clock.monotonic_s()) or body is None:
            body = self._scraped[content_type] = encode(_WithoutCreated(self.registry))
        return body, content_type

    def snapshot(self) -> Snapshot:
        """Everything as plain numbers."""
        refusals: dict[str, int] = {}
        for (_, code), count in _values(self._refusals).items():
            refusals[code] = refusals.get(code, 0) + count
        return Snapshot(
            at_s=self._clock.monotonic_s(),
            reading=self._read(),
            connects=_value(self._connects),
            authentications=_value(self._authentications),
            reconnects=_value(self._reconnects),
            messages=self._messages,
            duplicates=_value(self._duplicates),
            ends={code: count for (code,), count in _values(self._ends).items()},
            refusals=refusals,
            ack=_distribution(self._ack),
            fanout=_distribution(self._fanout),
            lag=_distribution(self._lag),
            memory_bytes=resident_bytes(),
        )


class _AtScrape(Collector):
    """What is counted elsewhere: the gauges, from one reading per scrape, so that they belong together."""

    def __init__(
        self, read: Callable[[], Reading], messages: Callable[[], int], store_log_bytes: Callable[[], int]
    ) -> None:
        self._read = read
        self._messages = messages
        self._store_log_bytes = store_log_bytes

    def collect(self) -> Iterator[Metric]:
        reading = self._read()
        yield _gauge("users", "Users with at least one socket.", reading.users)
        sockets = GaugeMetricFamily("socketserver_sockets", "Open connections.", labels=["transport"])
        for transport in TRANSPORTS:
            sockets.add_metric([transport], reading.sockets.get(transport, 0))
        yield sockets
        yield _gauge("rooms", "Sets of sockets that something can be sent to.", reading.rooms)
        yield _gauge("outbox_bytes", "What clients have not taken yet.", reading.outbox_bytes)
        yield _gauge("outbox_largest_bytes", "What the slowest client has not taken.", reading.largest_outbox_bytes)
        entries = GaugeMetricFamily("socketserver_guard_entries", "What the guards keep.", labels=["registry"])
        for registry, size in reading.guard_entries.items():
            entries.add_metric([registry], size)
        yield entries
        yield _gauge("tcp_connections", "Open TCP connections.", reading.tcp_connections)
        yield _totals("tcp_refused", "TCP connections over a cap.", "cap", reading.tcp_refused)
        yield _gauge("heads_bytes", "What large heads of requests hold.", reading.heads_bytes)
        yield _totals("heads_refused", "Requests refused by their head.", "why", reading.heads_refused)
        yield _totals("intake", "What came in too fast: what was done about it.", "done", reading.intake)
        yield _gauge("unproven_bytes", "What is kept of handshakes without a user.", reading.unproven_bytes)
        yield _total("crowded_out", "Connections without a user that others needed the place of.", reading.crowded_out)
        yield _total(
            "descriptor_shortages", "Seconds in which there was no file descriptor left.", reading.descriptor_shortages
        )
        dropped = CounterMetricFamily(
            "socketserver_refusal_lines_dropped", "Lines about refusals left out.", labels=["event"]
        )
        for event in LIMITED_LINES:
            dropped.add_metric([event], reading.dropped_lines.get(event, 0))
        yield dropped
        yield _total("messages", "Messages that were stored.", self._messages())
        yield _gauge("store_log_bytes", "Size of SQLite's write-ahead log.", self._store_log_bytes())
        yield _total("sweep_findings", "Differences between registries that sweeps have mended.", reading.mended)
        yield _gauge("resident_memory_bytes", "Resident memory of the process.", resident_bytes())
        yield _total("log_lines_dropped", "Log lines that nobody read in time.", stdio.dropped_lines())
        yield _total("cpu_seconds", "Processor time that the process has used.", time.process_time())


class _WithoutCreated(Collector):
    """A registry without the `_created` series, which double the number of series and say nothing of use here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"socketserver_{name}", text, value=value)


def _total(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"socketserver_{name}", text, value=value)


def _totals(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    metric = CounterMetricFamily(f"socketserver_{name}", text, labels=[label])
    for value, count in values.items():
        metric.add_metric([value], count)
    return metric


def _values(counter: Counter) -> dict[tuple[str, ...], int]:
    """A counter's values by its labels' values, in the order of the labels."""
    return {
        tuple(sample.labels.values()): int(sample.value)
        for metric in counter.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def _value(counter: Counter) -> int:
    return _values(counter)[()]


def _distribution(histogram: Histogram) -> Distribution:
    (metric,) = histogram.collect()
    buckets = [(float(s.labels["le"]), int(s.value)) for s in metric.samples if s.name.endswith("_bucket")]
    total = next(sample.value for sample in metric.samples if sample.name.endswith("_sum"))
    return Distribution(tuple(bound for bound, _ in buckets), tuple(count for _, count in buckets), total)
