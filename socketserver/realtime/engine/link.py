"""One websocket connection: what comes in, how reading is held back, and how it is closed.

Knows its session only as a `Receiver`, and aiohttp's parser only by the messages that it hands over.
Source: RFC 6455 sections 5 and 7.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiohttp import WebSocketError, WSCloseCode, WSMsgType

from . import packets
from .inbox import Inbox
from .intake import Meter
from .outbox import EAGER_BYTES
from .reasons import Gone
from .skipping import FrameSkipper, Skipped
from .tap import Tap
from .wheel import Timer, Wheel

CLOSE_WAIT_S: Final = 1.0
"""Seconds that a client may take to answer our close frame."""
ABORT_WAIT_S: Final = 0.2
"""Seconds that the last words to a client that does not drain may take."""


class Receiver(Protocol):
    """The session that a websocket carries."""

    inbox: Inbox

    async def work(self) -> None:
        """Handle what waits in the inbox."""

    def skip(self, message: Skipped) -> None:
        """The client has sent a message that is too large."""

    def drop(self, reason: str, detail: str = "", *, code: int | None = None) -> None:
        """End the session of a client that broke a rule or a bound."""


class Queue(Protocol):
    """What stands behind the parser."""

    def plug(self) -> None:
        """Stall the parser, and stop reading."""

    def unplug(self) -> None:
        """Go on."""


class Link:
    """One websocket connection: gives what comes in to `sink`, and can be plugged and closed.

    Attributes:
        sink: gets every message, str or bytes. Must not raise.
        lost: called once when the connection is over, however.
        plugged: whether reading is held back.
        closing: whether a close frame was sent.
        finished: whether the connection is over.
        noops: how many polls were ended so that the client can go on here.
        session: whose events `run` handles; None until an upgrade is complete.
        meter: the client's; what comes in here is charged to it.
        tap: what all bytes come through; None without limits on what comes in.
    """

    def __init__(
        self,
        wheel: Wheel,
        meter: Meter,
        sink: Callable[[str | bytes], None],
        lost: Callable[[str], None],
    ) -> None:
        self._wheel = wheel
        self.meter = meter
        self.tap: Tap | None = None
        self.sink = sink
        self.lost = lost
        self.plugged = False
        self.finished = False
        self.noops = 0
        self.session: Receiver | None = None
        self.closing = False
        self._timer: Timer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.queue: Queue | None = None
        self.skipper: FrameSkipper | None = None

    # Called by the parser

    def message(self, kind: WSMsgType, data: Any) -> None:
        """Take one WebSocket message. RFC 6455 section 5."""
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            if not self.closing:
                self.sink(data)
        elif kind is WSMsgType.PONG:
            skipped = self.skipper.skipped(data) if self.skipper is not None else None
            if skipped is not None and not self.closing:
                self._skip(skipped)
        elif kind is WSMsgType.PING:
            # a client that pings without reading gets no answer to all of them (RFC 6455 section 5.5.3 allows that)
            if self.transport is not None and self.transport.get_write_buffer_size() < EAGER_BYTES:
                self._write(packets.frame(packets.PONG, data))
        elif kind is WSMsgType.CLOSE:
            if not self.closing:
                self.lost(Gone.TRANSPORT_CLOSE)
                self.close(1000)
            self._end()

    def flooded(self) -> None:
        """More has come in than may, for too long."""
        if self.session is not None:
            self.session.drop(Gone.FLOODING)
        self.close(1008)

    def broken(self, exc: BaseException | None) -> None:
        """The connection is gone, or what came over it is no WebSocket frame."""
        if isinstance(exc, WebSocketError) and not self.closing:
            # 1009 too big, 1002 protocol error, 1007 not UTF-8
            if self.session is not None and exc.code == WSCloseCode.MESSAGE_TOO_BIG:
                self.session.drop(Gone.TOO_LARGE, "beyond what is read past")
            elif self.session is not None:
                self.session.drop(Gone.MALFORMED, "no WebSocket message", code=exc.code)
            self.close(exc.code)
            self.lost(Gone.TRANSPORT_ERROR)
            # One that is too large is on its way still. Closed now, with bytes unread, TCP would reset the connection,
            # and the client would never read why: what comes is dropped until the close frame's time is over.
            if exc.code != WSCloseCode.MESSAGE_TOO_BIG:
                self._end()
        else:
            self.finished = True
            self.lost(Gone.TRANSPORT_CLOSE)
            self._end()

    # Called by the session

    def plug(self) -> None:
        """Stop reading. What the parser already holds stays unparsed."""
        if not self.plugged and self.queue is not None and not self.closing:
            self.plugged = True
            self.queue.plug()

    def unplug(self) -> None:
        """Go on reading."""
        if self.plugged and self.queue is not None:
            self.plugged = False
            self.queue.unplug()
            if self.tap is not None and not self.plugged:
                self.tap.wake()

    @property
    def unread(self) -> bool:
        """Whether the socket is not read from at present."""
        return self.plugged or (self.tap is not None and self.tap.gated)

    def close(self, code: int) -> None:
        """Send a close frame and end the connection when the client answers, or after a second."""
        if self.closing:
            return
        self.closing = True
        if self.transport is None:  # the handshake is still under way; whoever serves it looks at `finished`
            self._finish()
            return
        self._write(packets.frame(packets.CLOSE, code.to_bytes(2, "big")))
        self.unplug()
        if not self.finished:
            self._timer = self._wheel.after(CLOSE_WAIT_S, self._end)

    def abort_soon(self) -> None:
        """End the connection in a moment, whether or not anything could be written."""
        if not self.finished:
            self._wheel.cancel(self._timer)
            self._timer = self._wheel.after(ABORT_WAIT_S, self.abort)

    def abort(self) -> None:
        """Cut the connection. What was not sent is lost."""
        self.closing = True
        self.unplug()
        if self.transport is not None:
            self.transport.abort()
        self._finish()

    def wake(self) -> bool:
        """Wake the request's task. Returns False when it is busy or gone."""
        waiter = self._waiter
        if waiter is None:
            return False
        self._waiter = None
        if waiter.done():
            return False
        waiter.set_result(None)
        return True

    async def run(self) -> None:
        """Handle the session's events in the request's task until the connection is over."""
        while True:
            session = self.session
            if session is not None and session.inbox.has_work:
                await session.work()
            elif self.finished:
                return
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def _skip(self, message: Skipped) -> None:
        if self.session is not None:
            self.session.skip(message)
        else:  # an upgrade that does not begin as one
            self.lost(Gone.TRANSPORT_ERROR)
            self.close(WSCloseCode.MESSAGE_TOO_BIG)

    def _write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def _end(self) -> None:
        # asyncio writes what is buffered before it closes
        if self.transport is not None:
            unsent = self.transport.get_write_buffer_size()
            self.transport.close()
            if unsent and not self.finished:
                self.abort_soon()
                return
        self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._wheel.cancel(self._timer)
        self._timer = None
        if self.tap is not None:
            self.tap.stop()
        self.wake()
