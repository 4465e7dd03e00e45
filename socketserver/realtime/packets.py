"""Socket.IO 5 packets: strict decoding, encode-once encoding. Pure; knows no socket, session or room.

A packet on the wire is: type digit, "<attachments>-" for binary types, "<namespace>," unless "/", ack id, JSON.
Source: the Socket.IO protocol, revision 5, "Packet encoding".
Whatever a JS client could not decode (NaN, more than 10 attachments) is refused here in both directions, because
one such packet, once broadcast or stored, disconnects every reader.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import orjson

from .engine.packets import Encoded, PacketError

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6

MAX_ATTACHMENTS: Final = 10  # socket.io-parser refuses more
MAX_DEPTH: Final = 64  # orjson decodes 1024 levels and encodes 254: what came in must be able to go out again
MAX_ID_DIGITS: Final = 15  # an id is a JS number; 2**53 has 16 digits

RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

Json = orjson.Fragment
"""Already encoded JSON: `Json(b'{"a":1}')`, usable anywhere inside the data of an event or an ack."""

_HEAD = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,?]*)(?:\?[^,]*)?(?:,|\Z))?([0-9]+)?", re.ASCII)


_CONTAINERS: Final = frozenset({list, dict})
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""What is half of a character in text that was decoded: the halves of a pair have become one."""
_NAME = re.compile(r'\[\s*"([^"\\]{0,64})"')


@dataclass(frozen=True, slots=True)
class Head:
    """What can be read of a packet that cannot be decoded as a whole.

    Attributes:
        type, namespace, id: as of a Packet.
        attachments: how many it announces.
        event: the event's name, "" if that cannot be told.
    """

    type: int
    namespace: str
    id: int | None
    attachments: int
    event: str


def read_head(text: str) -> Head | None:
    """Read the head of a packet of which perhaps only the beginning is there; None if it has none that can be trusted.

    A head that the end of `text` may have cut in the middle counts as none.
    """
    head = _HEAD.match(text)
    if head is None or head.end() == len(text):
        return None
    attachments, digits = head[2] or "0", head[4]
    if len(attachments) > 2 or (digits is not None and len(digits) > MAX_ID_DIGITS):
        return None
    name = _NAME.match(text, head.end())
    return Head(
        int(head[1]),
        head[3] or "/",
        None if digits is None else int(digits),
        int(attachments),
        "" if name is None else name[1],
    )


class Packet:
    """One decoded packet.

    Attributes:
        type: CONNECT to BINARY_ACK.
        namespace: "/" or "/name".
        id: the ack id, None when none was given.
        data: the payload: a list for events and acks (an event's begins with its name), any JSON value or None for
            CONNECT, None for DISCONNECT.
        size: length in bytes or characters of what came over the wire, attachments included.
        missing: how many attachments are still due; 0 means complete.
        received_s: when it was decoded, in `time.perf_counter` seconds.
    """

    __slots__ = ("_attached", "_places", "data", "id", "missing", "namespace", "received_s", "size", "type")

    def __init__(self, type: int, namespace: str, id: int | None, data: Any, size: int = 0) -> None:
        self.type = type
        self.namespace = namespace
        self.id = id
        self.data = data
        self.size = size
        self.missing = 0
        self.received_s = perf_counter()
        self._places: list[tuple[Any, Any]] = []
        self._attached = 0

    def expect(self, count: int) -> None:
        """Announce `count` binary attachments and check that the data has exactly one place for each.

        Raises: PacketError when a placeholder is missing, repeated or names no attachment.
        """
        if count > MAX_ATTACHMENTS:
            raise PacketError("too many attachments")
        places: list[tuple[Any, Any] | None] = [None] * count
        _find_places(self.data, places)
        found = [place for place in places if place is not None]
        if len(found) != count:
            raise PacketError("an attachment without its placeholder")
        self._places = found
        self.missing = count

    def attach(self, attachment: bytes) -> bool:
        """Put the next attachment into its place. Returns whether the packet is complete now."""
        container, key = self._places[self._attached]
        container[key] = attachment
        self._attached += 1
        self.missing -= 1
        self.size += len(attachment)
        return self.missing == 0


def _find_places(value: Any, places: list[tuple[Any, Any] | None]) -> None:
    items: Any
    if isinstance(value, list):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    else:
        return
    for key, item in items:
        if isinstance(item, dict) and item.get("_placeholder") is True:
            number = item.get("num")
            if type(number) is not int or not 0 <= number < len(places) or places[number] is not None:
                raise PacketError("a placeholder names no attachment of its own")
            places[number] = (value, key)
        else:
            _find_places(item, places)


def decode(text: str) -> Packet:
    """Decode the text of one packet that a client sent.

    A binary packet comes back with `missing` > 0: give it the frames that follow, through `attach`.
    Raises: PacketError with a short reason.
    """
    # 42["name", ...] is nearly all of the traffic
    if text.startswith("2["):
        return Packet(EVENT, "/", None, _event(_loads(text[1:])), len(text))
    head = _HEAD.match(text)
    if head is None:
        raise PacketError("unknown packet type")
    kind = int(head[1])
    attachments, namespace, digits = head[2], head[3] or "/", head[4]
    if digits is not None and len(digits) > MAX_ID_DIGITS:
        raise PacketError("id too long")
    packet_id = None if digits is None else int(digits)
    end = head.end()
    data = _loads(text[end:]) if end < len(text) else None
    packet = Packet(kind, namespace, packet_id, data, len(text))
    binary = kind in (BINARY_EVENT, BINARY_ACK)
    if binary != (attachments is not None):
        raise PacketError("attachment count")
    if kind in (EVENT, BINARY_EVENT):
        _event(data)
    elif kind in (ACK, BINARY_ACK):
        if packet_id is None or type(data) is not list:
            raise PacketError("an ack is an id and an array")
    elif packet_id is not None:
        raise PacketError("unexpected id")
    elif kind == DISCONNECT:
        if end < len(text):
            raise PacketError("a disconnect has no payload")
    elif kind == CONNECT_ERROR:
        raise PacketError("only a server sends connect errors")
    if attachments is not None:
        if len(attachments) > 2:
            raise PacketError("too many attachments")
        packet.expect(int(attachments))
    return packet


