"""What most tests begin with: people who are connected, and conversations between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final, Protocol

from .node import Client, Node, Transport, Version
from .peer import Peer
from .servers import token

_KEYS: Final = itertools.count(1)


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


@dataclass(eq=False)
class Actor:
    """A user with one client, of whatever kind."""

    id: str
    client: Peer

    async def send(self, conversation_id: str, body: str, *, key: str | None = None, **more: Any) -> dict[str, Any]:
        """Send a message. Returns the ack."""
        payload = {"conversationId": conversation_id, "idempotencyKey": key or next_key(), "body": body, **more}
        return await self.client.ok("send_message", payload)

    async def join(self, conversation_id: str, **more: Any) -> dict[str, Any]:
        """Join a conversation. Returns the ack."""
        return await self.client.ok("join_conversation", {"conversationId": conversation_id, **more})

    async def create(self, *others: str, **more: Any) -> str:
        """Create a conversation. Returns its id."""
        ack = await self.client.ok("create_conversation", {"participantIds": list(others), **more})
        return str(ack["conversation"]["id"])

    async def settle(self) -> None:
        """Wait until everything that the server sent this client before this call has arrived."""
        for _ in range(2):
            await self.client.ok("list_conversations", {"limit": 1})


@dataclass(eq=False)
class Person(Actor):
    """A user with a JavaScript client."""

    client: Client


def next_key() -> str:
    """An idempotency key that was not used before."""
    return f"key-{next(_KEYS)}"


class Stage:
    """A server, and the Node process for its clients.

    Args:
        version, transport: of clients for which nothing else is said.
    """

    def __init__(
        self, server: HasUrl, node: Node, *, version: Version = "4.8", transport: Transport = "websocket"
    ) -> None:
        self.server = server
        self.node = node
        self.version: Version = version
        self.transport: Transport = transport

    async def open(self, **options: Any) -> Client:
        """A client that begins to connect; see Node.open."""
        return await self.node.open(
            self.server.url, **{"version": self.version, "transport": self.transport, **options}
        )

    async def person(self, user: str, **options: Any) -> Person:
        """A user's client, welcomed (and upgraded, if that is its transport)."""
        client = await self.open(**{"auth": {"token": token(user)}, **options})
        await client.wait("welcome")
        if options.get("transport", self.transport) == "upgrade":
            await client.wait("upgrade")
        return Person(user, client)

    async def people(self, *users: str, **options: Any) -> list[Person]:
        return [await self.person(user, **options) for user in users]
