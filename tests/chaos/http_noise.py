"""Requests that no honest client sends, as bytes of a whole connection; a seed says all, as in frames.py."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import Final

from chaos.attacks import wire
from chaos.frames import Fuzzer

METHODS: Final = ["GET", "POST", "OPTIONS", "HEAD", "DELETE", "PUT", "get", "BREW", "G\x00T", ""]
PATHS: Final = [
    "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=websocket", "/socket.io/?EIO=3", "/socket.io",
    "/socket.io/?EIO=4&transport=polling&sid={sid}", "/socket.io/?EIO=4&transport=websocket&sid={sid}",
    "/socket.io/?EIO=4&transport=polling&sid=\xff", "/socket.io/?EIO=4&EIO=3&transport=polling&transport=x",
    "/session", "/healthz", "/readyz", "/metrics", "/monitor", "/", "/demo/../x", "/demo/%00", "/%ff%fe",
    "*", "//x/", "http://x/",
    "/socket.io/?" + "a&" * 500, "/" + "x" * 9000, "/?%", "/#x",
]  # fmt: skip
HEADERS: Final[dict[str, list[str]]] = {
    "Host": ["127.0.0.1", "", "evil.example", "[::1", "localhost:99999", "a b", "\xff", "x" * 3000],
    "Origin": ["http://localhost:3000", "null", "https://x", "http://", "://", "http://[::1", "wss://localhost:3000",
               "HTTP://LOCALHOST:3000", "\x80", "http://localhost:3000, http://x", "x" * 5000],
    "Content-Length": ["0", "5", "-1", "+5", "5, 5", "99999999999999999999", "0x5", "", "65537", "٣"],
    "Transfer-Encoding": ["chunked", "Chunked", "chunked, chunked", "gzip, chunked", "identity", "xchunked", ""],
    "Content-Encoding": ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "x", ""],
    "Cookie": ["a=b", "socketserver_session=x", "socketserver_session=" + "Q" * 4000, "=;=;", "a=\"\\", "\xe9=\xe9",
               "$Version=1; a=b", "; " * 1000, "a=b; " * 500, "socketserver_session=" + "gAAAA" * 30],
    "Authorization": ["Bearer x", "Bearer", "bearer a.b.c", "Basic x", "Bearer " + "A." * 2000, "Bearer \xff"],
    "X-Forwarded-For": ["10.0.0.1", "10.0.0.1, ::1", "x", ",,,", "[::1]:80", "1.2.3.4:99999", ", ".join(["::1"] * 200)],
    "Forwarded": ["for=1.2.3.4", 'for="[::1]:1"', "for=;;=", 'for="', "for=_x;host=y;proto=z", "for=unknown"],
    "X-Forwarded-Proto": ["https", "ws", "x" * 200, ""],
    "X-Forwarded-Host": ["a, b", "", "x:y:z"],
    "Connection": ["Upgrade", "close", "keep-alive", "keep-alive, Upgrade", "x", "\t"],
    "Upgrade": ["websocket", "WebSocket", "h2c", "", "websocket, x"],
    "Sec-WebSocket-Version": ["13", "8", "x", "13, 8"],
    "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ==", "", "x", "====", "\xff"],
    "Sec-WebSocket-Extensions": ["permessage-deflate", "permessage-deflate; client_max_window_bits=99", "x;y=z", "=;,",
                                 "permessage-deflate; server_max_window_bits=8"],
    "Sec-WebSocket-Protocol": ["x", ",,", "\xff"],
    "Sec-Fetch-Site": ["same-origin", "x"],
    "Expect": ["100-continue", "x"],
    "Range": ["bytes=0-", "bytes=9-1", "x"],
    "If-None-Match": ["*", "x", '"'],
    "If-Modified-Since": ["Thu, 01 Jan 1970 00:00:00 GMT", "x", "Thu, 32 Jan 99999"],
    "Content-Type": ["application/json", "text/plain; charset=x", "multipart/form-data", "text/plain;charset=\xff"],
    "Access-Control-Request-Method": ["POST", "x"],
    "User-Agent": ["", "x" * 3000, "\x7f"],
}  # fmt: skip
UPGRADE: Final = ("Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key")


class Noise:
    """Connections from one seed.

    Args:
        sid: of an open polling session, which some of the requests belong to.
        token: of a user.
    """

    def __init__(self, seed: int, sid: str, token: str, conversation_id: str) -> None:
        self._random = random.Random(seed)
        self._frames = Fuzzer(seed, conversation_id)
        self._sid = sid
        self._token = token

    def connection(self) -> tuple[bytes, int]:
        """One connection's bytes, several requests or a handshake and frames. Returns: them, and how many these are."""
        if self._random.random() < 0.4:
            count = self._random.randrange(1, 12)
            return self._websocket() + b"".join(self._frame() for _ in range(count)), count + 1
        count = self._random.randrange(1, 6)
        data = b"".join(self._request() for _ in range(count))
        return self._damaged(data) if self._random.random() < 0.2 else data, count

    def _websocket(self) -> bytes:
        if self._random.random() < 0.7:
            extensions = [("Sec-WebSocket-Extensions", "permessage-deflate")] if self._random.random() < 0.3 else []
            return wire.upgrade(headers=extensions)
        names = [*UPGRADE, *self._random.sample(list(HEADERS), 3)]
        return self._head("GET", PATHS[1], names, None)

    def _request(self) -> bytes:
        chosen = self._random.random()
        path = self._random.choice(PATHS).replace("{sid}", self._sid)
        names = self._random.sample(list(HEADERS), self._random.randrange(5))
        if chosen < 0.35:
            body = self._body()
            if self._random.random() < 0.7:
                path = PATHS[4].replace("{sid}", self._sid)
            encoding = self._random.choice(["", "", "gzip", "deflate", "br"])
            packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.get(encoding, body)
            headers = [("Content-Encoding", encoding)] if encoding else []
            if self._random.random() < 0.4:
                headers.append(("Transfer-Encoding", "chunked"))
                packed = wire.chunked(packed, self._random.choice([1, 7, 1000, 70_000]))
            return wire.request("POST", path, headers, packed)
        method = self._random.choice(METHODS if chosen > 0.6 else METHODS[:2])
        return self._head(method, path, names, self._body() if self._random.random() < 0.3 else None)

    def _head(self, method: str, path: str, names: list[str], body: bytes | None) -> bytes:
        version = self._random.choice(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/2.0", "HTTP/9", "x", ""])
        lines = [f"{method} {path} {version}"]
        if "Host" not in names and self._random.random() < 0.95:
            lines.append("Host: 127.0.0.1")
        lines += [f"{name}: {self._random.choice(HEADERS[name])}" for name in names]
        if self._random.random() < 0.05:
            lines.append(self._random.choice(["x", ": x", " folded", "a\x00: b", "a : b", "\xff: \xff", "x" * 9000]))
        if body is not None and "Content-Length" not in names:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + (body or b"")

    def _body(self) -> bytes:
        if self._random.random() < 0.1:
            return self._random.randbytes(self._random.randrange(2000))
        frames = [self._frames.frame() for _ in range(self._random.randrange(1, 6))]
        first = [f'40{{"token":"{self._token}"}}'] if self._random.random() < 0.3 else []
        return wire.SEPARATOR.join(
            each if isinstance(each, bytes) else each.encode("utf-8", "surrogatepass") for each in [*first, *frames]
        )

    def _frame(self) -> bytes:
        one = self._frames.frame()
        if self._random.random() < 0.2:
            one = f'40{{"token":"{self._token}"}}'
        payload = one if isinstance(one, bytes) else one.encode("utf-8", "surrogatepass")
        opcode = wire.BINARY if isinstance(one, bytes) else wire.TEXT
        first = 0x80
        if self._random.random() < 0.2:
            opcode, first = self._random.randrange(16), self._random.choice([0x80, 0, 0xC0, 0x90])
            payload = payload[: self._random.choice([125, 126, 70_000])]
        made = wire.frame(opcode, payload, first=first)
        return self._damaged(made) if self._random.random() < 0.1 else made

    def _damaged(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data) + 1)
        match self._random.randrange(4):
            case 0:
                return data[:at]
            case 1:
                return data[:at] + self._random.randbytes(3) + data[at:]
            case 2:
                return data[:at] + data[at + self._random.randrange(1, 9) :]
            case _:
                return data[:at] + bytes([self._random.randrange(256)]) + data[at + 1 :]
