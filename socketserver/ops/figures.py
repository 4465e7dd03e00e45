"""What is counted, as plain numbers at one moment. Knows nothing of where they come from or who is shown them."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram at one moment: how many observations were at most as large as each bound.

    Attributes:
        bounds: upper bounds in ascending order, the last infinite.
        counts: cumulative, one per bound; the last is the number of all observations.
        total: the sum of all observations.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return self.counts[-1]

    def since(self, earlier: Distribution) -> Distribution:
        """What was observed after `earlier` was taken."""
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Distribution(self.bounds, counts, self.total - earlier.total)

    def quantile(self, share: float) -> float | None:
        """The value that `share` (0 to 1) of the observations do not exceed, by interpolation within its bucket.

        None if there are none. What is beyond the last finite bound counts as that bound.
        """
        if not self.count:
            return None
        wanted = share * self.count
        place = bisect.bisect_left(self.counts, wanted)
        if place >= len(self.bounds) - 1:
            return self.bounds[-2]
        below = self.counts[place - 1] if place else 0
        lower = self.bounds[place - 1] if place else 0.0
        inside = self.counts[place] - below
        return lower + (self.bounds[place] - lower) * ((wanted - below) / inside if inside else 1.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the application can count at any time.

    Attributes:
        users: with at least one socket.
        sockets: open connections by transport, those without a user included.
        rooms: sets of sockets that something can be sent to.
        outbox_bytes, largest_outbox_bytes: what all clients, and the slowest one, have not taken yet.
        mended: what the sweeps have found and mended since the start.
        guard_entries: what the guards keep, per registry.
        tcp_connections: open ones, of all kinds.
        tcp_refused: connections that were over a cap, by which.
        heads_bytes: what large heads of requests hold.
        heads_refused: requests refused by their head, by why.
        intake: what the bounds on what comes in have done: paused, deferred, flooding.
        unproven_bytes: what is kept of the handshakes of connections without a user.
        crowded_out: connections without a user that had to go so that others had room, since the start.
        descriptor_shortages: how often a probe found no file descriptor left, since the start.
        dropped_lines: lines that the log's budget left out since the start, by their event.
    """

    users: int = 0
    sockets: Mapping[str, int] = field(default_factory=dict)
    rooms: int = 0
    outbox_bytes: int = 0
    largest_outbox_bytes: int = 0
    mended: int = 0
    guard_entries: Mapping[str, int] = field(default_factory=dict)
    tcp_connections: int = 0
    tcp_refused: Mapping[str, int] = field(default_factory=dict)
    heads_bytes: int = 0
    heads_refused: Mapping[str, int] = field(default_factory=dict)
    intake: Mapping[str, int] = field(default_factory=dict)
    unproven_bytes: int = 0
    crowded_out: int = 0
    descriptor_shortages: int = 0
    dropped_lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a monitoring page shows, at one moment. Totals count from the start of the process.

    Two snapshots make a rate: `(now.messages - then.messages) / (now.at_s - then.at_s)`; and the latency in between:
    `now.ack.since(then.ack).quantile(0.95)`.

    Attributes:
        at_s: when, monotonic seconds of the application's clock.
        reading: users, sockets, rooms, outboxes.
        connects, authentications, reconnects: sockets let in, sockets that got a user, and those of them whose user
            came back.
        messages, duplicates: stored, and sent again.
        ends, refusals: by code; codes that did not happen yet may be missing.
        ack, fanout: seconds from the receipt of a message to its ack, and to the recipients' outboxes.
        lag: seconds by which the event loop was late.
        memory_bytes: resident.
    """

    at_s: float
    reading: Reading
    connects: int
    authentications: int
    reconnects: int
    messages: int
    duplicates: int
    ends: Mapping[str, int]
    refusals: Mapping[str, int]
    ack: Distribution
    fanout: Distribution
    lag: Distribution
    memory_bytes: int
