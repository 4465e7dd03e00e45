"""The attacker: raw sockets that send ready-made bytes at a rate, hold what they can, or ask again and again.

Non-blocking sockets behind one selector, in a process of its own, so that Python sends 20 MB/s with half a core.
Everything is bounded by a number of connections and a time. It counts what the server did about it, and judges nothing.
"""

from __future__ import annotations

import re
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .connection import PIECE_BYTES, STATUS, Connection, Opener, Tally, Target, plain, polling

# Where attacks come from, if they do not come from everywhere.
SOURCES: Final = ("127.0.0.3",)
# Between two attempts of a connection that was ended or refused; nobody who attacks waits longer.
AGAIN_S: Final = 0.05
# What opening thousands of connections may take on a busy machine.
OPENING_S: Final = 20.0
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Crowd:
    """Connections that are opened again when the server ends them.

    Args:
        again: whether they are.
    """

    def __init__(
        self, target: Target, opener: Opener, number: int, sources: Sequence[str], *, again: bool = True
    ) -> None:
        self.tally = Tally()
        self.selector = selectors.DefaultSelector()
        self._target = target
        self._opener = opener
        self._sources = sources
        self._again = again
        self._due: list[tuple[float, str]] = [(0.0, sources[each % len(sources)]) for each in range(number)]
        self._started_s = time.monotonic()
        self.deadline_s = self._started_s + target.seconds

    @property
    def going_on(self) -> bool:
        return time.monotonic() < self.deadline_s

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to open."""
        return not self._due

    @property
    def connections(self) -> list[Connection]:
        return [key.data for key in self.selector.get_map().values()]

    def fill(self) -> None:
        """Open what is due, a few at a time."""
        now = time.monotonic()
        due, self._due = self._due, []
        for number, (at_s, source) in enumerate(due):
            if at_s > now or number >= 50 or not self.going_on:
                self._due.append((at_s, source))
                continue
            try:
                connection = Connection(self._target, source, self.tally)
            except OSError as error:
                self.tally.ends[f"no connection: {type(error).__name__}"] += 1
                self._later(source)
                continue
            if self._opener(connection):
                self.selector.register(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
            else:
                connection.close()
                self._later(source)

    def watch(self, connection: Connection, *, write: bool) -> None:
        """Say whether a connection has something to send."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        self.selector.modify(connection.socket, events, connection)

    def lost(self, connection: Connection) -> None:
        source = self._sources[self.tally.ends.total() % len(self._sources)]
        self.selector.unregister(connection.socket)
        connection.ended()
        self._later(source)

    def _later(self, source: str) -> None:
        if self._again:
            self._due.append((time.monotonic() + AGAIN_S, source))

    def finish(self) -> Tally:
        connections = self.connections
        self.tally.open = len(connections)
        self.tally.seconds = time.monotonic() - self._started_s
        for connection in connections:
            self.selector.unregister(connection.socket)
            connection.close()
        self.selector.close()
        return self.tally


def flood(
    target: Target,
    opener: Opener,
    data: bytes,
    *,
    connections: int = 1,
    bytes_per_s: float = 20e6,
    piece_bytes: int = PIECE_BYTES,
) -> Tally:
    """Send the same bytes on every connection without end, at `bytes_per_s` in all; what comes back is let go."""
    crowd = Crowd(target, opener, target.of(connections), SOURCES)
    view = memoryview(data)
    allowed, last_s = 0.0, time.monotonic()
    waited_s = full_s = 0.0
    while crowd.going_on:
        crowd.fill()
        if not crowd.selector.get_map():
            time.sleep(0.005)
            last_s = time.monotonic()
            continue
        now = time.monotonic()
        passed_s, last_s = now - last_s, now
        allowed = min(allowed + passed_s * bytes_per_s, 0.1 * bytes_per_s)
        events = crowd.selector.select(0.01)
        moved = False
        for key, mask in events:
            connection: Connection = key.data
            if mask & selectors.EVENT_READ and connection.pull() is None:
                crowd.lost(connection)
                continue
            if mask & selectors.EVENT_WRITE and allowed >= 1:
                end = min(len(view), connection.at + piece_bytes, connection.at + int(allowed))
                size = connection.push(view[connection.at : end])
                if size < 0:
                    connection.pull()
                    crowd.lost(connection)
                    continue
                moved = moved or size > 0
                allowed -= size
                connection.at = (connection.at + size) % len(view)
        waited_s += passed_s
        if allowed >= 1 and not moved:
            full_s += passed_s
            time.sleep(0.001)
        elif allowed < 1:
            time.sleep(0.001)
    crowd.tally.paused_share = full_s / waited_s if waited_s else 0.0
    return crowd.finish()


