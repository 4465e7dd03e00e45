"""Everything that reads bytes of strangers, each as a function of bytes that must return or refuse in its own words.

Used with hypothesis (test_fuzz_parsers.py) and with atheris (atheris_parsers.py), which finds its way by coverage.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from ipaddress import ip_address, ip_network
from socketserver.chat.domain import SystemClock
from socketserver.door.auth import Authenticator
from socketserver.door.origins import Origins
from socketserver.door.proxies import LOCAL, Proxies
from socketserver.errors import ChatError
from socketserver.realtime import PacketError, packets
from socketserver.realtime.engine import packets as engine_packets
from socketserver.realtime.engine.skipping import PayloadSplitter, Skipped
from socketserver.settings import Settings
from socketserver.wire.protocol import ClientEvent, Payloads
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

_SETTINGS: Final = Settings()
_PAYLOADS: Final = Payloads(_SETTINGS)
_ORIGINS: Final = Origins(_SETTINGS)
_PROXIES: Final = Proxies((ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8")))
_AUTHENTICATOR: Final = Authenticator(_SETTINGS, SystemClock())
_EVENTS: Final = [event.value for event in ClientEvent]
_HEADERS: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Host", "Origin", "Cookie")


class _Transport(asyncio.Transport):
    """Of a peer that is a trusted proxy."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 4711) if name == "peername" else default


_REQUEST: Final = make_mocked_request("GET", "/socket.io/", transport=_Transport())


def payload(data: bytes) -> None:
    """The body of a polling POST."""
    try:
        splitter = PayloadSplitter(_SETTINGS.max_event_bytes)
        parts = [*splitter.feed(data), splitter.end()]
        found = [engine_packets.decode_packet(part) for part in parts if not isinstance(part, Skipped)]
    except PacketError:
        return
    for one in found:
        if isinstance(one, str) and one.startswith("4"):
            packet(one[1:].encode("utf-8", "surrogatepass"))


def packet(data: bytes) -> None:
    """A Socket.IO packet. What is accepted can be encoded again, as clients' JSON."""
    try:
        found = packets.decode(data.decode("utf-8", "replace"))
    except PacketError:
        return
    if found.type == packets.EVENT and not found.missing:
        json.dumps(found.data, allow_nan=False)
        command(found.data[0], found.data[1:])


def surrogates(data: bytes) -> None:
    """The same with what JSON can say and UTF-8 cannot."""
    packet(b'2["send_message",{"body":"' + data.hex(sep=" ").encode().replace(b" ", b"\\ud8") + b'"}]')


def command(event: object, arguments: list[object]) -> None:
    try:
        _PAYLOADS.load(str(event), arguments)
    except ChatError as error:
        json.dumps(error.code)


def event(data: bytes) -> None:
    """An event's payload: the first byte says which, the rest is JSON."""
    try:
        arguments = json.loads(data[1:] or b"{}")
    except (ValueError, RecursionError):
        return
    command(_EVENTS[(data[:1] or b"\0")[0] % len(_EVENTS)], [arguments])


def headers(data: bytes) -> None:
    """Headers about addresses, hosts, origins and cookies: the first byte of a line says which one it is."""
    pairs: CIMultiDict[str] = CIMultiDict()
    for line in data.split(b"\n")[:6]:
        text = line[1:].decode("utf-8", "surrogateescape").replace("\r", "").replace("\0", "")
        pairs.add(_HEADERS[(line[:1] or b"\0")[0] % len(_HEADERS)], text)
    message = _REQUEST._message._replace(headers=CIMultiDictProxy(pairs))  # raw ones are nobody's business here
    request = web.Request(
        message,
        _REQUEST._payload,
        _REQUEST.protocol,
        _REQUEST._payload_writer,
        _REQUEST.task,
        _REQUEST._loop,
        client_max_size=0,
    )
    address = _PROXIES.address(request)
    assert address == LOCAL or ip_address(address)
    assert _PROXIES.scheme(request) in ("http", "https")
    _PROXIES.host(request)
    _ORIGINS.allows_request(request)
    _ORIGINS.is_own(request)
    _ORIGINS.trusts_cookie(request)
    str(_ORIGINS.refusal(request).message).encode()
    dict(request.cookies)


def origin(data: bytes) -> None:
    """One Origin against one Host."""
    text, _, host = data.decode("latin-1").partition("\n")
    allowed = _ORIGINS.allows(text, scheme="http", host=host)
    assert not allowed or text.isascii() or text.isprintable()


def token(data: bytes) -> None:
    """A token that nobody has signed: it is refused, and nothing is waited for."""
    checking: Coroutine[Any, Any, object] = _AUTHENTICATOR.from_token(data.decode("latin-1"))
    try:
        checking.send(None)
    except ChatError:
        return
    except StopIteration:
        raise AssertionError("a forged token was believed") from None
    finally:
        checking.close()


PARSERS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__: each for each in (payload, packet, surrogates, event, headers, origin, token)
}
# Where to begin: what is honest, and what broke servers before.
CORPUS: Final[dict[str, list[bytes]]] = {
    "payload": [b"41\x1e6\x1e3", b'42["x",{}]\x1ebAA==', b"4", b"b====", b"\x1e\x1e", b"\xff"],
    "packet": [b'2["send_message",{"body":"x"}]', b'51-["x",{"_placeholder":true,"num":0}]', b"0{}", b"1", b'312["x"]',
               b"2/x,1[", b"2" + b"9" * 30 + b"[]", b'2["x",' + b"[" * 600, b'2["x",NaN]', b'2["\\ud800"]'],
    "surrogates": [b"\x00\x01", b"\xff"],
    "event": [b'\x05{"conversationId":"c","idempotencyKey":"k","body":"x","metadata":{"a":[1]}}',
              b'\x01{"participantIds":["a"]}', b'\x02{"limit":5,"before":"x"}',
              b'\x06{"conversationId":"c","seq":1.0}', b'\x07{"beforeSeq":1e999}'],
    "headers": [b'\x00for="[::1]:1";proto=https', b"\x011.2.3.4, 10.0.0.1", b"\x04[::1\n\x05http://[::1",
                b"\x06a=b; c=\"\\", b"\x01\xff\n\x05\xff"],
    "origin": [b"http://localhost:3000\nlocalhost:3000", b"null\n", b"http://[::1\n[::1", b"://\n:"],
    "token": [b"eyJhbGciOiJIUzI1NiJ9.e30.x", b"a.b.c", b"eyJhbGciOiJub25lIn0.e30."],
}  # fmt: skip
