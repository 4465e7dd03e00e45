"""What is too large, or can never be accepted, is answered, and what stands behind it goes on. Raw frames."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from socketserver.realtime import AsyncServer
from typing import Any

import aiohttp
import pytest
from support.engine import client_of
from support.engine import serving as serving_engine
from support.guarded import Chat, Raw, chatting, enter, http, knock, until

LIMIT = 65_536
MOST = 8_388_608
TRANSPORTS = ["websocket", "polling"]


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with chatting() as chat:
        yield chat


class Polling:
    """A client that polls, packet by packet; its posts are what a test says."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/socket.io/?EIO=4&transport=polling"
        self.packets: list[str] = []

    @classmethod
    async def enter(cls, session: aiohttp.ClientSession, chat: Chat, user: str) -> Polling:
        client = cls(session, chat.url)
        async with session.get(client._url) as response:
            client._url += "&sid=" + json.loads((await response.text())[1:])["sid"]
        assert await client.post("40" + json.dumps({"token": chat.token(user)})) == (200, "ok")
        await client.wait(lambda packet: packet.startswith('42["welcome"'))
        return client

    async def post(self, *packets: str) -> tuple[int, str]:
        async with self._session.post(self._url, data=io.BytesIO("\x1e".join(packets).encode())) as response:
            return response.status, await response.text()

    async def poll(self) -> tuple[int, str]:
        async with self._session.get(self._url) as response:
            return response.status, await response.text()

    async def wait(self, condition: Callable[[str], bool]) -> str:
        """The first packet of which that is true."""
        async with asyncio.timeout(10):
            while True:
                for packet in self.packets:
                    if condition(packet):
                        self.packets.remove(packet)
                        return packet
                status, text = await self.poll()
                assert status == 200, text
                self.packets += text.split("\x1e")

    async def ack(self, number: int) -> dict[str, Any]:
        packet = await self.wait(lambda packet: packet.startswith(f"43{number}["))
        (ack,) = json.loads(packet[packet.index("[") :])
        assert isinstance(ack, dict)
        return ack


def event(number: int | str, size: int, name: str = "send_message") -> str:
    """An event of so many bytes."""
    head, tail = f'42{number}["{name}",{{"body":"', '"}]'
    return head + "x" * (size - len(head) - len(tail)) + tail


def error_of(ack: dict[str, Any]) -> tuple[str, bool, int | None]:
    error = ack["error"]
    return error["code"], error["retryable"], error.get("limitBytes")


TOO_LARGE = ("too_large", False, LIMIT)


@pytest.mark.parametrize("size", [LIMIT + 1, 70_000, 1_000_000, MOST])
async def test_an_event_over_a_websocket(chat: Chat, size: int) -> None:
    """A message over the limit ended its client as "not Socket.IO". It is acked with the limit, as is the next one."""
    async with http() as session:
        raw = await enter(session, chat, "ann")
        await raw.send(event(1, LIMIT), event(2, size), '423["list_conversations",{}]')
        assert error_of(await raw.ack(1))[0] == "invalid_payload"
        ack = await raw.ack(2)
        assert error_of(ack) == TOO_LARGE
        assert str(LIMIT) in ack["error"]["message"]
        assert (await raw.ack(3))["ok"]
        assert "session_ended" not in dict(raw.events)
        # Nothing of it is held, and it counts as one event.
        assert chat.sio.stats()["outbox_bytes"] == 0


@pytest.mark.parametrize("size", [LIMIT + 1, 70_000, 1_000_000])
async def test_an_event_over_polling(chat: Chat, size: int) -> None:
    """A POST over the limit cost the session, and with it whatever else was in the POST."""
    async with http() as session:
        client = await Polling.enter(session, chat, "ann")
        posted = await client.post(event(1, LIMIT), event(2, size), '423["list_conversations",{}]', event(4, size))
        assert posted == (200, "ok")
        assert error_of(await client.ack(1))[0] == "invalid_payload"
        assert error_of(await client.ack(2)) == TOO_LARGE
        assert (await client.ack(3))["ok"]
        assert error_of(await client.ack(4)) == TOO_LARGE


