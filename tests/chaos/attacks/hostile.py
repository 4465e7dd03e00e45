"""The attacker: raw sockets that send ready-made bytes at a rate, hold what they can, or ask again and again.

Non-blocking sockets behind one selector, in a process of its own, so that Python sends 20 MB/s with half a core.
Everything is bounded by a number of connections and a time. It counts what the server did about it, and judges nothing.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from . import wire

CONNECT_S: Final = 5.0
# Between two attempts of a connection that was ended or refused; nobody who attacks waits longer.
AGAIN_S: Final = 0.05
# Where attacks come from, if they do not come from everywhere.
SOURCES: Final = ("127.0.0.3",)
PIECE_BYTES: Final = 128 * 1024
TAIL_BYTES: Final = 4096
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """Whom to attack, and how much of it.

    Attributes:
        tls: whether the port speaks TLS; certificates are not checked.
        seconds: how long.
        scale: what numbers of connections are multiplied with.
        token: a user's, for those attacks that have one.
        conversation_id: one of that user's.
    """

    port: int
    tls: bool = False
    seconds: float = 5.0
    scale: float = 1.0
    token: str = ""
    conversation_id: str = ""

    def of(self, number: int) -> int:
        """A number of connections, scaled; one stays one."""
        return number if number == 1 else max(2, round(number * self.scale))


@dataclass
class Tally:
    """What came of it.

    Attributes:
        statuses: HTTP answers, by status.
        ends: connections that the server ended, by its close code, or `cut`.
        opened: connections that were made.
        open: connections that stood at the end.
        paused_share: the part of the time in which a connection that had something to send could not.
    """

    sent_bytes: int = 0
    opened: int = 0
    open: int = 0
    paused_share: float = 0.0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    said: str = ""

    def as_dict(self) -> dict[str, Any]:
        # asdict() would make counters of its own of the counters' items
        return vars(self) | {"statuses": dict(self.statuses), "ends": dict(self.ends)}


class Connection:
    """One socket of the attacker."""

    def __init__(self, target: Target, source: str, tally: Tally) -> None:
        self.sid = ""
        self.at = 0
        self.tail = b""
        self.sent = 0
        self._tally = tally
        plain = socket.create_connection(("127.0.0.1", target.port), CONNECT_S, source_address=(source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = plain
        if target.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(plain)
        tally.opened += 1
        self.socket.setblocking(False)

    def push(self, data: memoryview | bytes) -> int:
        """Send what goes at once. Returns: how many bytes that were; -1 if the connection is over."""
        try:
            size = self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            return -1
        self.sent += size
        self._tally.sent_bytes += size
        return size

    def pull(self) -> bytes | None:
        """What has arrived; None if the connection is over."""
        try:
            data = self.socket.recv(PIECE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError:
            return None
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        return data or None

    def talk(self, data: bytes, until: bytes, seconds: float = CONNECT_S) -> bytes:
        """Send and wait until the answer holds `until`, or nothing more comes. Returns: the answer."""
        self.socket.settimeout(seconds)
        got = b""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)
            self._tally.sent_bytes += len(data)
            while until not in got:
                piece = self.socket.recv(65536)
                if not piece:
                    break
                got += piece
        self.socket.setblocking(False)
        found = _STATUS.match(got)
        if found and found[1] not in (b"200", b"101"):  # what is begun well says nothing; what is refused does
            self._tally.statuses[found[1].decode()] += 1
        return got

    def ended(self) -> None:
        """Note how the server ended it, and close it."""
        found = re.search(rb"\x88[\x02-\x7d]([\x03\x0f].)", self.tail, re.DOTALL)
        code = str(int.from_bytes(found[1], "big")) if found else "cut"
        self._tally.ends[code] += 1
        if b"session_ended" in self.tail and not self._tally.said:
            self._tally.said = self.tail[self.tail.index(b"session_ended") :][:120].decode(errors="replace")
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


Opener = Callable[[Connection], bool]


def plain(connection: Connection) -> bool:
    """Just TCP."""
    return True


def websocket(headers: Sequence[tuple[str, str]] = (), token: str | None = None) -> Opener:
    """A websocket session, as far as its OPEN packet; with a token (an empty one too) it sends CONNECT as well."""

    def opener(connection: Connection) -> bool:
        if b'0{"sid"' not in connection.talk(wire.upgrade(headers=headers), b'0{"sid"'):
            return False
        if token is not None:
            connect = b'40{"token":"%b"}' % token.encode() if token else b"40"
            return b"40{" in connection.talk(wire.frame(wire.TEXT, connect), b"40{")
        return True

    return opener


def polling(connection: Connection) -> bool:
    """A polling session; its id is `connection.sid`."""
    answer = connection.talk(wire.request("GET", wire.PATH + "polling"), b"}")
    found = re.search(rb'"sid":"([^"]+)"', answer)
    connection.sid = found[1].decode() if found else ""
    return bool(connection.sid)


def session_path(connection: Connection) -> str:
    return f"{wire.PATH}polling&sid={connection.sid}"


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
    """Send each connection's first bytes as fast as they are taken, then keep it open; `drip` is sent every 0.2 s."""
    crowd = Crowd(target, plain, target.of(connections), sources, again=again)
    number = 0
    left: dict[Connection, memoryview] = {}
    answered: set[Connection] = set()
    next_drip_s = time.monotonic() + 0.2
    while crowd.going_on:
        crowd.fill()
        for key, mask in crowd.selector.select(0.01):
            connection: Connection = key.data
            if connection not in left:
                left[connection] = memoryview(first(number))
                number += 1
            if mask & selectors.EVENT_READ:
                over = connection.pull() is None
                if connection not in answered and (found := _STATUS.match(connection.tail)):
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
    found, length = _STATUS.match(data), _LENGTH.search(data[:end])
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
