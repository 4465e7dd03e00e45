"""The packet codecs: what goes in comes out, and nothing else goes in."""

import base64
import json
import math
from socketserver.realtime import Json, PacketError, packets
from socketserver.realtime.engine import packets as engine_packets
from socketserver.realtime.engine.packets import Encoded
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.text(min_size=1).filter(lambda name: name not in packets.RESERVED_EVENTS)
namespaces = st.sampled_from(["/", "/chat", "/a/b-1"])
ids = st.none() | st.integers(0, 10**15 - 1)


def text_of(message: Encoded) -> str:
    """Return the packet as the client sends it: without the Engine.IO type."""
    return message.packets[0].decode()[1:]


@settings(deadline=None, max_examples=60)
@given(names, st.lists(json_values, max_size=4), namespaces, ids)
def test_an_event_survives_the_way_there_and_back(name: str, args: list[Any], namespace: str, id: int | None) -> None:
    message = packets.encode_event(namespace, [name, *args], id)
    packet = packets.decode(text_of(message))
    assert (packet.type, packet.namespace, packet.id, packet.data) == (packets.EVENT, namespace, id, [name, *args])
    assert packet.missing == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=10), namespaces, ids)
def test_attachments_find_their_places(blobs: list[bytes], namespace: str, id: int | None) -> None:
    args = ["e", {"nested": [{"blob": blob} for blob in blobs]}]
    message = packets.encode_event(namespace, args, id)
    packet = packets.decode(text_of(message))
    assert packet.missing == len(blobs)
    assert [packet.attach(blob) for blob in message.packets[1:]] == [False] * (len(blobs) - 1) + [True]
    assert packet.data == args


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40) | st.from_regex(r"[0-6][0-9]*-?(/[a-z]*,)?[0-9]*[\[{].*", fullmatch=True))
def test_whatever_arrives_is_a_packet_or_a_packet_error(text: str) -> None:
    try:
        packet = packets.decode(text)
    except PacketError:
        return
    json.dumps(packet.data, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (packets.CONNECT, "/", None, None)),
        ('0{"a":1}', (packets.CONNECT, "/", None, {"a": 1})),
        ("0/chat", (packets.CONNECT, "/chat", None, None)),
        ("0/chat,", (packets.CONNECT, "/chat", None, None)),
        ("0/chat?x=1,[]", (packets.CONNECT, "/chat", None, [])),
        ("1/chat,", (packets.DISCONNECT, "/chat", None, None)),
        ('2/chat,12["a",1]', (packets.EVENT, "/chat", 12, ["a", 1])),
        ('20["a"]', (packets.EVENT, "/", 0, ["a"])),
        ('3/chat,5["a"]', (packets.ACK, "/chat", 5, ["a"])),
        ("30[]", (packets.ACK, "/", 0, [])),
    ],
)
def test_decoding(text: str, expected: tuple[Any, ...]) -> None:
    packet = packets.decode(text)
    assert (packet.type, packet.namespace, packet.id, packet.data) == expected


@pytest.mark.parametrize(
    "text", ["2٣[]", '2٣["a"]', '5٢-["a"]', "2[1]", '2["a"]x', '2["a"],', "0,", "/chat", '2/chat["a"]', '5-["a"]']
)
def test_not_packets(text: str) -> None:
    with pytest.raises(PacketError):
        packets.decode(text)


def test_depth_is_bounded_by_depth_and_not_by_size() -> None:
    wide = json.dumps(["e", [[n] for n in range(1000)]])
    assert packets.decode("2" + wide).data[1][999] == [999]
    with pytest.raises(PacketError, match="deep"):
        packets.decode('2["e",' + "[" * 64 + "]" * 64 + "]")
    deepest = '2["e",' + "[" * 63 + "]" * 63 + "]"
    assert text_of(packets.encode_event("/", packets.decode(deepest).data)) == deepest


def test_brackets_in_texts_are_no_depth() -> None:
    assert packets.decode('2["e","' + "[" * 1000 + '"]').data[1] == "[" * 1000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [None, math.nan], {"a": (1, math.inf)}])
