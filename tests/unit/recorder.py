"""What the chat does to its sockets, written down instead of sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from socketserver.realtime import AsyncServer
from typing import Any

import orjson


@dataclass(frozen=True)
class Emitted:
    """One event: to a room or several, without one socket."""

    event: str
    data: Any
    rooms: tuple[str, ...]
    skip_sid: str | set[str] | None = None


@dataclass(eq=False)
class Recorder(AsyncServer):
    """An AsyncServer without sockets: all count as connected, except those in `unconnected`.

    Attributes:
        busy: sids whose requests are answered when the event is set.
        drained: whether nothing is taken from clients any more.
        closed_within_s: the time that each `shutdown` was given.
        vouched: sids that belong to a user.
        probed: sids that were asked for a sign of life → what to call when it comes.
        ended: (sid, 'disconnect') for a client that has to stay away, (sid, 'close', reason) for one to come back.
    """

    emitted: list[Emitted] = field(default_factory=list)
    ended: list[tuple[str, ...]] = field(default_factory=list)
    rooms: dict[str, set[str]] = field(default_factory=dict)
    unconnected: set[str] = field(default_factory=set)
    busy: dict[str, asyncio.Event] = field(default_factory=dict)
    drained: bool = False
    closed_within_s: list[float] = field(default_factory=list)
    vouched: list[str] = field(default_factory=list)
    probed: dict[str, Callable[[], None]] = field(default_factory=dict)

    def rooms_of(self, sid: str, namespace: str | None = None) -> list[str]:
        return [sid, *(room for room, sids in self.rooms.items() if sid in sids)]

    def connected(self, namespace: str = "/") -> list[str]:
        return []

    def is_open(self, sid: str, namespace: str | None = None) -> bool:
        return sid not in self.unconnected

    def vouch(self, sid: str, namespace: str | None = None) -> None:
        self.vouched.append(sid)

    def probe(self, sid: str, heard: Callable[[], None], namespace: str | None = None) -> None:
        self.probed[sid] = heard

    def answer(self, sid: str) -> None:
        """The client gives the sign of life that it was asked for."""
        self.probed.pop(sid)()

    def is_connecting(self, sid: str, namespace: str | None = None) -> bool:
        return False

    def knows(self, sid: str, namespace: str | None = None) -> bool:
        return sid not in self.unconnected

    def emit_now(self, event: str, data: Any = None, *, room: Any = None, skip_sid: Any = None, **options: Any) -> int:
        rooms = (room,) if isinstance(room, str) else tuple(room or ())
        data = orjson.loads(orjson.dumps(data))  # what is encoded in advance becomes readable
        self.emitted.append(Emitted(str(event), data, rooms, skip_sid))
        return 1

    def is_heard(self, room: str, namespace: str = "/") -> bool:
        return True

    async def emit(self, event: str, data: Any = None, to: Any = None, *args: Any, **options: Any) -> None:
        self.emit_now(event, data, room=to)

    async def enter_room(self, sid: str, room: str, namespace: str | None = None) -> None:
        self.rooms.setdefault(room, set()).add(sid)

    async def leave_room(self, sid: str, room: str, namespace: str | None = None) -> None:
        self.rooms[room].discard(sid)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        self.ended.append((sid, "disconnect"))

    async def close_transport(self, sid: str, namespace: str | None = None, *, reason: str = "transport close") -> None:
        self.ended.append((sid, "close", reason))

    def drain(self) -> None:
        self.drained = True

    async def shutdown(self, wait_s: float = 0.0) -> None:
        self.closed_within_s.append(wait_s)

    async def settled(self, sid: str, namespace: str | None = None) -> None:
        if sid in self.busy:
            await self.busy[sid].wait()

    def take(self) -> list[Emitted]:
        """What was emitted since the last call."""
        taken, self.emitted = self.emitted, []
        return taken
