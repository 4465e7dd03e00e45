"""Which nodes are alive. Pure: no I/O, and the time is passed in, as seconds of a monotonic clock.

Silence of others proves nothing while a node does not hear itself: the bus may be away, or the node itself may have
been frozen. So silence is measured on a clock of its own, which only one's own beats move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BEAT_S: Final = 1.0
SILENT_S: Final = 5.0
READY_S: Final = 2.0


@dataclass(slots=True)
class Member:
    """Another node.

    Attributes:
        url: its own address, for connections that are handed on; None if it has told none.
        heard_s: the end of the beat in which it was heard last, on the clock of one's own beats.
        listed: whether its list of sockets is here.
    """

    node: str
    url: str | None
    heard_s: float
    listed: bool = False


class Members:
    """The other nodes, as one node knows them.

    Args:
        node: one's own id; what comes from it moves the clock, and is no member.
        now_s: when one said `hello`.
        silent_s: after how long a silence a node is dead.
        beat_s: how often nodes give a sign of life.
    """

    def __init__(self, node: str, now_s: float, *, silent_s: float = SILENT_S, beat_s: float = BEAT_S) -> None:
        self._node = node
        self._started_s = now_s
        self._silent_s = silent_s
        self._beat_s = beat_s
        self._members: dict[str, Member] = {}
        self._heard: set[str] = set()  # since one's newest beat
        self._hearing_s = 0.0
        self._own_beat_s: float | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._members))

    def __contains__(self, node: object) -> bool:
        return node in self._members

    def get(self, node: str) -> Member | None:
        """What is known of another node; None if it is not alive."""
        return self._members.get(node)

    def heard(self, node: str, url: str | None = None) -> bool:
        """Something came from another node, whatever it was; `url` if it told its address.

        Returns: whether it was not alive before, so that its list of sockets has to be asked for. A node that was
            declared dead and was only frozen comes back so.
        """
        if node == self._node:
            return False
        self._heard.add(node)
        member = self._members.get(node)
        if member is None:
            self._members[node] = Member(node, url, self._hearing_s)
            return True
        member.url = url or member.url
        return False

    def own_beat(self, now_s: float) -> list[str]:
        """One's own beat has come back, after everything that the bus had before it.

        The clock moves by the time since the beat before, by two beats at most: a longer pause was one's own, or the
        bus', and says nothing of others.
        Returns: the nodes that are dead now. They are members no more.
        """
        if self._own_beat_s is not None:
            self._hearing_s += min(max(0.0, now_s - self._own_beat_s), 2 * self._beat_s)
        self._own_beat_s = now_s
        for node in self._heard:
            if node in self._members:
                self._members[node].heard_s = self._hearing_s
        self._heard.clear()
        dead = [each.node for each in self._members.values() if self._hearing_s - each.heard_s >= self._silent_s]
        for node in dead:
            del self._members[node]
        return dead

    def hears_itself(self, now_s: float) -> bool:
        """Whether one's own beats come back. While not, presence stays as it is, and positions are asked of the
        store."""
        return self._own_beat_s is not None and now_s - self._own_beat_s < self._silent_s

    def bye(self, node: str) -> bool:
        """A node stops, and says so. Returns whether it was alive."""
        return self._members.pop(node, None) is not None

    def listed(self, node: str) -> None:
        """Another node's list of sockets is here."""
        member = self._members.get(node)
        if member is not None:
            member.listed = True

    def is_ready(self, now_s: float) -> bool:
        """Whether a node that has just come may let clients in: it hears itself and has everybody's list, or has waited
        for READY_S."""
        if now_s - self._started_s >= READY_S:
            return True
        # Who hears itself has read what the others answered to its hello, or at least their beats of a whole period.
        heard_all = self._own_beat_s is not None and now_s - self._started_s >= self._beat_s
        return heard_all and all(each.listed for each in self._members.values())
