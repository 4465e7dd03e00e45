"""What every kind of client has in common: a log of what happened to it, acks, and waiting with a deadline."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .waiting import DEADLINE_S


class NoAck(AssertionError):
    """An emit was not acked within its deadline, or the client was disconnected before."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that happened to a client: an event of the server, or one of its own life."""

    event: str
    args: list[Any]

    @property
    def payload(self) -> Any:
        """The first argument."""
        return self.args[0] if self.args else None


class Peer(ABC):
    """A client. `log` has everything that happened to it, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.log: list[Seen] = []
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}>"

    @abstractmethod
    async def emit(self, event: str, *args: Any, deadline_s: float = DEADLINE_S) -> Any:
        """Emit and return the ack's argument.

        Raises: NoAck.
        """

    def note(self, seen: Seen) -> None:
        self.log.append(seen)
        self._news.set()

    def mark(self) -> int:
        """A place in the log, for `after`."""
        return len(self.log)

    def seen(self, event: str, *, after: int = 0) -> list[Any]:
        """The payloads of all events of that name so far."""
        return [seen.payload for seen in self.log[after:] if seen.event == event]

    async def wait(
        self,
        event: str,
        where: Callable[[Any], object] = lambda payload: True,
        *,
        after: int = 0,
        deadline_s: float = DEADLINE_S,
    ) -> Any:
        """The payload of the first event of that name, and for which `where` holds, at or after a place in the log."""

        def find() -> Seen | None:
            return next((seen for seen in self.log[after:] if seen.event == event and where(seen.payload)), None)

        return (await self._until(f"a fitting {event}", find, deadline_s)).payload

    async def wait_count(self, event: str, count: int, *, after: int = 0, deadline_s: float = DEADLINE_S) -> list[Any]:
        """The payloads of all events of that name, once there are `count`."""

        def enough() -> list[Any] | None:
            found = self.seen(event, after=after)
            return found if len(found) >= count else None

        found: list[Any] = await self._until(f"{count} × {event}", enough, deadline_s)
        return found

    async def _until(self, what: str, look: Callable[[], Any], deadline_s: float) -> Any:
        try:
            async with asyncio.timeout(deadline_s):
                while (found := look()) is None:
                    self._news.clear()
                    await self._news.wait()
                return found
        except TimeoutError:
            tail = "\n  ".join(str(seen)[:300] for seen in self.log[-12:])
            raise AssertionError(
                f"{self!r} did not get {what} within {deadline_s:g} s; its log ends\n  {tail}"
            ) from None

    async def ok(self, event: str, *args: Any, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """`emit`, for what has to work."""
        ack = await self.emit(event, *args, deadline_s=deadline_s)
        assert isinstance(ack, dict), ack
        assert ack.get("ok") is True, f"{event}: {ack}"
        return ack

    async def refused(self, event: str, *args: Any, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """`emit`, for what has to be refused. Returns the error."""
        ack = await self.emit(event, *args, deadline_s=deadline_s)
        assert isinstance(ack, dict), ack
        assert ack.get("ok") is False, f"{event} was not refused: {ack}"
        assert set(ack) == {"ok", "error"}
        error = ack["error"]
        assert isinstance(error, dict)
        return error
