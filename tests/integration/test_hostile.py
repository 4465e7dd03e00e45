"""What single requests and frames can do to the server: they are refused, and end their own connection at most."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from support.guarded import Chat, chatting, enter, http, poll_handshake, until

MAX_EVENT_BYTES = 65_536
MAX_SKIPPED_BYTES = 8_388_608


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with chatting() as chat:
        yield chat


async def exchange(chat: Chat, request: bytes) -> bytes:
    """Send bytes over a connection of their own; what comes back until the server closes it or has answered."""
    address = urlsplit(chat.url)
    assert address.hostname
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    answer = b""
    try:
        async with asyncio.timeout(3):
            while chunk := await reader.read(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /../../etc/passwd HTTP/1.1",
        "GET /demo/../../../etc/passwd HTTP/1.1",
        "GET /demo/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1",
        "GET /demo/%2e%2e/%2e%2e/setup.cfg HTTP/1.1",
        "GET /demo/%00 HTTP/1.1",
        "GET /demo//etc/passwd HTTP/1.1",
        "GET //evil.example/socket.io/ HTTP/1.1",
        "GET /socket.io/../session HTTP/1.1",
        "GET /socket.io HTTP/1.1",
        "DELETE /socket.io/?EIO=4&transport=polling HTTP/1.1",
        "GET /socket.io/?EIO=4&transport=polling&sid=../../etc HTTP/1.1",
        "GET /socket.io/?EIO=4&transport=polling&sid=%00%ff HTTP/1.1",
        "GET /socket.io/?EIO=4&transport=flashsocket HTTP/1.1",
        "GET /socket.io/?EIO=99999999999999999999&transport=polling HTTP/1.1",
        "GET /" + "x" * 20_000 + " HTTP/1.1",
        "BREW /socket.io/?EIO=4&transport=polling HTTP/1.1",
        "GET /socket.io/?EIO=4&transport=polling HTTP/9.9",
        "nonsense",
    ],
)
async def test_paths_and_methods(chat: Chat, request_line: str) -> None:
    """No path leads out of the demo page's files, and none that is odd makes the server stumble."""
    answer = await exchange(chat, f"{request_line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert 400 <= status(answer) < 500 or not answer
    assert b"root:" not in answer
    assert b"[metadata]" not in answer
    assert not chat.sio.eio.sessions


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param("X-A: " + "a" * 10_000, id="a long header"),
        pytest.param("\r\n".join(f"X-{n}: {'a' * 50}" for n in range(2_000)), id="many headers"),
        pytest.param("Cookie: " + "; ".join(f"c{n}={'v' * 20}" for n in range(500)), id="many cookies"),
        pytest.param("Content-Length: -1", id="a negative length"),
        pytest.param("Content-Length: 5\r\nTransfer-Encoding: chunked", id="two lengths"),
        pytest.param("Content-Length: 5\r\nContent-Length: 6", id="two different lengths"),
        pytest.param("X: a\r\n b: folded", id="a folded header"),
        pytest.param("\x00: x", id="a NUL"),
        pytest.param("Origin: http://localhost:3000\r\nOrigin: http://evil.example", id="two origins"),
        pytest.param("Host: evil.example", id="two hosts"),
        pytest.param("Upgrade: websocket", id="half an upgrade"),
    ],
)
async def test_headers(chat: Chat, headers: str) -> None:
    """Floods of headers are refused, and ambiguous ones are not guessed at."""
    line = "POST /socket.io/?EIO=4&transport=polling HTTP/1.1"
    answer = await exchange(chat, f"{line}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n".encode())
    assert 400 <= status(answer) < 500 or not answer
    assert not chat.sio.eio.sessions


async def test_oversize_bodies(chat: Chat) -> None:
    """At the limit a POST is read, over it refused with 413, whether its length is announced or not."""
    async with http() as session:

        async def post(body: object) -> int:
            _, _, text = await poll_handshake(session, chat)
            sid = json.loads(text[1:])["sid"]
            url = f"{chat.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
            async with session.post(url, data=body) as response:
                return response.status

        async def chunks(size: int) -> AsyncIterator[bytes]:
            for start in range(0, size, 4096):
                yield b"6" * min(4096, size - start)

        packet = '42["x","' + "y" * (MAX_EVENT_BYTES - 10) + '"]'
        assert len(packet) == MAX_EVENT_BYTES
        assert await post(packet) == 200
        assert await post(packet + " ") == 413
        assert await post(chunks(MAX_EVENT_BYTES + 1)) == 413
        async with session.post(f"{chat.url}/session", data=b"x" * 100_000) as response:
            assert response.status in (400, 413)


async def test_oversize_websocket_messages(chat: Chat) -> None:
    """At the limit a message is taken; far over it the client is told `too_large` and closed with 1009."""
    async with http() as session:
        raw = await enter(session, chat, "ann")
        head, tail = '421["list_conversations",{"before":"', '"}]'
        await raw.send(head + "x" * (MAX_EVENT_BYTES - len(head) - len(tail)) + tail)
        assert (await raw.ack(1))["error"]["code"] == "invalid_payload"
        await raw.send(head + "x" * MAX_SKIPPED_BYTES + tail)
        ended, close_code = await raw.end()
        assert (ended["code"], ended["limitBytes"]) == ("too_large", MAX_EVENT_BYTES)
        assert close_code == 1009


