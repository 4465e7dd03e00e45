"""Engine.IO 4 packets and payloads, and the WebSocket frames they travel in. Pure; knows no socket.

A text packet is a type digit and its data; a binary message is a bare binary frame on a websocket, and "b" plus
base64 in a polling payload, whose packets are separated by the record separator (0x1e).
Source: the Engine.IO protocol, revision 4, "Packet encoding"; RFC 6455 section 5.2 for the frames.
"""

import base64
import struct
from collections.abc import Iterable
from typing import Final

SEPARATOR: Final = b"\x1e"

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PONG: Final = 0xA

FINAL: Final = 0x80
RSV1: Final = 0x40  # set on a compressed message, RFC 7692 section 6


class PacketError(ValueError):
    """A packet that the protocol does not allow. `str(exc)` is the reason, short and without the client's data."""


def frame(opcode: int, payload: bytes, flags: int = FINAL) -> bytes:
    """Return a complete, unmasked WebSocket frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", flags | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", flags | opcode, 126, size) + payload
    return struct.pack("!BBQ", flags | opcode, 127, size) + payload


_SHORT_TEXT: Final = tuple(bytes((FINAL | TEXT, size)) for size in range(126))
"""The heads of text frames that are shorter than 126 bytes."""


class Encoded:
    """One message as bytes, made once and shared by everybody who gets it. Immutable.

    Attributes:
        packets: the first is a text packet with its Engine.IO type ("42[...]"); any more are raw attachments.
        ws: the complete WebSocket frames of all packets, uncompressed.
        poll: the same as part of a polling payload.
    """

    __slots__ = ("_poll", "packets", "ws")

    def __init__(self, packets: tuple[bytes, ...]) -> None:
        self.packets = packets
        packet = packets[0]
        size = len(packet)
        # As `frame` does, which would be a call more for each message.
        self.ws = _SHORT_TEXT[size] + packet if size < 126 else frame(TEXT, packet)
        if len(packets) > 1:
            self.ws += b"".join([frame(BINARY, packet) for packet in packets[1:]])
        self._poll: bytes | None = None

    @property
    def text(self) -> "Encoded":
        """The same for a client that asked for text only (`b64=1`): attachments in base64, in text frames."""
        if len(self.packets) == 1 and self.ws[0] & 0xF == TEXT:
            return self
        text = Encoded(tuple(self.poll.split(SEPARATOR)))
        text.ws = b"".join([frame(TEXT, packet) for packet in text.packets])
        return text

    @property
    def poll(self) -> bytes:
        """The packets as they stand in a polling payload; made when the first polling client needs them."""
        if self._poll is None:
            self._poll = SEPARATOR.join(
                [self.packets[0], *(b"b" + base64.b64encode(packet) for packet in self.packets[1:])]
            )
        return self._poll


def binary_message(data: bytes) -> Encoded:
    """Return a bare binary message (an Engine.IO message without Socket.IO)."""
    encoded = Encoded((b"",))
    encoded.packets = (data,)
    encoded.ws = frame(BINARY, data)
    encoded._poll = b"b" + base64.b64encode(data)
    return encoded


def decode_base64(text: str | bytes) -> bytes:
    """Decode a binary message from its text form, without its "b".

    Raises: PacketError.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise PacketError("invalid base64") from exc


def decode_packet(part: bytes) -> str | bytes:
    """Decode one packet of a polling payload: text with its type digit, or bytes for a binary message.

    Raises: PacketError for an empty packet, an unknown type, bad base64 or bad UTF-8.
    """
    if part[:1] == b"b":
        return decode_base64(part[1:])
    try:
        text = part.decode()
    except UnicodeDecodeError as exc:
        raise PacketError("invalid UTF-8") from exc
    if text[:1] not in {"0", "1", "2", "3", "4", "5", "6"}:
        raise PacketError("unknown Engine.IO packet type")
    return text


def poll_to_frames(payload: Iterable[bytes], text_only: bool = False) -> bytes:
    """Turn what was queued for polling into WebSocket frames, for a client that has just upgraded."""
    frames = []
    for chunk in payload:
        for packet in chunk.split(SEPARATOR):
            if packet[:1] == b"b" and not text_only:
                frames.append(frame(BINARY, base64.b64decode(packet[1:])))
            else:
                frames.append(frame(TEXT, packet))
    return b"".join(frames)


NOOP: Final = Encoded((b"6",))
PING: Final = Encoded((b"2",))
PROBE_ANSWER: Final = Encoded((b"3probe",))
CLOSE_PACKET: Final = Encoded((b"1",))
