"""What every bus does, however its frames travel: numbers, beats, and what the receiver is told. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .broker import BEAT, BusStats, Receiver
from .frames import Frame, Incoming, Outgoing, Received, Target, UnreadableFrame, decode, in_order

log = logging.getLogger(__name__)

# What is queued at the most, bytes.
QUEUE_BYTES: Final = 8 << 20

# A node hears itself while the newest of its beats that has come back is no older. So what others had published before
# that is read; a gate's first check (gates.FIRST_CHECK_S) comes after twice that.
UP_S: Final = 2.0


class Exchange:
    """One node's side of a bus.

    Args:
        known: the events that are handed out, with their newest versions; beats always are.

    Attributes:
        heard_s: when the newest beat was put that has come back.
    """

    def __init__(
        self, node: str, receiver: Receiver, known: Mapping[str, int], *, queue_bytes: int = QUEUE_BYTES
    ) -> None:
        self.node = node
        self.stats = BusStats()
        self.up = False
        self._receiver = receiver
        self._outgoing = Outgoing(node, queue_bytes)
        self._incoming = Incoming({**known, BEAT: 1})
        self._beat_s: dict[int, float] = {}  # beats on their way → when they were put
        self._beats = 0
        self._put_s = float("-inf")
        self.heard_s = float("-inf")

    def publish(self, target: Target, head: Mapping[str, Any], body: bytes = b"") -> bool:
        """As Broker.publish."""
        fits = self._outgoing.put(target, head, body)
        if fits:
            self.stats.sent_events += 1
        else:
            self.stats.refused += 1
        self.stats.queued_bytes = self._outgoing.queued_bytes
        return fits

    def skip(self, target: Target) -> None:
        """As Broker.skip."""
        self._outgoing.skip(target)

    def forget(self, node: str) -> None:
        """As Broker.forget."""
        self._outgoing.forget(node)
        self._incoming.forget(node)

    def beat(self, now_s: float) -> None:
        """Put a beat to all. Those that were put more than UP_S before no longer count.

        Who has not put any for so long was away, or frozen, and what it had to say came late.
        """
        if now_s - self._put_s > UP_S:
            self.connected(False)
        self._put_s = now_s
        carried: Mapping[str, Any] = {}
        try:
            carried = self._receiver.beating()
        except Exception:
            log.exception("what the beat is to carry could not be told")
        self._beats += 1
        self._beat_s = {beat: put_s for beat, put_s in self._beat_s.items() if now_s - put_s <= UP_S}
        self._beat_s[self._beats] = now_s
        self.publish(None, {**carried, "e": BEAT, "n": self._outgoing.numbers(), "b": self._beats})

    def take(self) -> list[Frame]:
        """What is to be sent, in order; `sent` when the engine has it."""
        frames = self._outgoing.take()
        self.stats.sent_frames += len(frames)
        return frames

    def sent(self) -> None:
        """What was taken last is with the engine."""
        self._outgoing.sent()
        self.stats.queued_bytes = self._outgoing.queued_bytes

    def read(self, entries: Sequence[tuple[Sequence[bytes], bool]], now_s: float) -> None:
        """What has come, in the order of the streams, and whether each was to all."""
        frames = []
        for fields, to_all in entries:
            try:
                frames.append((decode(fields), to_all))
            except UnreadableFrame as error:
                self.stats.unreadable += 1
                log.warning("somebody else writes to the bus: %s", error)
        for frame, to_all in in_order(frames):
            if frame.sender == self.node:
                self._own(frame, to_all, now_s)
            else:
                self._others(frame, to_all)

    def judge(self, now_s: float) -> None:
        """Find out whether one still hears oneself; call it after reading what has come."""
        if now_s - self.heard_s > UP_S:
            self.connected(False)

    def cut_off(self) -> None:
        """What was on the way may be lost, of anybody's."""
        self.stats.missed["cut_off"] += 1
        self._tell(self._receiver.missed, None)

    def connected(self, up: bool) -> None:
        """Tell the receiver, if that is news."""
        if up != self.up:
            self.up = up
            self._tell(self._receiver.connected, up)

    def _own(self, frame: Received, to_all: bool, now_s: float) -> None:
        _, events = self._incoming.take(frame, to_all=to_all)
        for event in events:
            if event.name == BEAT:
                put_s = self._beat_s.pop(event.head.get("b", 0), None)
                if put_s is not None and now_s - put_s <= UP_S:
                    self.heard_s = put_s
                    self.stats.lag_s = now_s - put_s
                    self.connected(True)
                self._tell(self._receiver.received, self.node, event)

    def _others(self, frame: Received, to_all: bool) -> None:
        missed, events = self._incoming.take(frame, to_all=to_all)
        if missed:
            self._missed(frame.sender)
        self.stats.received_frames += 1
        self.stats.received_events += len(events)
        for event in events:
            numbers = event.head.get("n")
            if (
                event.name == BEAT
                and isinstance(numbers, dict)
                and self._incoming.beat(frame.sender, numbers, self.node)
            ):
                self._missed(frame.sender)
            self._tell(self._receiver.received, frame.sender, event)

    def _missed(self, sender: str) -> None:
        self.stats.missed["hole"] += 1
        self._tell(self._receiver.missed, sender)

    def _tell(self, told: Callable[..., None], *what: object) -> None:
        try:
            told(*what)
        except Exception:
            log.exception("what came over the bus could not be handled")
