"""Who is connected to which namespace, and who is in which room.

Joining, leaving and disconnecting cost the same however many rooms and clients there are: a client knows its rooms.
A room exists while somebody is in it. Every client can be addressed by its sid as if that were a room.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

import socketio

from . import packets
from .engine.packets import Encoded
from .engine.session import Session

CONNECTING: Final = 0
CONNECTED: Final = 1
GONE: Final = 2
LEAVING: Final = 3

WELCOME_GAP_S: Final = 0.01
"""Seconds between CONNECT and what the connect handler has sent, over a websocket."""

logger = logging.getLogger(__name__)


class Client:
    """One client in one namespace.

    Attributes:
        phase: CONNECTING while its connect handler runs, then CONNECTED. When it goes: GONE while events that it sent
            before are still handled, or LEAVING when they are dropped; until its disconnect handler has run.
        push: sends one message to it; None when it is leaving. While connecting, messages are `held` back, to follow
            its CONNECT packet; and for a moment longer, so that they do not come in one piece with it.
        goodbye: whether it has sent DISCONNECT, which may not be handled yet.
        kicked: whether it was disconnected by the server while connecting.
        reason: why it goes, as its disconnect handler is told.
        data: its user session (`sio.get_session`).
        asked: what waits for its acks, by id; waiting: the futures of `sio.call`.
    """

    __slots__ = (
        "asked",
        "data",
        "goodbye",
        "held",
        "kicked",
        "last_id",
        "namespace",
        "phase",
        "push",
        "reason",
        "rooms",
        "session",
        "sid",
        "waiting",
    )

    def __init__(self, sid: str, namespace: str, session: Session) -> None:
        self.sid = sid
        self.namespace = namespace
        self.session = session
        self.phase = CONNECTING
        self.held: list[Encoded] = []
        self.push: Callable[[Encoded], None] | None = self.held.append
        self.goodbye = False
        self.kicked = False
        self.reason = ""
        self.data: Any = {}
        self.rooms: dict[Any, None] = {}
        self.asked: dict[int, Callable[..., Any]] = {}
        self.waiting: set[asyncio.Future[Any]] = set()
        self.last_id = 0

    def connected(self, welcome: Encoded) -> None:
        """Let it in: its CONNECT packet leaves, followed by what was held."""
        self.phase = CONNECTED
        self.push = self.session.outbox.push
        self.push(welcome)
        if self.held and self.session.link is not None:
            # Who waits for CONNECT and then listens for events, as applications with `await` do, would miss those that
            # are read together with it.
            self.push = self.held.append
            self.session.after(WELCOME_GAP_S, self.release)
        else:
            self.release()

    def release(self) -> None:
        """Send what is held back, if it is connected."""
        if self.phase == CONNECTED:
            held, self.held = self.held, []
            push = self.push = self.session.outbox.push
            for message in held:
                push(message)

    def leaving(self, phase: int = LEAVING) -> None:
        """Send it nothing any more, and tell those who wait for its acks."""
        self.release()
        self.phase = phase
        self.push = None
        self.held = []
        self.asked.clear()
        for future in self.waiting:
            if not future.done():
                future.set_exception(socketio.exceptions.TimeoutError())
        self.waiting.clear()


class Namespace:
    """The clients and rooms of one namespace."""

    __slots__ = ("clients", "rooms")

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.rooms: dict[Any, dict[Client, None]] = {}

    def members(self, room: Any) -> Collection[Client]:
        """Return everybody (None), the members of a room, the client of a sid, or of several of these, each once."""
        if room is None:
            return self.clients.values()
        if isinstance(room, (list, tuple, set, frozenset)):
            if len(room) == 1:
                return self.members(next(iter(room)))
            union: dict[Client, None] = {}
            for one in room:
                union.update(dict.fromkeys(self.members(one)))
            return union
        members = self.rooms.get(room)
        if members is not None:
            return members
        client = self.clients.get(room)
        return () if client is None else (client,)


Tap = Callable[[str, str, Iterable[Client]], None]


class RoomManager(socketio.AsyncManager):  # type: ignore[misc]
    """python-socketio's client manager, with other insides.

    For several nodes, `combine` puts python-socketio's pub/sub managers on top of it.

    Attributes:
        taps: called with the name, namespace and recipients of every event, before it is sent to this node's clients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.namespaces: dict[str, Namespace] = {}
        self.taps: list[Tap] = []

    # For the server

    def add(self, session: Session, namespace: str) -> Client:
        """Register a client that wants to connect."""
        client = Client(self.server.eio.generate_id(), namespace, session)
        space = self.namespaces.get(namespace)
        if space is None:
            space = self.namespaces[namespace] = Namespace()
        space.clients[client.sid] = client
        return client

    def remove(self, client: Client) -> None:
        """Forget a client and its rooms. A second time it does nothing."""
        space = self.namespaces.get(client.namespace)
        if space is None or space.clients.pop(client.sid, None) is None:
            return
        for room in client.rooms:
            members = space.rooms[room]
            del members[client]
            if not members:
                del space.rooms[room]
        client.rooms.clear()
        self.callbacks.pop(client.sid, None)
        if not space.clients:
            del self.namespaces[client.namespace]

    def client(self, sid: str | None, namespace: str | None) -> Client | None:
        """Return the client of a sid, or None."""
        space = self.namespaces.get(namespace or "/")
        return None if space is None or sid is None else space.clients.get(sid)

    def is_heard(self, room: Any, namespace: str) -> bool:
        """Whether somebody gets what is emitted to a room now, or taps it."""
        space = self.namespaces.get(namespace)
        return bool(self.taps) or (space is not None and room in space.rooms)

    def emit_now(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: str | Iterable[str] | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> int:
        """Send an event to a room, a sid, several of these or everybody; encoded once, without waiting.

        Returns: how many clients it was queued for.
        Raises: PacketError when the data cannot be encoded; nobody gets anything then.
        """
        args = (event, *data) if isinstance(data, tuple) else (event,) if data is None else (event, data)
        space = self.namespaces.get(namespace)
        if space is None:
            packets.encode_event(namespace, args)  # a mistake shows whether or not somebody listens
            return 0
        message = packets.encode_event(namespace, args)
        members = space.members(room)
        if self.taps:
            self._tell(event, namespace, members, _skips(skip_sid))
        count = 0
        if callback is not None:
            skip = _skips(skip_sid)
            for client in members:
                if client.push is not None and client.sid not in skip:
                    client.push(packets.with_id(message, namespace, self._generate_ack_id(client.sid, callback)))
                    count += 1
        elif skip_sid is None:
            for client in members:
                push = client.push
                if push is not None:
                    push(message)
                    count += 1
        else:
            skip = _skips(skip_sid)
            for client in members:
                push = client.push
                if push is not None and client.sid not in skip:
                    push(message)
                    count += 1
        return count

    def answer(self, client: Client, id: int, data: list[Any]) -> None:
        """Give a client's ack to whoever waits for it. One that nobody waits for is ignored."""
        callback = client.asked.pop(id, None)
        if callback is not None:
            try:
                result = callback(*data)
                if inspect.iscoroutine(result):
                    self.server.eio.spawn(self._finish(result))
            except Exception:
                logger.exception("an ack's callback failed")

    async def _finish(self, coroutine: Any) -> None:
        try:
            await coroutine
        except Exception:
            logger.exception("an ack's callback failed")

    def _tell(self, event: str, namespace: str, members: Collection[Client], skip: Collection[str]) -> None:
        for tap in self.taps:
            tap(event, namespace, (each for each in members if each.push is not None and each.sid not in skip))

    # python-socketio's interface

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `emit_now`."""
        self.emit_now(event, data, namespace or "/", room if to is None else to, skip_sid, callback)

    def get_namespaces(self) -> Iterable[str]:
        """Return the namespaces that have clients."""
        return self.namespaces.keys()

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Yield (sid, Engine.IO sid) of a room's members."""
        space = self.namespaces.get(namespace)
        if space is not None:
            for client in list(space.members(room)):
                yield client.sid, client.session.id

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        """Whether its connect handler is running."""
        client = self.client(sid, namespace)
        return client is not None and client.phase == CONNECTING

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether it is connected, and not leaving."""
        client = self.client(sid, namespace)
        return client is not None and client.phase == CONNECTED

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """Return the sid that an Engine.IO session has in a namespace."""
        session = self.server.eio.sessions.get(eio_sid)
        client = None if session is None else session.peer.clients.get(namespace)
        return None if client is None else client.sid

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """Return the Engine.IO session's id."""
        client = self.client(sid, namespace)
        return None if client is None else client.session.id

    async def disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """Forget a client."""
        client = self.client(sid, namespace)
        if client is not None:
            self.remove(client)

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Put a client into a room. Raises: ValueError when there is no such client, or the room is another's sid."""
        client = self.client(sid, namespace)
        if client is None:
            raise ValueError("sid is not connected to requested namespace")
        space = self.namespaces[namespace]
        if room == sid:
            return  # everybody is in there anyway
        if room is None or room in space.clients:
            raise ValueError("cannot enter a sid room")
        space.rooms.setdefault(room, {})[client] = None
        client.rooms[room] = None

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """Take a client out of a room; if it is in there."""
        client = self.client(sid, namespace)
        if client is None or room not in client.rooms:
            return
        del client.rooms[room]
        rooms = self.namespaces[namespace].rooms
        del rooms[room][client]
        if not rooms[room]:
            del rooms[room]

    def basic_close_room(self, room: Any, namespace: str) -> None:
        """Empty a room. Raises: ValueError for a sid."""
        space = self.namespaces.get(namespace)
        if space is None:
            return
        if room in space.clients:
            raise ValueError("cannot close a sid room")
        for client in space.rooms.pop(room, ()):
            del client.rooms[room]

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        """Return the rooms a client is in, its own sid first."""
        client = self.client(sid, namespace)
        return [] if client is None else [sid, *client.rooms]

    def _generate_ack_id(self, sid: str, callback: Callable[..., Any]) -> int:
        for space in self.namespaces.values():
            client = space.clients.get(sid)
            if client is not None:
                client.last_id += 1
                client.asked[client.last_id] = callback
                return client.last_id
        # a client of another node: python-socketio's pub/sub managers keep the callback here
        return int(super()._generate_ack_id(sid, callback))

    async def trigger_callback(self, sid: str, id: int, data: list[Any]) -> None:
        """Give an ack that came from another node to whoever waits for it."""
        for space in self.namespaces.values():
            client = space.clients.get(sid)
            if client is not None and id in client.asked:
                self.answer(client, id, data)
                return
        await super().trigger_callback(sid, id, data)


def combine(manager: type[Any]) -> type[Any]:
    """Return python-socketio's pub/sub manager class `manager` (AsyncRedisManager, ...) on top of our rooms."""
    return type(f"{manager.__name__}WithRooms", (manager, RoomManager), {})


def _skips(skip_sid: str | Iterable[str] | None) -> Collection[str]:
    if skip_sid is None:
        return ()
    return (skip_sid,) if isinstance(skip_sid, str) else frozenset(skip_sid)
