"""One GET that waits for messages."""

import asyncio
from typing import Protocol

from aiohttp import web

from .outbox import Outbox
from .reasons import Gone


class SessionGone(Exception):
    """The session ended while its client polled, and the client is to begin anew."""


class Polled(Protocol):
    """The session that is polled."""

    outbox: Outbox

    def unpoll(self, poll: "Poll") -> None:
        """This poll does not wait any more."""

    def close(self, reason: str) -> None:
        """End the session."""


class Poll:
    """One GET that waits for messages."""

    __slots__ = ("_future", "_refused", "_request", "_session")

    def __init__(self, session: Polled, request: web.Request) -> None:
        self._session = session
        self._request = request
        self._refused = False
        self._future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether its client can still get an answer."""
        transport = self._request.transport
        return transport is not None and not transport.is_closing() and not self._future.done()

    def answer(self, payload: bytes | None = None) -> None:
        """Answer with what the outbox holds, or with `payload`.

        A client whose GET was cut off is gone (the JS client begins anew then), and its session ends.
        """
        session = self._session
        session.unpoll(self)
        if self._future.done():
            return
        if not self.alive:
            self._future.set_result(None)
            session.close(Gone.TRANSPORT_CLOSE)
        else:
            self._future.set_result(session.outbox.take() if payload is None else payload)

    def refuse(self) -> None:
        """Answer that there is no such session (any more): its client begins anew."""
        self._refused = True
        self.answer(b"")

    async def wait(self) -> bytes | None:
        """Wait for the answer; None when there is nobody to give it to.

        Raises: SessionGone when it is refused.
        """
        try:
            payload = await self._future
            if self._refused and payload is not None:
                raise SessionGone
            return payload
        finally:
            self._session.unpoll(self)
