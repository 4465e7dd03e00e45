"""What a bus between nodes promises. tests/contract holds every implementation to it.

Nothing on it is kept for long, and nothing depends on it: it makes quick what the store makes certain. So it never
waits, and may lose, but tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .frames import Event, Target

BEAT = "beat"


class BusUnusable(Exception):
    """The engine will not become usable by waiting: a wrong address, password, version or setting. Raised by `open`;
    its text says what is to be mended."""


@dataclass(slots=True)
class BusStats:
    """Since the start, for one node.

    Attributes:
        sent_frames, sent_events, received_frames, received_events: what went out, and what was handed out.
        refused: events for which the queue had no room.
        missed: how often something was missed, by why: "hole" in the numbers, "cut_off" from the engine so that it may
            be another one.
        unreadable: entries of the streams that no node has written.
        connects: how often the engine was reached anew.
        queued_bytes: what waits now.
        lag_s: how long the newest of one's own beats took to come back.
    """

    sent_frames: int = 0
    sent_events: int = 0
    received_frames: int = 0
    received_events: int = 0
    refused: int = 0
    missed: dict[str, int] = field(default_factory=lambda: {"hole": 0, "cut_off": 0})
    unreadable: int = 0
    connects: int = 0
    queued_bytes: int = 0
    lag_s: float = 0.0


class Receiver(Protocol):
    """A node, as its bus sees it. All of it is called on the event loop and must not wait; what it raises is logged."""

    def received(self, sender: str, event: Event) -> None:
        """Something has come. Of one's own events only the beats come back.

        Order: as its sender has published it, over both ways, to this node and to all. Once.
        """

    def missed(self, sender: str | None) -> None:
        """Something of that sender's was lost; None: of anybody's. Comes before what was published after it."""

    def connected(self, up: bool) -> None:
        """Whether one's own beats come back. Told when it changes; before the first time it is not so."""

    def beating(self) -> Mapping[str, Any]:
        """What the next beat is to carry, as JSON: beside "e" and "n", which are the bus' own."""
        ...


class Broker(Protocol):
    """A node's way to the others.

    Never waits: what is published goes into a bounded queue; what one turn of the loop puts to one target is one frame,
    unless it is large or order asks for more.
    Order: what a node has published is received in that order, to whichever target it went. Once.
    Loss is told: frames are numbered per sender and target, and a beat, each second, carries the newest numbers.
    Silence proves nothing: a node that does not see its own beats come back connects anew. One that was frozen itself
    reads first what has come meanwhile.
    An engine that is away is waited for, for ever, with pauses of 50 ms to 2 s; what was queued goes out then.
    """

    async def open(self, node: str, receiver: Receiver) -> None:
        """Begin, as a node with that id, which is new at each start. Does not wait for an engine that is away.

        Raises: BusUnusable.
        """

    async def close(self) -> None:
        """Send what waits, as far as the engine takes it within two seconds, and end. Nothing is called afterwards."""

    def publish(self, target: Target, head: Mapping[str, Any], body: bytes = b"") -> bool:
        """Send an event to a node, or to all others (None).

        Returns: False if there is no room for it. Nothing has happened then: who must be told calls `skip`.
        """
        ...

    def skip(self, target: Target) -> None:
        """Have the target find that something was missed, in order with what is published."""

    def forget(self, node: str) -> None:
        """A node is no more. Should it be back, all that it says counts as missed up to then."""

    @property
    def up(self) -> bool:
        """Whether one's own beats come back."""
        ...

    @property
    def stats(self) -> BusStats:
        """What it has done, and how it is."""
        ...
