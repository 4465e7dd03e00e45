"""Heads of requests: long, many, unfinished, garbage, pipelined; and connections that say nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import wire
from .connection import Connection, Tally, Target, plain
from .hostile import ask, flood, hold
from .scene import Attack

FAMILY: Final = "heads"
LONG: Final = wire.long_head(960_000)
POLL: Final = wire.PATH + "polling"


def _kept(first: bytes, connections: int, *, drip: bytes = b"", again: bool = False) -> Callable[[Target], Tally]:
    return lambda target: hold(target, lambda number: first, connections=connections, drip=drip, again=again)


def _asked(*requests: bytes, connections: int = 20) -> Callable[[Target], Tally]:
    def make(connection: Connection, number: int) -> bytes:
        return requests[number % len(requests)]

    return lambda target: ask(target, make, connections=connections)


def _thrown(data: bytes, connections: int = 1) -> Callable[[Target], Tally]:
    return lambda target: flood(target, plain, data, connections=connections)


def _byte_by_byte(target: Target) -> Tally:
    """The head of a handshake in writes of one byte, as fast as they go."""
    head = wire.request("GET", POLL, {"Cookie": "a" * 4000})
    return flood(target, plain, head, connections=50, bytes_per_s=50_000, piece_bytes=1)


def _whole_then_rest(size: int) -> bytes:
    return wire.request("GET", POLL, wire.long_head(size))[:-4]


ATTACKS: Final = [
    Attack("heads-polling", FAMILY, "500 polling handshakes with 0.96 MB of headers, kept open",
           _kept(wire.request("GET", POLL, LONG), 500), hostile=500, proxied=True),
    Attack("heads-websocket", FAMILY, "500 websocket handshakes with 0.96 MB of headers, kept open",
           _kept(wire.upgrade(headers=LONG), 500), hostile=500, proxied=True),
    Attack("heads-32k", FAMILY, "500 websocket handshakes with 32 KB of cookies, kept open",
           _kept(wire.upgrade(headers=[("Cookie", f"c{number}={'x' * 3800}") for number in range(8)]), 500),
           hostile=500),
    Attack("heads-many", FAMILY, "500 websocket handshakes with 8 000 tiny headers",
           _kept(wire.upgrade(headers=[(f"x{number}", "y") for number in range(8000)]), 500), hostile=500),
    Attack("unfinished-300", FAMILY, "300 heads of 0.96 MB that never end",
           _kept(_whole_then_rest(960_000), 300), hostile=300),
    Attack("unfinished-500", FAMILY, "500 heads of 0.96 MB that never end",
           _kept(_whole_then_rest(960_000), 500), hostile=500, proxied=True),
    Attack("unfinished-grows", FAMILY, "heads that grow for ever, line by line",
           _kept(_whole_then_rest(8000), 200, drip=b"\r\nX-A: " + b"x" * 7000), hostile=200),
    Attack("unfinished-line", FAMILY, "request lines that never end",
           _kept(b"GET /" + b"x" * 1_000_000, 200), hostile=200),
    Attack("idle-tcp", FAMILY, "1 000 connections that say nothing",
           _kept(b"", 1000), hostile=1000, proxied=True),
    Attack("idle-keepalive", FAMILY, "500 connections that asked once and stay",
           _kept(wire.request("GET", "/healthz"), 500), hostile=500),
    Attack("loris", FAMILY, "300 heads that drip", _kept(b"GET / HTTP/1.1\r\n", 300, drip=b"X: y\r\n"), hostile=300),
    Attack("bytewise", FAMILY, "requests in tiny writes from 50 connections", _byte_by_byte, hostile=50),
    Attack("pipeline-health", FAMILY, "requests for /healthz without waiting for answers",
           _thrown(wire.many(wire.request("GET", "/healthz"))), proxied=True),
    Attack("pipeline-404", FAMILY, "requests for nothing without waiting for answers",
           _thrown(wire.many(wire.request("GET", "/nowhere")))),
    Attack("pipeline-polls", FAMILY, "handshakes without waiting for answers",
           _thrown(wire.many(wire.request("GET", POLL)))),
    Attack("pipeline-20", FAMILY, "requests for /healthz without waiting for answers, 20 connections",
           _thrown(wire.many(wire.request("GET", "/healthz")), 20), hostile=20),
    Attack("garbage", FAMILY, "noise instead of HTTP", _thrown(bytes(range(256)) * 256, 20), hostile=20, proxied=True),
    Attack("tls-hello", FAMILY, "the beginning of TLS", _thrown(b"\x16\x03\x01\x02\x00\x01" + b"\0" * 500, 20),
           hostile=20),
    Attack("newlines", FAMILY, "empty lines instead of a request", _thrown(b"\r\n" * 50_000), hostile=1),
    Attack("huge-urls", FAMILY, "URLs of 8 KB and of 64 KB",
           _asked(wire.request("GET", "/" + "a" * 8000), wire.request("GET", POLL + "&x=" + "%41" * 2500),
                  wire.request("GET", "/" + "a" * 64_000)), hostile=20, proxied=True),
    Attack("queries", FAMILY, "queries of 1 000 parameters", _asked(
        wire.request("GET", POLL + "".join(f"&a{number}=1" for number in range(1000)))), hostile=20),
    Attack("health", FAMILY, "/healthz as fast as it is answered", _asked(wire.request("GET", "/healthz")), hostile=20,
           proxied=True),
    Attack("expect", FAMILY, "`Expect: 100-continue` and no body", _asked(
        wire.request("POST", "/session", {"Expect": "100-continue"}, b"")), hostile=20),
    Attack("methods", FAMILY, "methods that there are none of",
           _asked(*(wire.request(method, "/socket.io/") for method in ("BREW", "TRACE", "OPTIONS", "PUT", "HEAD"))),
           hostile=20),
]  # fmt: skip