MASK = b"\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x81\x02hi", id="not masked"),
        pytest.param(b"\xc1\x80" + MASK, id="compressed though nothing was negotiated"),
        pytest.param(b"\xf1\x80" + MASK, id="reserved bits"),
        pytest.param(b"\x83\x80" + MASK, id="an unknown opcode"),
        pytest.param(b"\x80\x80" + MASK, id="a continuation of nothing"),
        pytest.param(b"\x09\x80" + MASK, id="a fragmented ping"),
        pytest.param(b"\x89\xfe\x00\x80" + MASK + b"x" * 128, id="a ping of 128 bytes"),
        pytest.param(b"\x81\xff" + struct.pack("!Q", 1 << 62) + MASK, id="4 exabytes announced"),
        pytest.param(b"\x81\xff" + struct.pack("!Q", (1 << 64) - 1) + MASK, id="the longest length there is"),
        pytest.param(b"\x81\x82" + MASK + b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"\x88\x81" + MASK + b"\x03", id="half a close code"),
        pytest.param(b"\x81\x81" + MASK + b"x", id="not a packet"),
        *(pytest.param(random.Random(seed).randbytes(400), id=f"noise {seed}") for seed in range(5)),
    ],
)
async def test_websocket_frames(chat: Chat, frame: bytes) -> None:
    """A frame that breaks the rules ends its connection; another client does not notice."""
    async with http() as session:
        bystander = await enter(session, chat, "bystander")
        address = urlsplit(chat.url)
        assert address.hostname
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"permessage-deflate" not in head  # no compressed bombs either
        writer.write(frame)
        async with asyncio.timeout(5):
            while await reader.read(65536):
                pass
        writer.close()
        await until(lambda: len(chat.sio.eio.sessions) == 1, "only the bystander is left")
        assert (await bystander.ask("list_conversations", {}))["ok"]


@pytest.mark.parametrize(
    "packet",
    [
        '42["connect",{"token":"x"}]',
        '42["disconnect","server disconnect"]',
        '42["connect_error",{}]',
        '459999999999-["send_message",{"_placeholder":true,"num":0}]',
        '451-["send_message",{"_placeholder":true,"num":7}]',
        '4511-["send_message"]',
        '42["send_message",' + "[" * 600 + "]" * 600 + "]",
        "42" + "9" * 60_000 + '["list_conversations",{}]',
        '42["list_conversations",{"limit":NaN}]',
        b"\x00\x01",
    ],
)
async def test_socketio_packets(chat: Chat, packet: str | bytes) -> None:
    """Ended as malformed: told so first, and closed with a code that says policy."""
    async with http() as session:
        bystander = await enter(session, chat, "bystander")
        raw = await enter(session, chat, "ann")
        await raw.send(packet)
        ended, close_code = await raw.end()
        assert (ended["code"], ended["reconnect"]) == ("malformed", False)
        assert close_code == 1008
        assert (await bystander.ask("list_conversations", {}))["ok"]


@pytest.mark.parametrize("packet", ["42/" + "n" * 60_000 + ',["x"]', '42/admin,1["send_message",{}]', "41/x,", "431[]"])
async def test_packets_for_nobody(chat: Chat, packet: str) -> None:
    """A namespace in which the client is not, an ack that nobody asked for: ignored, and nothing is kept."""
    async with http() as session:
        raw = await enter(session, chat, "ann")
        await raw.send(packet)
        assert (await raw.ask("list_conversations", {}))["ok"]
        assert list(chat.sio.manager.namespaces) == ["/"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ('{"limit":1,"limit":2}', None),  # duplicate keys: the last one counts, as in JavaScript
        ('{"limit":"1"}', "invalid_payload"),
        ('{"limit":99999999999999999999}', "invalid_payload"),
        ('{"before":"\\ud800"}', "invalid_payload"),
        ('{"before":"\\u0000"}', "invalid_payload"),
        ('{"__proto__":{"limit":1}}', "invalid_payload"),
        ('{"constructor":1}', "invalid_payload"),
        ("[]", "invalid_payload"),
        ("null", "invalid_payload"),
        ("{},{}", "invalid_payload"),
        ('{"_placeholder":true,"num":0}', "invalid_payload"),
    ],
)
async def test_payloads(chat: Chat, payload: str, code: str | None) -> None:
    """What is a packet but no good payload gets its ack, and the connection stays."""
    async with http() as session:
        raw = await enter(session, chat, "ann")
        await raw.send(f'421["list_conversations",{payload}]')
        ack = await raw.ack(1)
        assert ack["ok"] if code is None else ack["error"]["code"] == code
        assert (await raw.ask("list_conversations", {}))["ok"]
