"""python-socketio's own clients: connect, send, receive, come back after a restart, stay away when told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
import requests
import socketio
from support.servers import ServerProcess, running, token
from support.stage import next_key
from support.waiting import DEADLINE_S, eventually
from support.wire import Wire, wire_to

TRANSPORTS: Final = ("polling", "websocket", "upgrade")
OPTIONS: Final[dict[str, Any]] = {"reconnection_delay": 0.1, "reconnection_delay_max": 0.5, "randomization_factor": 0}

pytestmark = pytest.mark.asyncio(loop_scope="module")

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def transports(transport: str) -> list[str] | None:
    return None if transport == "upgrade" else [transport]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One for all; those who meet on it have names of their own."""
    async with running(tmp_path_factory.mktemp("server") / "chat.db") as server:
        yield server


@pytest.fixture
def ana() -> str:
    return f"ana-{next_key()}"


class Seen:
    """What happened to a client, in order; filled from whatever thread its handlers run in."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def note(self, event: str) -> Callable[..., None]:
        return lambda *args: self.events.append((event, args[0] if args else None))

    def listen(self, client: Any) -> None:
        for event in ("connect", "disconnect", "connect_error", "welcome", "message_created", "session_ended"):
            client.on(event, self.note(event))

    def of(self, event: str) -> list[Any]:
        return [payload for name, payload in self.events if name == event]

    async def wait(self, event: str, count: int = 1) -> Any:
        await eventually(f"{count} × {event}", lambda: len(self.of(event)) >= count)
        return self.of(event)[count - 1]


@contextlib.asynccontextmanager
async def async_client(url: str, transport: str, user: str) -> AsyncIterator[tuple[socketio.AsyncClient, Seen]]:
    seen = Seen()
    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(http_session=http, **OPTIONS)
        seen.listen(client)
        await client.connect(url, auth={"token": token(user)}, transports=transports(transport))
        try:
            await seen.wait("welcome")
            yield client, seen
        finally:
            await client.shutdown()


async def ask(client: socketio.AsyncClient, event: str, payload: object) -> dict[str, Any]:
    ack = await client.call(event, payload, timeout=DEADLINE_S)
    assert ack["ok"], ack
    return dict(ack)


def message(conversation: str, body: str) -> dict[str, str]:
    return {"conversationId": conversation, "idempotencyKey": next_key(), "body": body}


async def conversation_with(ana: str, wire: Wire) -> tuple[Any, str]:
    ben = await wire.person(f"ben-{next_key()}")
    return ben, await ben.create(ana)


def close_websockets(client: Any) -> None:
    """python-engineio's client of threads leaves a websocket that the server has closed to the garbage collector."""

    def close(*_: object) -> None:
        if client.transport() == "websocket":
            client.eio.ws.shutdown()

    client.on("disconnect", close)


@each_transport
async def test_async_client(server: ServerProcess, ana: str, transport: str) -> None:
    """A polling client took the CLOSE packet of a restart for final, and stayed away. It comes back, and resumes."""
    async with wire_to(server.url) as wire, async_client(server.url, transport, ana) as (client, seen):
        ben, conversation = await conversation_with(ana, wire)
        joined = await ask(client, "join_conversation", {"conversationId": conversation})
        assert joined["messages"] == []
        assert (await ask(client, "send_message", message(conversation, "one")))["message"]["seq"] == 1
        await ben.send(conversation, "two")
        await seen.wait("message_created", 2)
        assert client.transport() == ("polling" if transport == "polling" else "websocket")

        assert await server.terminate() == 0
        assert (await seen.wait("session_ended"))["code"] == "restart"
        await seen.wait("disconnect")
        await server.start()
        await seen.wait("welcome", 2)
        assert (await ask(client, "send_message", message(conversation, "three")))["message"]["seq"] == 3
        resumed = await ask(client, "join_conversation", {"conversationId": conversation, "after": 1})
        assert [each["body"] for each in resumed["messages"]] == ["two", "three"]


@each_transport
async def test_async_client_that_is_replaced(server: ServerProcess, ana: str, transport: str) -> None:
    """It is told, and stays away."""
    async with async_client(server.url, transport, ana) as (_, seen):
        async with async_client(server.url, transport, ana) as (newer, _):
            assert (await seen.wait("session_ended"))["code"] == "replaced"
            await seen.wait("disconnect")
            for _ in range(10):  # as long as it would have taken to come back, several times over
                await ask(newer, "list_conversations", {"limit": 1})
                await asyncio.sleep(0.1)
        assert len(seen.of("connect")) == 1


@each_transport
async def test_client(server: ServerProcess, ana: str, transport: str) -> None:
    """The same with the client of threads."""
    seen = Seen()
    http = requests.Session()
    client = socketio.Client(http_session=http, **OPTIONS)
    seen.listen(client)
    close_websockets(client)

    async def call(event: str, payload: object) -> dict[str, Any]:
        ack = await asyncio.to_thread(client.call, event, payload, timeout=int(DEADLINE_S))
        assert ack["ok"], ack
        return dict(ack)

    try:
        await asyncio.to_thread(
            client.connect, server.url, auth={"token": token(ana)}, transports=transports(transport)
        )
        await seen.wait("welcome")
        async with wire_to(server.url) as wire:
            ben, conversation = await conversation_with(ana, wire)
            await call("join_conversation", {"conversationId": conversation})
            await call("send_message", message(conversation, "one"))
            await ben.send(conversation, "two")
            await seen.wait("message_created", 2)
        assert await server.terminate() == 0
        assert (await seen.wait("session_ended"))["code"] == "restart"
        await server.start()
        await seen.wait("welcome", 2)
        resumed = await call("join_conversation", {"conversationId": conversation, "after": 1})
        assert [each["body"] for each in resumed["messages"]] == ["two"]
    finally:
        await asyncio.to_thread(client.shutdown)
        http.close()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_simple_client(server: ServerProcess, ana: str, transport: str) -> None:
    """The one without handlers: it calls, receives, and asks in vain without a login."""

    def talk(conversation: str) -> list[Any]:
        with requests.Session() as http, socketio.SimpleClient(http_session=http) as client:
            client.connect(server.url, auth={"token": token(ana)}, transports=[transport], wait_timeout=int(DEADLINE_S))
            got = [client.receive(timeout=DEADLINE_S)[0]]
            got.append(
                client.call("join_conversation", {"conversationId": conversation}, timeout=int(DEADLINE_S))["ok"]
            )
            sent = client.call("send_message", message(conversation, "one"), timeout=int(DEADLINE_S))
            got += [sent["message"]["seq"], client.receive(timeout=DEADLINE_S)[0]]
        return got

    def talk_without_login() -> str:
        with requests.Session() as http, socketio.SimpleClient(http_session=http) as client:
            client.connect(server.url, transports=[transport], wait_timeout=int(DEADLINE_S))
            ack = client.call("list_conversations", {}, timeout=int(DEADLINE_S))
            return str(ack["error"]["code"])

    async with wire_to(server.url) as wire:
        _, conversation = await conversation_with(ana, wire)
        assert await asyncio.to_thread(talk, conversation) == ["welcome", True, 1, "message_created"]
        assert await asyncio.to_thread(talk_without_login) == "auth_required"
