"""A Socket.IO client over a raw WebSocket: as little work per frame as possible, so that the server is what saturates.

Speaks just enough HTTP, RFC 6455, Engine.IO 4 and Socket.IO 5 for the benchmark: it connects over WebSocket at once,
answers pings, asks with an ack, and either walks every frame or only counts deliveries in the bytes that arrive.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
import zlib
from collections.abc import Callable
from typing import Any, Final, cast

import orjson

ORIGIN: Final = "http://localhost:3000"
HANDSHAKE_S: Final = 30.0

# Every message body starts with this text, which stands nowhere else in what a server sends, so that deliveries can be
# counted without looking at frames. A long one, because bytes.count then skips; no single byte would do, since frames'
# lengths can have any value.
MARK: Final = b"benchmark message "
_CARRY: Final = len(MARK) - 1
_DELIVERY: Final = (b'42["message_created"', b'42["message_updated"')
_PING_FRAME: Final = b"\x81\x012"
_FLUSH: Final = b"\x00\x00\xff\xff"

# Reads of all clients go through one buffer: what a read brings is used up before the next one starts.
_INBOX: Final = bytearray(1 << 18)
_VIEW: Final = memoryview(_INBOX)


class ClientError(Exception):
    """The server did not do what the benchmark relies on."""


class Client(asyncio.BufferedProtocol):
    """One connection.

    Args:
        user: the user's id.
        token: what proves it.
        offer_deflate: offer permessage-deflate as browsers do, and compress if the server agrees.

    Attributes:
        user: the user's id.
        delivered: messages that arrived as `message_created` or `message_updated`.
        bytes_in: bytes received.
        on_message: called with every delivered message's bytes (a JSON object), unless this client only counts.
        ended: why the connection is over; None while it is open.
    """

    __slots__ = (
        "_acks",
        "_carry",
        "_counting",
        "_deflate",
        "_inflate",
        "_key",
        "_last_id",
        "_mask",
        "_offer_deflate",
        "_opened",
        "_pending",
        "_ping_interval_s",
        "_quiet_until_s",
        "_token",
        "_transport",
        "bytes_in",
        "delivered",
        "ended",
        "on_message",
        "user",
    )

    def __init__(self, user: str, token: str, *, offer_deflate: bool = False) -> None:
        self.user = user
        self.delivered = 0
        self.bytes_in = 0
        self.on_message: Callable[[bytes], None] | None = None
        self.ended: str | None = None
        self._token = token
        self._offer_deflate = offer_deflate
        self._key = os.urandom(4)
        self._mask = int.from_bytes(self._key * 256, "little")
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._acks: dict[int, Callable[[bytes], None]] = {}
        self._last_id = 0
        self._pending = bytearray()
        self._counting = False
        self._carry = b""
        self._ping_interval_s = 0.0
        self._quiet_until_s = 0.0
        self._deflate: Any = None
        self._inflate: Any = None

    async def connect(self, port: int) -> None:
        """Connect to a loopback port and wait for the Socket.IO connection.

        Raises: ClientError if the server refuses or does not answer; OSError.
        """
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        self._write_raw(
            (
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{port}\r\nOrigin: {ORIGIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                f"{extensions if self._offer_deflate else ''}\r\n"
            ).encode()
        )
        try:
            await asyncio.wait_for(self._opened, HANDSHAKE_S)
        except TimeoutError:
            raise ClientError(f"no Socket.IO connection within {HANDSHAKE_S:.0f} s") from None

    async def ask(self, event: str, payload: dict[str, Any], timeout_s: float = HANDSHAKE_S) -> dict[str, Any]:
        """Emit an event and return its ack's object.

        Raises: ClientError if there is no ack in time, or one that says that it did not work.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.emit(event, orjson.dumps(payload), answer.set_result)
        try:
            packet = await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise ClientError(f"{event}: no ack within {timeout_s:.0f} s (ended: {self.ended})") from None
        (ack,) = orjson.loads(packet[packet.index(b"[") :])
        if not ack.get("ok"):
            raise ClientError(f"{event}: {ack}")
        return dict(ack)

    def emit(self, event: str, payload: bytes, on_ack: Callable[[bytes], None]) -> None:
        """Emit an event with one JSON object; `on_ack` gets the whole ack packet."""
        self._last_id += 1
        self._acks[self._last_id] = on_ack
        self._send(b'42%d["%b",%b]' % (self._last_id, event.encode(), payload))

    @property
    def waiting(self) -> int:
        """How many acks are still to come."""
        return len(self._acks)

    def only_count(self) -> None:
        """From now on count deliveries in the bytes, and look for pings only when one may be due."""
        if self._pending:
            raise ClientError("cannot start to count in the middle of a frame")
        self._counting = True

    def close(self) -> None:
        """Close the TCP connection."""
        self.ended = self.ended or "closed by the client"
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no common class

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or f"closed by the server ({exc or 'end of stream'})"
        if not self._opened.done():
            self._opened.set_exception(ClientError(self.ended))

    def get_buffer(self, sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_in += nbytes
        if self._counting:
            self._count(nbytes)
            return
        self._pending += _VIEW[:nbytes]
        if self._ping_interval_s or self._handshaken():
            self._walk()

    # The handshake.

    def _handshaken(self) -> bool:
        """Whether the HTTP answer is complete; afterwards only frames are pending."""
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._pending[:end].decode("latin-1")
        del self._pending[: end + 4]
        if " 101 " not in head.partition("\r\n")[0]:
            self._fail(f"HTTP: {head.partition(chr(13))[0]} {bytes(self._pending[:200])!r}")
            return False
        for line in head.lower().split("\r\n"):
            if line.startswith("sec-websocket-extensions:") and "permessage-deflate" in line:
                self._deflate = zlib.compressobj(wbits=-_window_bits(line))
                self._inflate = zlib.decompressobj(wbits=-15)
        self._ping_interval_s = 25.0
        return True

    def _fail(self, reason: str) -> None:
        self.ended = self.ended or reason
        if not self._opened.done():
            self._opened.set_exception(ClientError(reason))
        self.close()

    # Frames in.

    def _walk(self) -> None:
        """Take every whole frame out of the pending bytes."""
        data = self._pending
        size = len(data)
        at = 0
        while size - at >= 2:
            length = data[at + 1]
            start = at + 2
            if length == 126:
                start = at + 4
                length = int.from_bytes(data[at + 2 : start], "big") if size >= start else size
            elif length == 127:
                start = at + 10
                length = int.from_bytes(data[at + 2 : start], "big") if size >= start else size
            if start + length > size:
                break
            self._frame(data[at], bytes(data[start : start + length]))
            at = start + length
        del data[:at]

    def _frame(self, first: int, payload: bytes) -> None:
        if first & 0x40:
            payload = self._inflate.decompress(payload + _FLUSH)
        kind = first & 0x0F
        if kind == 1:
            self._packet(payload)
        elif kind == 8:
            self._fail(f"WebSocket close {payload[:2].hex()} {payload[2:]!r}")
        elif kind == 9:
            self._write_frame(0x8A, payload)

    def _packet(self, packet: bytes) -> None:
        if packet.startswith(_DELIVERY):
            self.delivered += 1
            if self.on_message is not None:
                # 42["message_created",{"message":{…}}] or a change of one; in large conversations how the sender is
                # shown stands beside it
                self.on_message(orjson.dumps(orjson.loads(packet[2:])[1]["message"]))
        elif packet.startswith(b"43"):
            on_ack = self._acks.pop(int(packet[2 : packet.index(b"[")]), None)
            if on_ack is not None:
                on_ack(packet)
        elif packet == b"2":
            self._pong()
        elif packet.startswith(b"0"):
            self._ping_interval_s = orjson.loads(packet[1:])["pingInterval"] / 1000
            self._expect_no_ping()
            self._send(b"40" + orjson.dumps({"token": self._token}))
        elif packet.startswith(b"40"):
            if not self._opened.done():
                self._opened.set_result(None)
        elif packet.startswith((b"41", b"44")):
            self._fail(f"Socket.IO: {packet[:200]!r}")

    def _count(self, nbytes: int) -> None:
        """Count the messages in a read, with one whose mark began in the read before; answer a ping if one is due."""
        joint = self._carry + _INBOX[: min(nbytes, _CARRY)]
        self.delivered += _INBOX.count(MARK, 0, nbytes) + joint.count(MARK)
        if self._quiet_until_s < time.monotonic() and (
            _INBOX.find(_PING_FRAME, 0, nbytes) >= 0 or _PING_FRAME in joint
        ):
            self._pong()
        self._carry = bytes(_VIEW[nbytes - _CARRY : nbytes] if nbytes >= _CARRY else joint[-_CARRY:])

    def _pong(self) -> None:
        self._expect_no_ping()
        self._send(b"3")

    def _expect_no_ping(self) -> None:
        self._quiet_until_s = time.monotonic() + 0.8 * self._ping_interval_s

    # Frames out.

    def _send(self, packet: bytes) -> None:
        if self._deflate is None:
            self._write_frame(0x81, packet)
            return
        compressed = self._deflate.compress(packet) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._write_frame(0xC1, compressed.removesuffix(_FLUSH))

    def _write_frame(self, first: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes((first, 0x80 | size))
        elif size < 65536:
            head = bytes((first, 0xFE, size >> 8, size & 0xFF))
        else:
            head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
        self._write_raw(head + self._key + self._masked(payload, size))

    def _masked(self, payload: bytes, size: int) -> bytes:
        # One XOR of two long integers; 1 024 bytes of mask are enough for everything but the setup's requests.
        if size <= 1024:
            mask = self._mask & ((1 << 8 * size) - 1)
        else:
            mask = int.from_bytes((self._key * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")

    def _write_raw(self, data: bytes) -> None:
        if self._transport is not None and self.ended is None:
            self._transport.write(data)


def _window_bits(extensions: str) -> int:
    """The window that a server lets its clients use, as a power of two: 9 to 15."""
    for part in extensions.replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "client_max_window_bits" and value.strip('" ').isdigit():
            return max(9, min(15, int(value.strip('" '))))
    return 15
