"""All bytes of one WebSocket connection, on their way from aiohttp's protocol to its parser: weighed, in slices, and
held back while the client is over its rate or the turn of the event loop is used up.

It needs nothing of the HTTP server but `set_parser`, so that it works in any aiohttp application.
"""

import asyncio
from typing import Any, Final, Protocol

from .intake import LOOK_BYTES, READ_BYTES, SLICE_BYTES, Intake, Meter
from .slices import Slices

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
    """

    __slots__ = ("_ended", "_feed", "_intake", "_link", "_meter", "_over", "_protocol", "_reader", "_slices")

    def __init__(self, intake: Intake, meter: Meter, link: Tapped, reader: Any, protocol: Any) -> None:
        self._intake = intake
        self._meter = meter
        self._link = link
        self._reader = reader
        self._feed = reader.feed_data
        self._protocol = protocol
        self._ended = False
        self._over = False  # whether what comes is dropped unparsed
        self._slices = Slices(intake, meter, self)

    @property
    def gated(self) -> bool:
        """Whether the socket is not read from because of what has come in."""
        return self._slices.gated

    # Called by aiohttp

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what has been read. Returns what aiohttp's parser does: whether the connection is over, and b""."""
        size = len(data)
        intake, meter = self._intake, self._meter
        meter.weight += READ_BYTES
        if self._slices.gated:
            self._slices.hold(data)
            return GO_ON
        if size > SLICE_BYTES or self._over or (intake.closed and not intake.first(meter)):
            if self._link.closing or self._over:
                # Its client has been told already. Read on, so that TCP does not reset the connection before the client
                # has read why, but spend nothing on it; the link's timer ends it.
                self._over = True
                return GO_ON
            self._slices.begin(data, later=intake.closed)
            return GO_ON
        meter.weight += size
        intake.weight += size + READ_BYTES
        result: tuple[bool, bytes] = self._feed(data)
        if meter.weight > LOOK_BYTES:
            self._slices.settle()
        if intake.weight > LOOK_BYTES:
            intake.look()
        return result

    def feed_eof(self) -> None:
        """The connection is gone. What it had brought by then is still taken."""
        self._ended = True
        if not self._slices.gated:
            self._reader.feed_eof()

    # Called by the link

    def wake(self) -> None:
        """Its parser is not stalled any more."""
        self._slices.wake()

    def stop(self) -> None:
        """Forget what was held: nobody takes it any more."""
        self._slices.clear()

    # Called by the slices

    def stalled(self) -> bool:
        return self._link.plugged and not self._link.closing

    def take(self, part: bytes) -> bool:
        if self._link.closing:
            self._over = True
            return False
        self._meter.weight += len(part)
        self._intake.weight += len(part)
        over, _ = self._feed(part)
        if over:
            self.stop()
            self._protocol.close()
        return not over

    def bounded(self) -> bool:
        return not self._link.closing

    def flooding(self) -> bool:
        if not self._intake.flooding(self._meter):
            return False
        self._intake.flooded += 1
        self.stop()
        self._link.flooded()
        return True

    def pause(self) -> None:
        transport = self._link.transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def resume(self) -> None:
        if self._ended:
            self._reader.feed_eof()
            return
        transport = self._link.transport
        if transport is not None and not transport.is_closing() and not self._link.plugged:
            transport.resume_reading()
