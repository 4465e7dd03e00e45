"""What a session needs of those above it: of the layer that takes its messages, and of its engine."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from aiohttp import web

from .intake import Intake, Meter
from .outbox import Flusher
from .packets import Encoded
from .skipping import Skipped
from .wheel import Wheel

AnySession = TypeVar("AnySession")
Taker = TypeVar("Taker", contravariant=True)


class Application(Protocol[Taker]):
    """What a session needs of the layer above it."""

    def opened(self, session: Taker) -> None:
        """A session has begun; its client has yet to be told."""

    def message(self, session: Taker, data: str | bytes) -> None:
        """Take one message, at once and without waiting; what takes time is put into `session.enqueue`.

        Raises: PacketError, which ends the session.
        """

    def skipped(self, session: Taker, message: Skipped) -> bool:
        """Answer a message that was too large, at once and without waiting. Returns False if there is no way to: that
        ends the session."""

    async def handle(self, session: Taker, item: Any) -> None:
        """Handle one item that `message` or `closed` has enqueued. Called for one item at a time, in order."""

    def closed(self, session: Taker, reason: str) -> None:
        """The session is over. Called exactly once."""

    def farewell(self, session: Taker, reason: str) -> Iterable[Encoded]:
        """Return the last messages for a client that is dropped for `reason`."""


class Host(Protocol[AnySession]):
    """What a session needs of the engine that it belongs to. Times in seconds, sizes in bytes; 0 for no limit.

    Attributes:
        finish_timeout: how long a polling client may take to fetch its last messages.
        dead: whether nobody handles anything any more.
    """

    wheel: Wheel
    flusher: Flusher
    intake: Intake
    application: Application[AnySession]
    ping_interval: float
    ping_timeout: float
    finish_timeout: float
    max_payload: int
    outbox_bytes: int
    inbox_bytes: int
    dead: bool

    def meter(self, request: web.Request) -> Meter:
        """Return the meter of a new client."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a task that the engine keeps track of."""

    def forget(self, session: AnySession, reason: str) -> None:
        """The session is over for its client too. Called exactly once."""
