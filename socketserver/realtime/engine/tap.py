"""All bytes of one WebSocket connection, on their way from aiohttp's protocol to its parser: weighed, in slices, and
held back while the client is over its rate or the turn of the event loop is used up.

It needs nothing of the HTTP server but `set_parser`, so that it works in any aiohttp application.
"""

import asyncio
from typing import Any, Final, Protocol

from .intake import LOOK_BYTES, MAX_WAIT_S, READ_BYTES, SLICE_BYTES, Intake, Meter

GO_ON: Final = (False, b"")


class Tapped(Protocol):
    """The connection whose bytes these are.

    Attributes:
        plugged: whether its parser is stalled.
        closing: whether it has said goodbye.
    """

    plugged: bool
    closing: bool
    transport: asyncio.Transport | None

    def flooded(self) -> None:
        """More has come in than may, for too long."""


class Tap:
    """Stands where aiohttp's protocol has its WebSocket parser (`feed_data`, `feed_eof`).

    Args:
        reader: the parser. Must be fed in slices: between two frames it looks whether it is stalled.
        protocol: aiohttp's, to be closed when the parser has had enough.

    Attributes:
        gated: whether the socket is not read from because of what has come in.
    """

    __slots__ = (
        "_at",
        "_ended",
        "_feed",
        "_held",
        "_intake",
        "_link",
        "_meter",
        "_over",
        "_protocol",
        "_reader",
        "_stalled",
        "_timer",
        "gated",
    )

    def __init__(self, intake: Intake, meter: Meter, link: Tapped, reader: Any, protocol: Any) -> None:
        self._intake = intake
        self._meter = meter
        self._link = link
        self._reader = reader
        self._feed = reader.feed_data
        self._protocol = protocol
        self._held = b""
        self._at = 0
        self._stalled = False
        self._ended = False
        self._over = False  # whether what comes is dropped unparsed
        self._timer: tuple[int, int] | None = None
        self.gated = False

    # Called by aiohttp

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what has been read. Returns what aiohttp's parser does: whether the connection is over, and b""."""
        size = len(data)
        intake, meter = self._intake, self._meter
        meter.weight += READ_BYTES
        if self.gated:
            self._hold(data)
            return GO_ON
        if size > SLICE_BYTES or self._over or (intake.closed and not intake.first(meter)):
            if self._link.closing or self._over:
                # Its client has been told already. Read on, so that TCP does not reset the connection before the client
                # has read why, but spend nothing on it; the link's timer ends it.
                self._over = True
                return GO_ON
            self._held, self._at = data, 0
            if intake.closed or self.visit():
                self._gate()
                intake.queue(meter, self.visit)
            return GO_ON
        meter.weight += size
        intake.weight += size + READ_BYTES
        result: tuple[bool, bytes] = self._feed(data)
        if meter.weight > LOOK_BYTES:
            self._settle()
        if intake.weight > LOOK_BYTES:
            intake.look()
        return result

    def feed_eof(self) -> None:
        """The connection is gone. What it had brought by then is still taken."""
        self._ended = True
        if not self.gated:
            self._reader.feed_eof()

    # Called by the link

    def wake(self) -> None:
        """Its parser is not stalled any more."""
        if self._stalled:
            self._stalled = False
            self._intake.queue(self._meter, self.visit)

    def stop(self) -> None:
        """Forget what was held: nobody takes it any more."""
        self._intake.wheel.cancel(self._timer)
        self._timer = None
        self._held = b""
        self._at = 0

    # Called by the intake

    def visit(self) -> bool:
        """Give the parser what was held, for one visit of the intake's. Returns whether there is more."""
        intake, meter, link = self._intake, self._meter, self._link
        until = intake.weight + LOOK_BYTES
        while self._at < len(self._held):
            if link.closing:
                self._over = True
                break
            if link.plugged:
                self._gate()
                self._stalled = True
                return False
            part = self._held[self._at : self._at + SLICE_BYTES]
            self._at += len(part)
            meter.weight += len(part)
            intake.weight += len(part)
            over, _ = self._feed(part)
            if over:
                self.stop()
                self._protocol.close()
                break
            if meter.weight > LOOK_BYTES and self._settle():
                return False
            if intake.weight > until or (intake.weight > LOOK_BYTES and intake.look()):
                if self._at < len(self._held):
                    self._gate()
                    return True
                break
        self._held, self._at = b"", 0
        self._open()
        return False

    def _settle(self) -> bool:
        """Charge what came in. Returns whether the client has to wait, or is ended."""
        wait_s = self._meter.settle(self._intake.wheel.clock())
        if not wait_s or self._link.closing:
            return False
        self._gate()
        if self._intake.flooding(self._meter):
            self._intake.flooded += 1
            self.stop()
            self._link.flooded()
            return True
        self._intake.paused += 1
        self._timer = self._intake.wheel.after(min(wait_s, MAX_WAIT_S), self._waited)
        return True

    def _waited(self) -> None:
        self._timer = None
        if not self._settle():
            self._intake.queue(self._meter, self.visit)

    def _hold(self, data: bytes) -> None:
        # Somebody else has let aiohttp read again, or uvloop had read before it was paused.
        self._held = self._held[self._at :] + data
        self._at = 0
        self._gate()

    def _gate(self) -> None:
        self.gated = True
        transport = self._link.transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def _open(self) -> None:
        if not self.gated:
            return
        self.gated = False
        if self._ended:
            self._reader.feed_eof()
            return
        transport = self._link.transport
        if transport is not None and not transport.is_closing() and not self._link.plugged:
            transport.resume_reading()