def test_nan_is_refused_on_the_way_out(value: Any) -> None:
    """orjson would write it as null, which is another value."""
    with pytest.raises(PacketError):
        packets.encode_event("/", ["e", value])
    with pytest.raises(PacketError):
        packets.encode_ack("/", [value], 1)
    with pytest.raises(PacketError):
        packets.encode(packets.CONNECT_ERROR, "/", value)


def test_null_is_no_nan() -> None:
    assert text_of(packets.encode_event("/", ["e", None, [None]])) == '2["e",null,[null]]'


@pytest.mark.parametrize(
    "text",
    [
        '2["\\ud800",NaN]',
        '2["\\ud800",-Infinity]',
        '2["\\ud800",1e999]',
        '2["\\ud800"',
        "2" + "[" * 50_000 + '"\\ud800"',
    ],
)
def test_half_a_character_makes_nothing_else_valid(text: str) -> None:
    """A packet with half a character is read by the standard library, which takes more than JSON, and recurses."""
    with pytest.raises(PacketError):
        packets.decode(text)


def test_the_rest_of_a_packet_with_half_a_character_stays_as_it_is() -> None:
    """Pairs, escaped backslashes, names of fields, numbers of any length."""
    text = r'2["a",{"b\ud800":"\ud83d\ude00 \\ud800 \uDC00x\ud800","n":[1e3,12345678901234567890,-0.5,true,null]}]'
    assert packets.decode(text).data == [
        "a",
        {"b\ufffd": "\U0001f600 \\ud800 \ufffdx\ufffd", "n": [1e3, 12345678901234567890, -0.5, True, None]},
    ]


def test_lone_surrogates_are_replaced() -> None:
    assert packets.decode(r'2["e","a\ud83db","\ud83d\ude00"]').data == ["e", "a�b", "\U0001f600"]
    for bad in (r'2["e","\ud83d",NaN]', r'2["e","\ud83d"', r'2["e","\ud83"]'):
        with pytest.raises(PacketError):
            packets.decode(bad)


def test_encoded_fragments_and_odd_keys() -> None:
    data = ["e", {"m": Json(b'{"a":1}'), 2: "two"}, (1, 2)]
    assert text_of(packets.encode_event("/n", data)) == '2/n,["e",{"m":{"a":1},"2":"two"},[1,2]]'


def test_an_id_is_added_without_encoding_again() -> None:
    message = packets.encode_event("/n", ["e", b"x"])
    assert text_of(packets.with_id(message, "/n", 12)) == '51-/n,12["e",{"_placeholder":true,"num":0}]'


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames(size: int) -> None:
    """RFC 6455 section 5.2: three forms of the length; a server does not mask."""
    frame = engine_packets.frame(engine_packets.TEXT, b"x" * size)
    assert frame[0] == 0x81
    if size < 126:
        assert frame[1] == size
        assert len(frame) == 2 + size
    elif size < 65536:
        assert frame[1] == 126
        assert int.from_bytes(frame[2:4], "big") == size
        assert len(frame) == 4 + size
    else:
        assert frame[1] == 127
        assert int.from_bytes(frame[2:10], "big") == size
        assert len(frame) == 10 + size


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30) | st.text(max_size=30).filter(lambda text: "\x1e" not in text), min_size=1))
def test_polling_payloads(items: list[bytes | str]) -> None:
    body = b"\x1e".join(b"b" + base64.b64encode(i) if isinstance(i, bytes) else b"4" + i.encode() for i in items)
    packets = [engine_packets.decode_packet(part) for part in body.split(b"\x1e")]
    assert packets == [i if isinstance(i, bytes) else "4" + i for i in items]


def test_queued_polling_payloads_become_frames() -> None:
    message = packets.encode_event("/", ["e", b"\0\1"])
    assert (
        engine_packets.poll_to_frames([message.poll, engine_packets.PING.poll]) == message.ws + engine_packets.PING.ws
    )
