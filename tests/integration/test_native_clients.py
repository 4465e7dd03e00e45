"""What the clients of phones and machines send, request by request: their headers, queries and ways of upgrading.

Facts from the sources of socket.io-client-swift 16 (with Starscream), socket.io-client-java 2 (with OkHttp) and
socket_io_client for Dart 2 and 3.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from support.servers import running, token
from support.stage import next_key
from support.waiting import DEADLINE_S
from support.wire import wire_to

SEPARATOR: Final = "\x1e"


@dataclass(frozen=True)
class Kind:
    """A client.

    Attributes:
        upgrades: what it does once its probe was answered: "upgrade" at once (5), or "noop first" (a POST of 6, and 5
            when its poll has ended).
    """

    name: str
    headers: dict[str, str]
    post: dict[str, str]
    websocket: dict[str, str]
    websocket_query: str
    upgrades: str
    compresses: int = 0
    origin: bool = field(default=False)


SWIFT: Final = Kind(
    name="Swift",
    headers={
        "Accept": "*/*",
        "User-Agent": "Chat/1 CFNetwork/1490.0.4 Darwin/23.2.0",
        "Accept-Encoding": "gzip, deflate",
    },
    post={"Content-Type": "text/plain; charset=UTF-8"},
    websocket={},
    websocket_query="transport=websocket&EIO=4",
    upgrades="noop first",
    origin=True,  # Starscream says its own address: ws://host:port
)
JAVA: Final = Kind(
    name="Java",
    headers={"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "okhttp/3.12.12"},
    post={"Content-Type": "text/plain;charset=UTF-8"},
    websocket={"Accept-Encoding": "gzip", "User-Agent": "okhttp/3.12.12"},
    websocket_query="EIO=4&transport=websocket",
    upgrades="upgrade",
    compresses=15,
)
DART: Final = Kind(
    name="Dart",
    headers={"user-agent": "Dart/3.4 (dart:io)", "accept": "*/*", "accept-encoding": "gzip"},
    post={"content-type": "text/plain;charset=UTF-8"},
    websocket={"user-agent": "Dart/3.4 (dart:io)", "cache-control": "no-cache"},
    websocket_query="EIO=4&transport=websocket",
    upgrades="upgrade",
    compresses=15,
)
KINDS: Final = (SWIFT, JAVA, DART)


class Native:
    """One connection of such a client."""

    def __init__(self, kind: Kind, http: aiohttp.ClientSession, url: str, user: str) -> None:
        self._kind = kind
        self._http = http
        self._url = f"{url}/socket.io/"
        self._host = url.removeprefix("http://")
        self._token = token(user)
        self._sid = ""
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._polling: asyncio.Task[list[str]] | None = None
        self._packets: list[str] = []
        self._ids = 0

    # Its transports

    async def _get(self) -> list[str]:
        query = f"EIO=4&transport=polling{f'&sid={self._sid}' if self._sid else ''}&t=abc"
        async with self._http.get(f"{self._url}?{query}", headers=self._kind.headers) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain")  # Java's fails without one
            return (await answer.text()).split(SEPARATOR)

    async def _post(self, *packets: str) -> None:
        url = f"{self._url}?EIO=4&transport=polling&sid={self._sid}"
        headers = {**self._kind.headers, **self._kind.post}
        async with self._http.post(url, data=SEPARATOR.join(packets).encode(), headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
            assert answer.headers["Content-Type"].startswith("text/plain")

    async def _open_websocket(self) -> aiohttp.ClientWebSocketResponse:
        query = self._kind.websocket_query + (f"&sid={self._sid}" if self._sid else "")
        return await self._http.ws_connect(
            f"{self._url}?{query}",
            headers=self._kind.websocket,
            origin=f"ws://{self._host}" if self._kind.origin else None,
            compress=self._kind.compresses,
        )

    async def poll(self) -> None:
        """Begin over polling, with the CONNECT in a POST."""
        (opened,) = await self._get()
        self._sid = json.loads(opened[1:])["sid"]
        await self._post("40" + json.dumps({"token": self._token}))

    async def websocket(self) -> None:
        """Begin over a websocket."""
        self._socket = await self._open_websocket()
        assert (await self._socket.receive_str()).startswith("0")
        await self._socket.send_str("40" + json.dumps({"token": self._token}))

    async def upgrade(self) -> None:
        """Go on over a websocket, the way this client does it, while a poll is pending."""
        if self._polling is None:
            self._polling = asyncio.create_task(self._get())
        socket = await self._open_websocket()
        await socket.send_str("2probe")
        assert await socket.receive_str() == "3probe"
        if self._kind.upgrades == "noop first":
            await self._post("6")
        self._packets += await self._polling  # the server ends the poll
        self._polling = None
        await socket.send_str("5")
        self._socket = socket

    # What an application does

    async def packet(self) -> str:
        """The next packet that is no ping; those are answered."""
        while True:
            while self._packets:
                packet = self._packets.pop(0)
                if packet == "2":
                    await (self._socket.send_str("3") if self._socket else self._post("3"))
                elif packet != "6":
                    return packet
            if self._socket is not None:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return "closed"
                self._packets.append(message.data)
            else:
                self._packets += await self._get()

    async def wait(self, beginning: str) -> Any:
        """The payload of the next packet that begins so."""
        async with asyncio.timeout(DEADLINE_S):
            while not (packet := await self.packet()).startswith(beginning):
                assert packet != "closed"
        return json.loads(packet[packet.index("[") :])

    async def ask(self, event: str, payload: object) -> dict[str, Any]:
        self._ids += 1
        packet = f"42{self._ids}{json.dumps([event, payload])}"
        await (self._socket.send_str(packet) if self._socket else self._post(packet))
        (ack,) = await self.wait(f"43{self._ids}[")
        assert ack["ok"], ack
        return dict(ack)

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()


@pytest.mark.parametrize("how", ["polling", "upgrade", "websocket"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_native_clients(kind: Kind, how: str, tmp_path: Path) -> None:
    """Connect, send, receive, be told of a restart, come back and resume."""
    async with running(tmp_path / "chat.db") as server, aiohttp.ClientSession() as http:
        client = Native(kind, http, server.url, "ana")
        await (client.websocket() if how == "websocket" else client.poll())
        await client.wait('42["welcome"')
        if how == "upgrade":
            await client.upgrade()
        async with wire_to(server.url) as wire:
            ben = await wire.person("ben")
            conversation = await ben.create("ana")
            await client.ask("join_conversation", {"conversationId": conversation})
            sent = {"conversationId": conversation, "idempotencyKey": next_key(), "body": "héllo 😀"}
            assert (await client.ask("send_message", sent))["message"]["body"] == "héllo 😀"
            await ben.send(conversation, "and back")
            while (await client.wait('42["message_created"'))[1]["message"]["body"] != "and back":
                pass
        ending = asyncio.create_task(server.terminate())
        assert (await client.wait('42["session_ended"'))[1]["code"] == "restart"
        if how == "polling":
            with pytest.raises(AssertionError):  # an error, at which each of them begins anew
                await client.packet()
        else:
            assert await client.packet() == "closed"
        await client.close()
        assert await ending == 0
        await server.start()
        again = Native(kind, http, server.url, "ana")
        await (again.websocket() if how == "websocket" else again.poll())
        await again.wait('42["welcome"')
        resumed = await again.ask("join_conversation", {"conversationId": conversation, "after": 1})
        assert [each["body"] for each in resumed["messages"]] == ["and back"]
        await again.close()