async def test_a_post_of_many_events(chat: Chat) -> None:
    """Clients before 4.5 do not know maxPayload: what they sent at once after a while offline was lost as a whole."""
    async with http() as session:
        client = await Polling.enter(session, chat, "ann")
        packets = [event(number, 10_000, "list_conversations") for number in range(1, 31)]
        assert await client.post(*packets) == (200, "ok")
        assert [error_of(await client.ack(number))[0] for number in range(1, 31)] == ["invalid_payload"] * 30


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("packet", [event("", 70_000), "43" + "1" * 70_000, "40" + "x" * 70_000, "6" * 70_000])
async def test_without_an_ack(chat: Chat, transport: str, packet: str) -> None:
    """What nobody can be told of ends the connection, with a code of its own, the limit, and leave to come back."""
    async with http() as session:
        if transport == "websocket":
            raw = await enter(session, chat, "ann")
            await raw.send(packet)
            ended, close_code = await raw.end()
            assert close_code == 1009
        else:
            client = await Polling.enter(session, chat, "ann")
            posting = asyncio.create_task(client.post(packet))
            last = await client.wait(lambda packet: packet.startswith('42["session_ended"'))
            ended = json.loads(last[2:])[1]
            assert (await client.poll())[0] == 400  # not CLOSE: it is to come back
            assert await posting == (413, "")
        assert (ended["code"], ended["reconnect"], ended["limitBytes"]) == ("too_large", True, LIMIT)
        assert "65536 bytes" in ended["message"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_post_that_is_too_large_to_be_read_past(chat: Chat, announced: bool) -> None:
    """Its client is told why, and the POST is answered like Engine.IO's own server does: 413, nothing more."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MOST // 65_536 + 2):
            yield b"4" * 65_536

    async with http() as session:
        client = await Polling.enter(session, chat, "ann")
        body: Any = io.BytesIO(b"4" * (MOST + 1)) if announced else endless()

        async def post() -> tuple[int, str] | None:
            try:
                async with session.post(client._url, data=body) as response:
                    return response.status, await response.text()
            except aiohttp.ClientError:  # the server does not wait for all of it
                return None

        posting = asyncio.create_task(post())
        last = await client.wait(lambda packet: packet.startswith('42["session_ended"'))
        assert json.loads(last[2:])[1]["code"] == "too_large"
        assert await posting in (None, (413, ""))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("attachments", "limit"),
    [
        pytest.param([LIMIT + 1], LIMIT, id="one"),
        pytest.param([10, 1_000_000, 10], LIMIT, id="the second of three"),
        pytest.param([LIMIT + 1, LIMIT + 1], LIMIT, id="two"),
        pytest.param([LIMIT] * 4, 4 * LIMIT, id="together"),
        pytest.param([LIMIT] * 9, 4 * LIMIT, id="together, long before the last"),
    ],
)
async def test_attachments(chat: Chat, transport: str, attachments: list[int], limit: int) -> None:
    """An attachment that is too large, or all of them together, cost the connection."""
    places = [{"_placeholder": True, "num": number} for number in range(len(attachments))]
    head = f'45{len(attachments)}-7["send_message",{json.dumps(places)}]'
    async with http() as session:
        client: Raw | Polling
        if transport == "websocket":
            client = await enter(session, chat, "ann")
            await client.send(head, *map(bytes, attachments), '428["list_conversations",{}]')
        else:
            client = await Polling.enter(session, chat, "ann")
            parts = ["b" + base64.b64encode(bytes(size)).decode() for size in attachments]
            assert await client.post(head, *parts, '428["list_conversations",{}]') == (200, "ok")
        assert error_of(await client.ack(7)) == ("too_large", False, limit)
        assert (await client.ack(8))["ok"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_attachment_of_the_limit(transport: str) -> None:
    """Over polling an attachment was measured in base64, and one of the limit refused."""
    sio = AsyncServer(max_http_buffer_size=1_000)
    seen: list[int] = []

    @sio.event
    async def file(sid: str, data: bytes) -> int:
        seen.append(len(data))
        return len(data)

    async with serving_engine(sio) as url, client_of(url) as http:
        head = '451-1["file",{"_placeholder":true,"num":0}]'
        for size in (999, 1_000, 1_001):
            body = base64.b64encode(bytes(size)).decode()
            if transport == "polling":
                sid = await http.handshake()
                await http.post(sid, "40")
                await http.poll(sid)
                assert (await http.post(sid, f"{head}\x1eb{body}"))[0] == 200
                answer = (await http.poll(sid))[1]
            else:
                raw, _ = await http.connected()
                await raw.send(head, "b" + body)
                answer = await raw.next()
            assert (answer == f"431[{size}]") == (size <= 1_000), answer
            assert ("too_large" in answer) == (size > 1_000), answer
    assert seen == [999, 1_000]


@pytest.mark.parametrize(
    "packet",
    [
        '427["send_message",' + "[" * 600 + "]" * 600 + "]",
        '427["send_message",{"limit":NaN}]',
        '427["send_message"',
        '427["connect"]',
        '427{"a":1}',
        "427[]",
        '451-7["send_message"]',
        '451-7["send_message",{"_placeholder":true,"num":3}]',
        "4511-7" + json.dumps(["send_message", *({"_placeholder": True, "num": number} for number in range(11))]),
        '421-7["send_message"]',
    ],
)
async def test_a_payload_that_can_never_be_accepted(chat: Chat, packet: str) -> None:
    """It ended the connection, and the client's `retries` sent it again at the next one. Its attachments go nowhere."""
    attachments = int(packet[2 : packet.index("-")]) if "-7" in packet[:6] else 0
    async with http() as session:
        raw = await enter(session, chat, "ann")
        await raw.send(packet, *[b"x"] * attachments, '428["list_conversations",{}]')
        refusal = await raw.ack(7)
        assert error_of(refusal) == ("invalid_payload", False, None)
        assert list(refusal["error"]["fields"]) == ["payload"]
        assert (await raw.ack(8))["ok"]


async def test_a_flood_of_what_is_too_large() -> None:
    """It costs a client its rate of events, like any other event, and in the end its connection."""
    async with chatting(events_per_second=1) as chat, http() as session:
        raw = await enter(session, chat, "ann")
        chat.clock.hold()  # on a busy machine the rate kept up with the flood
        codes = []
        for number in range(1, 121):
            await raw.send(event(number, LIMIT + 1))
            codes.append(error_of(await raw.ack(number))[0])
        assert codes[0] == "too_large"
        assert codes[-1] == "rate_limited"
        assert set(codes) == {"too_large", "rate_limited"}


async def test_a_token_that_is_too_large(chat: Chat) -> None:
    """A connect that is too large is refused with a reason, at which the stock client stays away."""
    async with http() as session:
        raw = await knock(session, chat)
        await raw.send("40" + json.dumps({"token": "x" * 70_000}))
        refusal = await raw.read()
        assert refusal is not None
        assert refusal.startswith("4{")
        assert json.loads(refusal[1:])["data"]["code"] == "too_large"
        await raw.close()


async def test_who_comes_again_with_it_is_not_locked_out(chat: Chat) -> None:
    """Four ends by `too_large` locked a user out as a loop, before the client's `retries` had given the message up."""
    async with http() as session:
        for _ in range(6):
            raw = await enter(session, chat, "ann")
            await raw.send(event("", MOST + 1))
            assert (await raw.end())[0]["code"] == "too_large"
            await until(lambda: not len(chat.sessions), "it is gone")
        raw = await enter(session, chat, "ann")
        assert (await raw.ask("list_conversations", {}))["ok"]
        sizes = chat.guards.sizes()
        assert (sizes["drops"], sizes["failed"]) == (0, 0)


async def test_who_does_not_stop_is_locked_out(chat: Chat) -> None:
    """`connects_per_minute_user` bounds it still."""
    async with http() as session:
        for _ in range(20):
            raw = await enter(session, chat, "ann")
            await raw.send(event("", MOST + 1))
            await raw.end()
        with pytest.raises(Exception, match="too_many_connects"):
            await enter(session, chat, "ann")


@pytest.mark.parametrize("compressed", [True, False])
async def test_with_compression(compressed: bool) -> None:
    """A compressed message cannot be read past: its client is ended, for what it is."""
    async with chatting(websocket_compression=True) as chat, http() as session:
        url = f"{chat.url}/socket.io/?EIO=4&transport=websocket"
        socket = await session.ws_connect(url, compress=15 if compressed else 0, max_msg_size=0)
        raw = Raw(socket)
        assert (await socket.receive_str()).startswith("0")
        await raw.connect({"token": chat.token("ann")})
        await raw.send(event(1, 70_000))
        if compressed:
            assert (await raw.end())[0]["code"] == "too_large"
        else:
            assert error_of(await raw.ack(1)) == TOO_LARGE
            await raw.close()
