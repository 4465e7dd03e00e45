"""Reads past messages that are too large, so that their client gets an answer and its connection goes on. Pure.

Of such a message only the head is kept, in which the ack id stands; the rest is dropped as it comes, so that a client
costs no more memory than the largest message that is taken. `FrameSkipper` does that for WebSocket frames,
`PayloadSplitter` for the body of a POST.
Source: RFC 6455 section 5.2 and 5.4; the Engine.IO protocol, revision 4, "Packet encoding".
"""

import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp._websocket.helpers import websocket_mask

from . import packets as engine_packets
from .packets import SEPARATOR

HEAD_BYTES: Final = 100
"""What is kept of a message that is too large; with our mark it fits into a control frame (125 bytes at most)."""

_PONG: Final = bytes([engine_packets.FINAL | engine_packets.PONG])
_MARK_BYTES: Final = 16
_ENDLESS: Final = struct.pack("!BBQ", engine_packets.FINAL | engine_packets.BINARY, 127, 1 << 62)
"""The head of a frame that every parser with a limit refuses as too big."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that was too large.

    Attributes:
        binary: whether it was a binary message (an attachment).
        head: its first bytes; of a text message with the Engine.IO type digit.
    """

    binary: bool
    head: bytes


def base64_bytes(limit: int) -> int:
    """How long the text form ("b" and base64) of a binary message of `limit` bytes is."""
    return 1 + (limit + 2) // 3 * 4