def _event(data: Any) -> list[Any]:
    if type(data) is not list or not data or type(data[0]) is not str:
        raise PacketError("an event is an array that begins with its name")
    if data[0] in RESERVED_EVENTS:
        raise PacketError("reserved event name")
    return data


def _loads(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        if "\\ud" not in text and "\\uD" not in text:
            raise PacketError("invalid JSON") from exc
        value = _loads_with_lone_surrogates(text)
    # Counting brackets is an upper bound of the depth, and almost always enough.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise PacketError("nested too deep")
    return value


def _loads_with_lone_surrogates(text: str) -> Any:
    # JSON.stringify writes half an emoji (a string cut in the middle) as a lone \udXXX escape, which orjson refuses.
    # Dropping such a client would make it come back and send the same again: it gets U+FFFD, as TextEncoder does.
    # The standard library reads them; what it writes of them is mended, and read again: ten thousand cost 0.7 ms, where
    # mending the escapes one by one took 2 ms.
    try:
        whole = json.dumps(json.loads(text), ensure_ascii=False)
        return orjson.loads(_LONE_SURROGATE.sub("\ufffd", whole))
    except (ValueError, RecursionError) as exc:
        raise PacketError("invalid JSON") from exc


def _depth(value: Any) -> int:
    depth = 0
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            if item:  # of the thousands that a hostile packet has, most are empty
                inner += [each for each in (item.values() if type(item) is dict else item) if type(each) in _CONTAINERS]
        level = inner
    return depth


def encode(type: int, namespace: str = "/", data: Any = None, id: int | None = None) -> Encoded:
    """Encode a packet without binary parts, ready for any number of clients. `data` None means no payload.

    Raises: PacketError when the data has no JSON (NaN, an unknown type).
    """
    return _join(type, namespace, id, b"" if data is None else dumps(data), ())


def encode_event(namespace: str, args: Sequence[Any], id: int | None = None) -> Encoded:
    """Encode an event (args = [name, *arguments]), as a binary event when there are bytes anywhere in it.

    Raises: PacketError when it has no JSON, or more than 10 attachments.
    """
    return _encode_binary(EVENT, BINARY_EVENT, namespace, args, id)


def encode_ack(namespace: str, args: Sequence[Any], id: int) -> Encoded:
    """Encode the ack with the given id; `args` are the arguments of the client's callback.

    Raises: as encode_event.
    """
    return _encode_binary(ACK, BINARY_ACK, namespace, args, id)


def with_id(event: Encoded, namespace: str, id: int) -> Encoded:
    """Return the same encoded event asking for an ack with this id; its JSON is not made again."""
    head = event.packets[0]
    at = head.index(b"[")
    return Encoded((head[:at] + b"%d" % id + head[at:], *event.packets[1:]))


def _encode_binary(plain: int, binary: int, namespace: str, args: Sequence[Any], id: int | None) -> Encoded:
    try:
        body = orjson.dumps(args)
    except TypeError:  # bytes somewhere, or a key that is no string: both rare, so found by trying
        attachments: list[bytes] = []
        body = dumps(_take_out(args, attachments))
        if attachments:
            if len(attachments) > MAX_ATTACHMENTS:
                raise PacketError("too many attachments") from None
            return _join(binary, namespace, id, body, tuple(attachments))
    else:
        if b"null" in body:
            _refuse_nan(args)
    return _join(plain, namespace, id, body, ())


def _join(type: int, namespace: str, id: int | None, body: bytes, attachments: tuple[bytes, ...]) -> Encoded:
    if namespace == "/" and not attachments:  # as nearly all are
        return Encoded((b"4%d%b" % (type, body) if id is None else b"4%d%d%b" % (type, id, body),))
    head = b"4%d" % type
    if attachments:
        head += b"%d-" % len(attachments)
    if namespace != "/":
        head += namespace.encode() + b","
    if id is not None:
        head += b"%d" % id
    return Encoded((head + body, *attachments))


def dumps(value: Any) -> bytes:
    """Encode to JSON; keys that are numbers become strings, as in the json module.

    Raises: PacketError for NaN, Infinity, bytes, unknown types and nesting beyond what can be encoded.
    """
    try:
        body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as exc:
        raise PacketError(f"cannot be encoded: {exc}") from exc
    if b"null" in body:  # orjson writes NaN as null: silently another value
        _refuse_nan(value)
    return body


_FINITE: Final = frozenset({str, int, bool, type(None)})


def _refuse_nan(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PacketError("NaN and Infinity have no JSON")
    elif isinstance(value, (dict, list, tuple)):
        items = value.values() if isinstance(value, dict) else value
        if not _FINITE.issuperset(map(type, items)):
            for item in items:
                if type(item) not in _FINITE:
                    _refuse_nan(item)


def _take_out(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _take_out(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_out(item, attachments) for item in value]
    return value


__all__ = [
    "ACK",
    "BINARY_ACK",
    "BINARY_EVENT",
    "CONNECT",
    "CONNECT_ERROR",
    "DISCONNECT",
    "EVENT",
    "Head",
    "Json",
    "Packet",
    "PacketError",
    "decode",
    "encode",
    "encode_ack",
    "encode_event",
    "read_head",
    "with_id",
]
