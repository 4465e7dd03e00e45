"""What is too large is read past, whatever pieces it comes in; aiohttp's own parser is the judge of what is left."""

import asyncio
import base64
from collections.abc import Iterable
from socketserver.realtime.engine.skipping import HEAD_BYTES, FrameSkipper, PayloadSplitter, Skipped, base64_bytes
from typing import Any

import pytest
from aiohttp import WebSocketError, WSMsgType
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_websocket import WebSocketReader
from hypothesis import given, settings
from hypothesis import strategies as st

LIMIT, MOST = 200, 2_000
MASK = b"\x01\xfe\x7f\x80"


def frame(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = MASK) -> bytes:
    """A frame as clients send it; with an empty `mask` as they must not."""
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 65536
        else b"\x7f" + size.to_bytes(8)
    )
    body = bytearray(payload)
    if mask:
        websocket_mask(mask, body)
    return bytes([opcode | (0x80 if final else 0), length[0] | (0x80 if mask else 0)]) + length[1:] + mask + body


class Wire(WebSocketDataQueue):
    """aiohttp's parser behind a skipper; keeps what comes out."""

    def __init__(self, limit: int = LIMIT, most: int = MOST) -> None:
        self.skipper = FrameSkipper(limit, most)
        self.got: list[Any] = []
        self.most_held = 0
        super().__init__(BaseProtocol(loop := asyncio.new_event_loop()), 1 << 30, loop=loop)
        loop.close()
        self._reader = WebSocketReader(self, base64_bytes(limit) + 1, compress=False, decode_text=True)
        self.failed: BaseException | None = None

    def feed_data(self, message: Any, size: int) -> None:
        kind, data = message[0], message[1]
        if kind is WSMsgType.PONG:
            self.got.append(self.skipper.skipped(data) or ("pong", bytes(data)))
        elif kind is WSMsgType.PING:
            self.got.append(("ping", bytes(data)))
        else:
            self.got.append(data)

    def set_exception(self, exc: BaseException, cause: BaseException | None = None) -> None:
        self.failed = exc

    def feed(self, *pieces: bytes) -> list[Any]:
        for piece in pieces:
            passed = self.skipper.feed(piece)
            self.most_held = max(self.most_held, len(passed))
            self._reader.feed_data(passed)
        return self.got


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


sizes = st.sampled_from([0, 1, 125, 126, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT * 2, MOST - 1, MOST])
texts = st.builds(lambda size, first: (first + "4" * size)[:size], sizes, st.sampled_from(["4", "b"]))
controls = st.sampled_from([(0x9, b"are you there"), (0xA, b""), (0xA, b"x" * 125)])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Any]]:
    """Frames, and what is to come out."""
    wire = b""
    expected: list[Any] = []
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            opcode, body = draw(controls)
            wire += frame(opcode, body)
            expected.append(("ping" if opcode == 9 else "pong", body))
            continue
        text = draw(texts) if draw(st.booleans()) else None
        body = text.encode() if text is not None else b"\xff" * draw(sizes)
        opcode = 1 if text is not None else 2
        parts = cut(body, draw(st.lists(st.integers(0, LIMIT), max_size=4)))
        between = b""
        for number, part in enumerate(parts):
            if number and draw(st.booleans()):
                control, inside = draw(controls)
                wire += frame(control, inside)
                expected.append(("ping" if control == 9 else "pong", inside))
            mask = draw(st.sampled_from([MASK, b"\0\0\0\0", b""]))
            wire += frame(opcode if number == 0 else 0, part, final=number == len(parts) - 1, mask=mask)
        limit = base64_bytes(LIMIT) if text is not None and text[:1] == "b" else LIMIT
        if len(body) > limit:
            expected.append(Skipped(text is None, body[:HEAD_BYTES]))
        else:
            expected.append(text if text is not None else body)
        assert not between
    return wire, expected