class FrameSkipper:
    """Stands before a WebSocket parser, and hands on the frames that it may have.

    A message over the limit becomes a pong that nobody could forge (`skipped` reads it), at its place in the stream,
    which stays a valid one whatever the parser does with it. Fragments of a message are joined here, because only the
    last one shows how large it is. Compressed messages and violations of the protocol are the parser's to judge.

    Args (bytes):
        limit: the largest message that is handed on; of a binary message in base64, what it says.
        most: the largest message that is read past, 0 for any. Beyond it the parser is made to refuse it.

    Attributes:
        fragments: how many frames were found that are only a part of a message, which costs as much as a whole one.
    """

    __slots__ = (
        "_fragment",
        "_head",
        "_joined",
        "_left",
        "_limit",
        "_mark",
        "_mask",
        "_most",
        "_opcode",
        "_passing",
        "_rest",
        "_short",
        "_size",
        "_skipping",
        "fragments",
    )

    def __init__(self, limit: int, most: int) -> None:
        self._limit = limit
        self._short = limit + 6  # a frame of this length, header and all, is short enough
        self._most = max(limit, most) if most else 1 << 62
        self._mark = b""  # made for the first message that is skipped: few clients ever send one
        self._rest = b""  # the beginning of a frame's header
        self._left = 0  # bytes of the current frame's payload that are still to come
        self._mask = b""  # the key for the next of them; empty: not masked
        self._passing = False  # whether the rest of the connection is left to the parser
        self._opcode = 0  # of the message that is skipped, or comes in fragments; 0: there is none
        self._fragment = False  # whether more frames of it are to come
        self._skipping = False
        self._size = 0
        self._head = bytearray()
        self._joined = bytearray()
        self.fragments = 0

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come over the wire. Returns those for the parser."""
        # One whole text frame, as nearly all are.
        size = len(data)
        if 5 < size <= self._short and data[0] == 0x81 and not (self._left or self._opcode or self._rest):
            length = data[1] - 0x80
            if length == size - 6 if length < 126 else length == 126 and size - 8 == data[2] << 8 | data[3]:
                return data
        return self._feed(data)

    def skipped(self, pong: bytes) -> Skipped | None:
        """Read a pong that the parser has found; None for one that is the client's own."""
        if not self._mark or not pong.startswith(self._mark):
            return None
        return Skipped(pong[_MARK_BYTES] == engine_packets.BINARY, bytes(pong[_MARK_BYTES + 1 :]))

    def _feed(self, data: bytes) -> bytes:
        if self._rest:
            data, self._rest = self._rest + data, b""
        out: list[bytes] = []
        position = kept = 0  # what lies between the two is handed on as it is
        end = len(data)
        while position < end and not self._passing:
            if self._left:
                taken = min(self._left, end - position)
                if self._opcode:
                    self._take(data[position : position + taken])
                    kept = position + taken
                position += taken
                self._left -= taken
            else:
                start = position
                position = self._header(data, start)
                if position < 0:
                    self._rest = data[start:]
                    out.append(data[kept:start])
                    kept = end
                    break
                if self._passing:
                    out += (data[kept:start], _ENDLESS if position > start else self._unfinished())
                    kept = position
                elif self._opcode and data[start] & 0xF < 8:
                    out.append(data[kept:start])
                    kept = position
            if not self._left and self._opcode and not self._fragment and not self._passing:
                out.append(self._whole())
        out.append(data[kept:])
        return out[0] if len(out) == 1 else b"".join(out)

    def _header(self, data: bytes, start: int) -> int:
        """Read the header of a frame. Returns where its payload begins, -1 if more bytes are needed.

        Once it is `_passing`: `start` for what violates the protocol, the data's end for what is too large to skip.
        """
        if len(data) - start < 2:
            return -1
        first, second = data[start], data[start + 1]
        opcode, final, size = first & 0xF, first & 0x80, second & 0x7F
        at = start + 2
        if size == 126:
            if len(data) < at + 2:
                return -1
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
        elif size == 127:
            if len(data) < at + 8:
                return -1
            size = int.from_bytes(data[at : at + 8], "big")
            at += 8
        mask = b""
        if second & 0x80:
            if len(data) < at + 4:
                return -1
            mask = data[at : at + 4]
            at += 4
        if opcode >= 8:
            if first & 0x70 or not final or size > 125 or opcode > 0xA:
                self._passing = True
                return start
            # The message that it may stand in the middle of goes on after it.
            if len(data) < at + size:
                return -1
            return at + size
        if first & 0x70 or opcode > 2 or bool(opcode) == bool(self._opcode):
            self._passing = True
            return start
        if not (opcode and final):
            self.fragments += 1
        total = self._size + size
        if total > self._most:
            self._passing = True
            return len(data)
        if opcode and final and total <= self._limit:
            self._left = size
            return at
        if not self._skipping and total > self._limit:
            if not self._size and size and len(data) == at:
                return -1  # the first byte tells how much is allowed
            beginning = self._joined[:1] or bytes([data[at] ^ mask[0] if mask else data[at]])
            encoded = (opcode or self._opcode) == engine_packets.TEXT and beginning == b"b"
            if not encoded or total > base64_bytes(self._limit):
                self._skipping = True
                self._head += self._joined[:HEAD_BYTES]
                self._joined.clear()
            elif opcode and final:
                self._left = size
                return at
        self._opcode = opcode or self._opcode
        self._fragment = not final
        self._size = total
        self._left = size
        self._mask = mask
        return at

    def _take(self, part: bytes) -> None:
        """Take a part of the payload of a message that is skipped or joined."""
        if self._skipping:
            part = part[: HEAD_BYTES - len(self._head)]
        if not part:
            return
        plain = bytearray(part)
        if self._mask:
            websocket_mask(self._mask, plain)
            turn = len(part) % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
        if self._skipping:
            self._head += plain
        else:
            self._joined += plain

    def _unfinished(self) -> bytes:
        """What the parser gets of a message in fragments in the middle of which the protocol is violated."""
        return engine_packets.frame(self._opcode, bytes(self._joined), flags=0) if self._opcode else b""

    def _whole(self) -> bytes:
        """The message is there to its end: what the parser gets for it."""
        if self._skipping:
            self._mark = self._mark or secrets.token_bytes(_MARK_BYTES)
            body = self._mark + bytes([self._opcode]) + self._head
            frame = _PONG + bytes([len(body)]) + body
        else:
            frame = engine_packets.frame(self._opcode, bytes(self._joined))
        self._opcode = self._size = 0
        self._skipping = False
        self._head.clear()
        self._joined = bytearray()
        return frame


class PayloadSplitter:
    """Splits the body of a POST into packets while it comes in.

    Args:
        limit: the largest packet that is handed on, in bytes; 0 for any.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._part = bytearray()
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | Skipped]:
        """Take a piece of the body. Yields the packets that end in it."""
        *ends, rest = piece.split(SEPARATOR)
        for end in ends:
            self._add(end)
            yield self.end()
        self._add(rest)

    def end(self) -> bytes | Skipped:
        """The body, or a packet, is over: the packet that was last."""
        part, self._part = bytes(self._part), bytearray()
        if not self._skipping:
            return part
        self._skipping = False
        return Skipped(part[:1] == b"b", part)

    def _add(self, part: bytes) -> None:
        if self._skipping:
            return
        self._part += part
        if not self._limit or len(self._part) <= self._limit:
            return
        if self._part[:1] != b"b" or len(self._part) > base64_bytes(self._limit):
            self._skipping = True
            del self._part[HEAD_BYTES:]
