"""What one connection has brought, given to its parser slice by slice: in visits of the intake's, and not while the
client is over its rate. Knows neither the socket nor the parser; HTTP connections and websockets do the same here.
"""

import asyncio
from typing import Protocol

from .intake import LOOK_BYTES, MAX_WAIT_S, SLICE_BYTES, Intake, Meter


class Source(Protocol):
    """The connection that brings the bytes, with its parser."""

    def stalled(self) -> bool:
        """Whether the parser takes nothing now. Once it does again, the connection calls `Slices.wake`."""

    def take(self, part: bytes) -> bool:
        """Weigh a slice and parse it. Returns False when nothing more is wanted: what is held then is dropped."""

    def bounded(self) -> bool:
        """Whether the client has to wait while it is over its rate."""

    def flooding(self) -> bool:
        """Whether the client, which is over its rate, goes for that; then it is ended here."""

    def pause(self) -> None:
        """Read no more from the socket. Called again while it is paused."""

    def resume(self) -> None:
        """Read on."""


class Slices:
    """The bytes of one connection that are held.

    Attributes:
        gated: whether the socket is not read from, because of what it has brought.
    """

    __slots__ = ("_at", "_held", "_intake", "_meter", "_source", "_stalled", "_timer", "gated")

    def __init__(self, intake: Intake, meter: Meter, source: Source) -> None:
        self._intake = intake
        self._meter = meter
        self._source = source
        self._held = b""
        self._at = 0
        self._stalled = False
        self._timer: asyncio.TimerHandle | None = None
        self.gated = False

    def begin(self, data: bytes, *, later: bool) -> None:
        """Give out what was read while nothing was held.

        Args:
            later: not before the next turn.
        """
        self._held, self._at = data, 0
        if later:
            self.gate()
        if later or self.visit():
            self._intake.queue(self._meter, self.visit)

    def hold(self, data: bytes) -> None:
        """Keep what came although nothing is read: somebody else has let it be, or uvloop had read before the pause."""
        self._held = self._held[self._at :] + data
        self._at = 0
        self.gate()

    def wake(self) -> None:
        """The parser takes something again."""
        if self._stalled:
            self._queue()

    def clear(self) -> None:
        """Forget what is held: nobody takes it any more."""
        self._held, self._at = b"", 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def visit(self) -> bool:
        """Give the parser what is held, for one visit of the intake's. Returns whether there is more."""
        intake, meter, source = self._intake, self._meter, self._source
        until = intake.weight + LOOK_BYTES
        while self._at < len(self._held):
            if source.stalled():
                self.gate()
                self._stalled = True
                return False
            part = self._held[self._at : self._at + SLICE_BYTES]
            self._at += len(part)
            if not source.take(part):
                break
            if meter.weight > LOOK_BYTES and self.settle():
                return False
            if intake.weight > until or (intake.weight > LOOK_BYTES and intake.look()):
                if self._at < len(self._held):
                    self.gate()
                    return True
                break
        self._held, self._at = b"", 0
        if self.gated and self._timer is None:
            self.gated = False
            self._source.resume()
        return False

    def settle(self) -> bool:
        """Charge what came in. Returns whether the client has to wait, or is ended."""
        wait_s = self._meter.settle(self._intake.wheel.clock())
        if not wait_s or not self._source.bounded():
            return False
        self.gate()
        if self._source.flooding():
            self.clear()
        elif self._timer is None:
            self._intake.paused += 1
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(wait_s, MAX_WAIT_S), self._waited)
        return True

    def gate(self) -> None:
        """Read no more for now."""
        self.gated = True
        self._source.pause()

    def _waited(self) -> None:
        self._timer = None
        if not self.settle():
            self._queue()

    def _queue(self) -> None:
        self._stalled = False
        self._intake.queue(self._meter, self.visit)
