"""What is on its way to one client: frames in order, bounded in bytes, written once per event-loop iteration.

Knows no session and no Socket.IO: it gets encoded messages and hands on bytes, to a TCP transport (websocket) or to
whoever answers the client's poll.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable
from typing import Final

from . import packets as engine_packets
from .packets import Encoded

CLOSED: Final = 0
POLLING: Final = 1
WEBSOCKET: Final = 2
DEFLATED: Final = 3
TEXT_ONLY: Final = 4

EAGER_BYTES: Final = 65536
"""Bytes in one iteration past which an outbox is written at once, so that a burst does not pile up unsent."""

_DEFLATE_TAIL: Final = b"\x00\x00\xff\xff"

logger = logging.getLogger(__name__)


class Flusher:
    """Writes every outbox that has something, in one callback per event-loop iteration, for all clients."""

    __slots__ = ("_scheduled", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Outbox] = []
        self._scheduled = False

    def add(self, outbox: "Outbox") -> None:
        """Have `outbox` written at the end of this iteration. Called once per outbox, when its first frame comes."""
        self.waiting.append(outbox)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        waiting, self.waiting = self.waiting, []
        for outbox in waiting:
            try:
                outbox.flush()
            except Exception:
                logger.exception("an outbox could not be written; the others are")


class Outbox:
    """The frames that one client has yet to get.

    Bound: `limit` bytes (0: none), counted together with what the transport has not handed to the kernel yet. When more
    is to be written while more than that waits, `on_overflow` is called, once, with everything unsent already
    forgotten; it must end the client. So one message may be larger than the bound: its reader has had no time for it.

    Attributes:
        mode: CLOSED (everything is dropped), POLLING, WEBSOCKET, DEFLATED (websocket with permessage-deflate) or
            TEXT_ONLY (websocket without binary frames).
        frames, size: what waits here, and its length in bytes.
        written: bytes handed to the transport since the client came, for telling whether it drains.
    """

    __slots__ = (
        "_compressor",
        "_flusher",
        "_keep_context",
        "_waited",
        "frames",
        "limit",
        "mode",
        "on_overflow",
        "on_poll_data",
        "size",
        "transport",
        "written",
    )

    def __init__(self, flusher: Flusher, limit: int, on_overflow: Callable[[], None], mode: int = POLLING) -> None:
        self._flusher = flusher
        self._compressor: zlib._Compress | None = None
        self._keep_context = True
        self.frames: list[bytes] = []
        self.size = 0
        self._waited = 0  # of `size`, what was there at the last flush (polling)
        self.written = 0
        self.limit = limit
        self.mode = mode
        self.on_overflow = on_overflow
        self.on_poll_data: Callable[[], None] | None = None
        self.transport: asyncio.Transport | None = None

    def push(self, message: Encoded) -> None:
        """Append one message. It leaves at the end of this event-loop iteration, with all that came before it."""
        mode = self.mode
        if mode == WEBSOCKET:
            data = message.ws
        elif mode == POLLING:
            data = message.poll
        elif mode == DEFLATED:
            data = self._deflate(message)
        elif mode == TEXT_ONLY:
            data = message.text.ws
        else:
            return
        if not self.frames:
            self._flusher.add(self)
        self.frames.append(data)
        self.size += len(data)
        if self.size > EAGER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is queued: one `transport.write`, or wake the pending poll."""
        frames = self.frames
        if self.mode == POLLING:
            if frames and self.on_poll_data is not None:
                self.on_poll_data()
            if self.limit and self.size > self._waited > self.limit:
                self._overflow()
            self._waited = self.size
            return
        transport = self.transport
        if not frames or transport is None:
            if self.limit and self.size > self.limit:
                self._overflow()
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        # A new list would do too, but this one may already be waiting in the flusher under its first frame.
        frames.clear()
        self.size = 0
        if transport.is_closing():
            return
        if self.limit and transport.get_write_buffer_size() > self.limit:
            self._overflow()
            return
        self.written += len(data)
        transport.write(data)

    @property
    def unsent(self) -> int:
        """Bytes that wait here or in the transport's buffer."""
        if self.transport is None:
            return self.size
        return self.size + self.transport.get_write_buffer_size()

    @property
    def drained(self) -> int:
        """Bytes that the kernel has taken since the client came (websocket)."""
        if self.transport is None:
            return 0
        return self.written - self.transport.get_write_buffer_size()

    def take(self) -> bytes:
        """Hand over everything queued as one polling payload."""
        payload = engine_packets.SEPARATOR.join(self.frames)
        self.frames.clear()
        self.size = self._waited = 0
        return payload

    def to_websocket(
        self,
        transport: asyncio.Transport,
        compress_bits: int = 0,
        keep_context: bool = True,
        text_only: bool = False,
    ) -> None:
        """Go on over a websocket; what was queued for polling leaves first, in its order.

        Args:
            compress_bits: the window that permessage-deflate negotiated (9 to 15), 0 for no compression.
            keep_context: whether one message's compression may refer to the ones before.
            text_only: whether binary messages go as text, in base64; nothing is compressed then.
        """
        polled = self.mode == POLLING
        waiting = engine_packets.poll_to_frames(self.frames, text_only) if polled else b"".join(self.frames)
        self.frames.clear()
        self.size = 0
        self.transport = transport
        self.mode = TEXT_ONLY if text_only else WEBSOCKET
        if compress_bits and not text_only:
            self.mode = DEFLATED
            self._keep_context = keep_context
            self._compressor = zlib.compressobj(1, zlib.DEFLATED, -compress_bits)
        if waiting:
            self._flusher.add(self)
            self.frames.append(waiting)
            self.size = len(waiting)

    def close(self) -> None:
        """Forget what is queued; whatever is pushed from now on is dropped."""
        self.mode = CLOSED
        self.frames.clear()
        self.size = 0

    def _overflow(self) -> None:
        self.frames.clear()
        self.size = 0
        self.on_overflow()

    def _deflate(self, message: Encoded) -> bytes:
        # Compressed when it is queued, in its final order: the compressor's window runs through all messages.
        frames = []
        opcode = engine_packets.TEXT
        packets = message.packets
        if message.ws[0] & 0xF == engine_packets.BINARY:
            opcode = engine_packets.BINARY
        for packet in packets:
            compressor = self._compressor
            assert compressor is not None
            body = compressor.compress(packet)
            if self._keep_context:
                body += compressor.flush(zlib.Z_SYNC_FLUSH)
            else:
                body += compressor.flush(zlib.Z_FULL_FLUSH)
            flags = engine_packets.FINAL | engine_packets.RSV1
            frames.append(engine_packets.frame(opcode, body.removesuffix(_DEFLATE_TAIL), flags))
            opcode = engine_packets.BINARY
        return b"".join(frames)