@settings(deadline=None, max_examples=300)
@given(streams(), st.lists(st.integers(0, 400), max_size=12))
def test_frames(stream: tuple[bytes, list[Any]], pieces: list[int]) -> None:
    """Every message within the limit comes out, and the head of every other, in whatever pieces they came in."""
    wire = Wire()
    wire.feed(*cut(stream[0], pieces))
    assert wire.failed is None
    assert wire.got == stream[1]


@settings(deadline=None)
@given(streams())
def test_frames_byte_by_byte(stream: tuple[bytes, list[Any]]) -> None:
    """The same, one byte at a time."""
    wire = Wire()
    wire.feed(*(stream[0][at : at + 1] for at in range(len(stream[0]))))
    assert wire.failed is None
    assert wire.got == stream[1]


def test_what_is_too_large_is_not_kept() -> None:
    """A message of 64 MiB in pieces of 64 KiB: what is handed on is a pong of 125 bytes at most."""
    wire = Wire(most=0)
    head = frame(1, b"4" * (64 << 20))
    wire.feed(*(head[at : at + 65536] for at in range(0, len(head), 65536)), frame(1, b"after"))
    assert wire.got == [Skipped(False, b"4" * HEAD_BYTES), "after"]
    assert wire.most_held <= 127


@pytest.mark.parametrize("fragments", [1, 7])
def test_beyond_what_is_read_past(fragments: int) -> None:
    """The parser refuses it as too big, as soon as that is known."""
    wire = Wire()
    wire.feed(frame(1, b"before"))
    size = MOST // fragments + 1
    for number in range(fragments):
        wire.feed(frame(0 if number else 1, b"4" * size, final=number == fragments - 1))
    assert isinstance(wire.failed, WebSocketError)
    assert wire.failed.code == 1009
    assert wire.got == ["before"]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(frame(0, b"x"), id="a continuation of nothing"),
        pytest.param(frame(1, b"x", final=False) + frame(1, b"y"), id="a message inside a message"),
        pytest.param(b"\xc1\x80" + MASK, id="compressed though nothing was negotiated"),
        pytest.param(frame(3, b"x"), id="an unknown opcode"),
        pytest.param(frame(9, b"x", final=False), id="a fragmented ping"),
        pytest.param(b"\x89\xfe\x00\x80" + MASK + b"x" * 128, id="a ping of 128 bytes"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 1_000])
def test_violations_are_the_parsers_to_judge(bad: bytes, size: int) -> None:
    """What the protocol forbids reaches the parser, which refuses it with 1002."""
    wire = Wire()
    wire.feed(frame(1, b"before"), *(bad[at : at + size] for at in range(0, len(bad), size)))
    assert isinstance(wire.failed, WebSocketError)
    assert wire.failed.code == 1002
    assert wire.got == ["before"]


def test_nobody_forges_a_pong_of_ours() -> None:
    """A client's pong says nothing, whatever is in it."""
    other = FrameSkipper(LIMIT, MOST)
    forged = other.feed(frame(2, b"x" * (LIMIT + 1)))
    assert Wire().feed(forged) == [("pong", forged[2:])]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.builds(lambda size, kind: (kind * size)[:size], sizes, st.sampled_from([b"4", b"b"])), min_size=1),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_payloads(packets: list[bytes], pieces: list[int]) -> None:
    """Every packet of a POST within the limit comes out, and the head of every other."""
    splitter = PayloadSplitter(LIMIT)
    got = [packet for piece in cut(b"\x1e".join(packets), pieces) for packet in splitter.feed(piece)]
    got.append(splitter.end())
    assert got == [
        packet
        if len(packet) <= (base64_bytes(LIMIT) if packet[:1] == b"b" else LIMIT)
        else Skipped(packet[:1] == b"b", got[number].head)  # type: ignore[union-attr]
        for number, packet in enumerate(packets)
    ]
    for number, packet in enumerate(packets):
        if isinstance(skipped := got[number], Skipped):
            assert skipped.head == packet[: len(skipped.head)]
            assert len(skipped.head) == HEAD_BYTES


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 65_536])
def test_base64_bytes(size: int) -> None:
    """As long as base64 makes it."""
    assert base64_bytes(size) == len(b"b" + base64.b64encode(bytes(size)))
