"""WebSocket frames as fast as they go: those that no event's rate counts, and those that are cheap to send only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import wire
from .connection import Tally, Target, websocket
from .hostile import flood
from .scene import Attack
from .wire import BINARY, CLOSE, MORE, PING, PONG, TEXT, frame

FAMILY: Final = "frames"
_DEFLATE: Final = [("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")]

# What is sent without end, and what it is.
FRAMES: Final[dict[str, tuple[str, bytes]]] = {
    "ping": ("PINGs", frame(PING)),
    "ping-125": ("PINGs of 125 bytes", frame(PING, b"p" * 125)),
    "pong": ("PONGs that nobody asked for", frame(PONG)),
    "noop": ("`6`", frame(TEXT, b"6")),
    "pong-packet": ("`3`", frame(TEXT, b"3")),
    "ack": ("acks that nobody waits for", frame(TEXT, b"43999[]")),
    "ack-long": ("acks of 1 KB that nobody waits for", frame(TEXT, b'43999["' + b"x" * 1000 + b'"]')),
    "empty": ("empty messages", frame(TEXT)),
    "empty-binary": ("empty binary messages", frame(BINARY)),
    "binary": ("binary messages that no packet announced", frame(BINARY, b"\x00" * 8)),
    "ping-packet": ("`2`, which only servers send", frame(TEXT, b"2")),
    "upgrade-packet": ("`5` outside an upgrade", frame(TEXT, b"5")),
    "continuations": ("pieces of one message that never ends, empty ones", frame(MORE, first=0)),
    "pieces": ("pieces of one message that never ends, of one byte", frame(MORE, b"6", first=0)),
    "close": ("CLOSE frames", frame(CLOSE, b"\x03\xe8")),
    "event": ("events without a user", frame(TEXT, b'42["list_conversations",{}]')),
    "event-acked": ("events without a user that want an ack", frame(TEXT, b'421["list_conversations",{}]')),
    "unknown-event": ("events that there are none of", frame(TEXT, b'421["x",{}]')),
    "connect": ("CONNECTs again and again", frame(TEXT, b"40")),
    "disconnect": ("`41`", frame(TEXT, b"41")),
    "namespace": ("CONNECTs to namespaces that there are none of", frame(TEXT, b"40/x,")),
    "announced": ("events whose attachments never come", frame(TEXT, b'451-["x",{"_placeholder":true,"num":0}]')),
    "surrogates": (
        "events of 60 KB full of lone surrogates",
        frame(TEXT, b'421["send_message",{"body":"' + b"\\ud800" * 10_000 + b'"}]'),
    ),
    "deep": ("events of 60 KB full of brackets", frame(TEXT, b'421["x",' + b"[" * 400 + b"]" * 400 + b"]")),
    "long": ("events of 60 KB", frame(TEXT, b'421["send_message",{"body":"' + b"x" * 60_000 + b'"}]')),
    "numbers": ("events of 60 KB full of numbers", frame(TEXT, b'421["x",[' + b"1," * 30_000 + b"1]]")),
    "not-utf-8": ("text that is none", frame(TEXT, b"\xff\xfe")),
}
_STARTS: Final = {"continuations": frame(TEXT, b"6", first=0), "pieces": frame(TEXT, b"6", first=0)}
PROXIED: Final = ("ping", "noop", "pieces", "ack")


def _flood(name: str, connections: int, token: str | None, bytes_per_s: float) -> Callable[[Target], Tally]:
    one = FRAMES[name][1]

    def run(target: Target) -> Tally:
        opener = websocket(token=target.token if token == "user" else token)
        if start := _STARTS.get(name):
            inner = opener

            def opener(connection):  # type: ignore[no-untyped-def]
                return inner(connection) and connection.push(start) == len(start)

        return flood(target, opener, wire.many(one), connections=connections, bytes_per_s=bytes_per_s)

    return run


def _deflated(text: bytes, bytes_per_s: float) -> Callable[[Target], Tally]:
    data = wire.many(wire.deflated_message(text), 64 * 1024)
    return lambda target: flood(target, websocket(_DEFLATE), data, bytes_per_s=bytes_per_s)


def _attack(name: str, *, connections: int = 1) -> Attack:
    suffix = "" if connections == 1 else f"-{connections}"
    # Those that are answered to a user only after CONNECT.
    token = "" if name in ("event", "event-acked", "unknown-event", "announced") else None
    return Attack(
        f"ws-{name}{suffix}",
        FAMILY,
        f"{FRAMES[name][0]}, {connections} connection{'s' if connections > 1 else ''}",
        _flood(name, connections, token, 20e6),
        hostile=connections,
        proxied=name in PROXIED and connections == 1,
    )


ATTACKS: Final = [
    *(_attack(name) for name in FRAMES),
    *(_attack(name, connections=20) for name in ("ping", "noop", "ack", "pieces", "surrogates", "event-acked")),
    Attack("ws-ping-slow", FAMILY, "PINGs at 1.5 MB/s, one connection", _flood("ping", 1, None, 1.5e6)),
    Attack("ws-noop-500", FAMILY, "`6` from 500 connections", _flood("noop", 500, None, 20e6), hostile=500),
    Attack(
        "deflate-ack", FAMILY, "compressed acks of 64 KB at 11.5 KB/s",
        _deflated(b'43999["' + b"x" * 65_000 + b'"]', 11.5e3), settings={"websocket_compression": "true"},
    ),
    Attack(
        "deflate-event", FAMILY, "compressed events of 64 KB at 11.5 KB/s",
        _deflated(b'421["x",{"a":"' + b"x" * 65_000 + b'"}]', 11.5e3), settings={"websocket_compression": "true"},
    ),
    Attack(
        "deflate-surrogates", FAMILY, "compressed events of 60 KB full of lone surrogates at 11.5 KB/s",
        _deflated(b'421["x",{"a":"' + b"\\ud800" * 10_000 + b'"}]', 11.5e3), settings={"websocket_compression": "true"},
    ),
    Attack(
        "deflate-numbers", FAMILY, "compressed events of 60 KB full of numbers at 11.5 KB/s",
        _deflated(b'421["x",[' + b"1," * 30_000 + b"1]]", 11.5e3), settings={"websocket_compression": "true"},
    ),
    Attack(
        "deflate-bomb", FAMILY, "compressed messages of 16 MB",
        _deflated(b"6" * (16 << 20), 20e6), settings={"websocket_compression": "true"},
    ),
    Attack(
        "deflate-off", FAMILY, "compressed messages where nothing was agreed",
        _deflated(b"6" * 65_000, 20e6),
    ),
]  # fmt: skip
