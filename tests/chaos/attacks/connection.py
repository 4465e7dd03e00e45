"""One connection of the attacker: a raw socket, what it is opened as, and the tally of what the server did about it."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from . import wire

CONNECT_S: Final = 5.0
PIECE_BYTES: Final = 128 * 1024
TAIL_BYTES: Final = 4096
_BIND_ADDRESS_NO_PORT: Final = 24  # Linux: the port is chosen with the peer in mind, so that there are enough of them
STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")


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
        plain = socket.socket()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        plain.bind((source, 0))
        plain.settimeout(CONNECT_S if target.tls else 0.0)
        if (error := plain.connect_ex(("127.0.0.1", target.port))) not in (0, errno.EINPROGRESS):
            plain.close()
            raise OSError(error, "cannot connect")
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
        found = STATUS.match(got)
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