def hold(
    target: Target,
    first: Callable[[int], bytes],
    *,
    connections: int,
    drip: bytes = b"",
    sources: Sequence[str] = SOURCES,
    again: bool = False,
) -> Tally:
    """Send each connection's first bytes as fast as they are taken, then keep it open; `drip` is sent every 0.2 s.

    The time begins when all are open, or after OPENING_S.
    """
    crowd = Crowd(target, plain, target.of(connections), sources, again=again)
    number = 0
    left: dict[Connection, memoryview] = {}
    answered: set[Connection] = set()
    next_drip_s = time.monotonic() + 0.2
    crowd.deadline_s += OPENING_S
    opening = True
    while crowd.going_on:
        crowd.fill()
        if opening and crowd.complete:
            opening = False
            crowd.deadline_s = time.monotonic() + target.seconds
        for key, mask in crowd.selector.select(0.01):
            connection: Connection = key.data
            if connection not in left:
                left[connection] = memoryview(first(number))
                number += 1
            if mask & selectors.EVENT_READ:
                over = connection.pull() is None
                if connection not in answered and (found := STATUS.match(connection.tail)):
                    answered.add(connection)
                    crowd.tally.statuses[found[1].decode()] += 1
                if over:
                    crowd.lost(connection)
                    continue
            if mask & selectors.EVENT_WRITE and left[connection]:
                size = connection.push(left[connection][:PIECE_BYTES])
                if size < 0:
                    connection.pull()
                    crowd.lost(connection)
                    continue
                left[connection] = left[connection][size:]
            if not left[connection] and mask & selectors.EVENT_WRITE:
                crowd.watch(connection, write=False)
        if drip and time.monotonic() >= next_drip_s:
            next_drip_s = time.monotonic() + 0.2
            for connection in crowd.connections:
                if not left.get(connection, b"x") and connection.push(drip) < 0:
                    crowd.lost(connection)
        if not crowd.selector.get_map():
            time.sleep(0.01)
    return crowd.finish()


def ask(
    target: Target,
    make: Callable[[Connection, int], bytes],
    *,
    opener: Opener = plain,
    connections: int = 1,
    per_s: float = 0.0,
    sources: Sequence[str] = SOURCES,
) -> Tally:
    """Send a request on each connection as soon as the one before is answered; `per_s` of them in all, 0 for any."""
    crowd = Crowd(target, opener, target.of(connections), sources)
    waiting: dict[Connection, memoryview] = {}
    got: dict[Connection, bytes] = {}
    number, started_s = 0, time.monotonic()
    while crowd.going_on:
        crowd.fill()
        for key, mask in crowd.selector.select(0.01):
            connection: Connection = key.data
            over = False
            if mask & selectors.EVENT_READ:
                data = connection.pull()
                over = data is None
                whole = got.get(connection, b"") + (data or b"")
                # A head that says how long its body is; without a length the answer ends with the connection.
                status, rest = _answer(whole)
                got[connection] = rest
                if status:
                    crowd.tally.statuses[status] += 1
                    waiting.pop(connection, None)
                    crowd.watch(connection, write=True)
                    if status in ("400", "413") and opener is polling:
                        over = True  # the session is gone
            if over:
                waiting.pop(connection, None)
                got.pop(connection, None)
                crowd.lost(connection)
                continue
            if mask & selectors.EVENT_WRITE:
                if connection not in waiting:
                    if per_s and number >= (time.monotonic() - started_s) * per_s:
                        continue
                    waiting[connection] = memoryview(make(connection, number))
                    number += 1
                if waiting[connection]:
                    size = connection.push(waiting[connection][:PIECE_BYTES])
                    if size < 0:
                        connection.pull()
                        waiting.pop(connection, None)
                        crowd.lost(connection)
                        continue
                    waiting[connection] = waiting[connection][size:]
                if not waiting[connection]:
                    crowd.watch(connection, write=False)
        if not crowd.selector.get_map() or per_s:
            time.sleep(0.001)
    return crowd.finish()


def _answer(data: bytes) -> tuple[str, bytes]:
    """The status of a whole HTTP answer and what follows it; ("", data) while it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return "", data[-PIECE_BYTES:]
    found, length = STATUS.match(data), _LENGTH.search(data[:end])
    size = end + 4 + (int(length[1]) if length else 0)
    if len(data) < size:
        return "", data
    return found[1].decode() if found else "?", data[size:]


def together(tallies: Iterator[Tally]) -> Tally:
    """Several tallies as one."""
    whole = Tally()
    for tally in tallies:
        whole.sent_bytes += tally.sent_bytes
        whole.opened += tally.opened
        whole.open += tally.open
        whole.seconds += tally.seconds
        whole.statuses += tally.statuses
        whole.ends += tally.ends
        whole.said = whole.said or tally.said
        whole.paused_share = max(whole.paused_share, tally.paused_share)
    return whole
