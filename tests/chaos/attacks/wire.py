"""The bytes of HTTP and WebSocket that an attacker sends: made once, before the attack, so that sending is cheap."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

PATH: Final = "/socket.io/?EIO=4&transport="
TEXT, BINARY, CLOSE, PING, PONG, MORE = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0
SEPARATOR: Final = b"\x1e"


def request(
    method: str, path: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """One HTTP/1.1 request; a body brings its Content-Length, unless the headers say how long it is."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in pairs}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    if "host" not in names:
        pairs.insert(0, ("Host", "127.0.0.1"))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def upgrade(sid: str = "", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The handshake of a websocket."""
    path = PATH + "websocket" + (f"&sid={sid}" if sid else "")
    needed = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    return request("GET", path, [*needed, *headers])


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """A client's frame. Its mask is all zeros, which is allowed, so that the payload stays what it is.

    Args:
        first: the flags: 0x80 is the last of a message, 0x40 says that it is compressed.
    """
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


def many(one: bytes, size: int = 256 * 1024) -> bytes:
    """The same bytes again and again, `size` in all or a little less."""
    return one * max(1, size // len(one))


def packets(one: bytes, size: int = 65_000) -> bytes:
    """A polling payload full of one packet."""
    return SEPARATOR.join([one] * ((size + 1) // (len(one) + 1)))


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def bomb(unpacked: int, *, deflate: bool = False) -> bytes:
    """Zeros, packed; made in pieces, so that making it takes no memory."""
    packer = zlib.compressobj(9, wbits=15 if deflate else 31)
    piece = b"\0" * (1 << 20)
    return b"".join(packer.compress(piece) for _ in range(unpacked >> 20)) + packer.flush()


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of `size` bytes."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def deflated_message(text: bytes) -> bytes:
    """A text message compressed as permessage-deflate does it, without context from the one before."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
    return frame(TEXT, packed.removesuffix(b"\0\0\xff\xff"), first=0xC0)


def long_head(size: int, line: int = 8000) -> list[tuple[str, str]]:
    """Header lines of `size` bytes in all."""
    return [(f"X-Filler-{number}", "x" * line) for number in range(max(1, size // (line + 16)))]
