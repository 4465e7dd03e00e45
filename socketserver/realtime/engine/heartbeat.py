"""When a client is pinged, and when it counts as dead. Pure: it is told the time, and knows no socket and no timer.

Source: the Engine.IO protocol, revision 4, "Heartbeat".
"""

from enum import Enum


class Beat(Enum):
    """What is to be done now."""

    PING = "ping"
    DEAD = "dead"


class Heartbeat:
    """The pings of one client. All times are monotonic seconds.

    Attributes:
        interval_s: from one ping to the next.
        timeout_s: how long the client may take to answer one.
        next_s: when `due` is to be asked next.
    """

    __slots__ = ("_awaiting", "_pinged_s", "_read_s", "interval_s", "next_s", "timeout_s")

    def __init__(self, interval_s: float, timeout_s: float, now_s: float) -> None:
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.next_s = now_s + interval_s
        self._awaiting = False
        self._pinged_s = now_s
        self._read_s = now_s

    def due(self, now_s: float, *, reading: bool = True) -> Beat | None:
        """Return what is to be done now, and set `next_s`.

        Args:
            reading: whether the client is read from. While it is not, its pong may wait unread: its time begins anew.
        """
        beat = None
        if self._awaiting:
            if not reading:
                self._read_s = now_s
            elif now_s >= self._deadline_s:
                return Beat.DEAD
        elif now_s >= self._pinged_s + self.interval_s:
            due_s = self._pinged_s + self.interval_s
            # A ping that leaves late (a busy event loop) keeps its deadline, unless that would halve the client's time.
            self._ping(due_s if now_s - due_s < self.timeout_s / 2 else now_s)
            beat = Beat.PING
        if self._awaiting:
            self.next_s = self._pinged_s + min(self.interval_s, self.timeout_s)
            if self.next_s <= now_s:
                self.next_s = self._deadline_s
        else:
            self.next_s = self._pinged_s + self.interval_s
        return beat

    def pong(self, now_s: float) -> bool:
        """The client has answered. Returns whether the next ping, which has waited for that, leaves at once."""
        if not self._awaiting:
            return False
        self._awaiting = False
        if now_s < self._pinged_s + self.interval_s:
            return False
        self._ping(now_s)
        return True

    def read(self, now_s: float) -> None:
        """The client is read from again: from now on it has its full time to answer."""
        self._read_s = now_s

    def late(self, now_s: float) -> bool:
        """Whether the client's time to answer is over."""
        return self._awaiting and now_s >= self._deadline_s

    @property
    def _deadline_s(self) -> float:
        return max(self._pinged_s, self._read_s) + self.timeout_s

    def _ping(self, now_s: float) -> None:
        self._pinged_s = now_s
        self._awaiting = True
