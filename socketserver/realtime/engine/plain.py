"""Engine.IO without Socket.IO above it: handlers for raw messages, in python-engineio's form."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .packets import Encoded
from .reasons import Gone
from .session import Session
from .skipping import Skipped

EVENTS = ("connect", "message", "disconnect")


class Plain:
    """The `contracts.Application` of an engine that is used by itself.

    Attributes:
        handlers: by event: connect(sid, environ), which refuses by returning False; message(sid, data) with str or
            bytes; disconnect(sid, reason). Plain functions or coroutine functions.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., Any]] = {}

    def opened(self, session: Session) -> None:
        """A session has begun."""
        if "connect" in self.handlers:
            session.enqueue(("connect", None))

    def message(self, session: Session, data: str | bytes) -> None:
        """Take one message."""
        if "message" in self.handlers:
            session.enqueue(("message", data), len(data))

    def skipped(self, session: Session, message: Skipped) -> bool:
        """Return False: a raw message has no ack."""
        return False

    async def handle(self, session: Session, item: tuple[str, Any]) -> None:
        """Call the handler of one item."""
        event, argument = item
        if event == "connect":
            argument = session.handshake.environ
        result = self.handlers[event](session.id, argument)
        if inspect.isawaitable(result):
            result = await result
        if event == "connect" and result is False:
            session.close(Gone.SERVER_DISCONNECT)
        elif event == "connect":
            session.handshake.settle()

    def closed(self, session: Session, reason: str) -> None:
        """The session is over."""
        if "disconnect" in self.handlers:
            session.enqueue(("disconnect", str(reason)))

    def farewell(self, session: Session, reason: str) -> Iterable[Encoded]:
        """Return nothing: there is no event to say it with."""
        return ()
