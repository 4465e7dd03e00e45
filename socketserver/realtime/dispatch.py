"""From a client's packets to the application's handlers: connecting, events, acks, leaving.

The `contracts.Application` of Socket.IO. Everything that calls a handler is an item of the session's inbox, so that one
client's handlers run one after the other in the order of its packets; acks and attachments are taken at once.
Source: the Socket.IO protocol, revision 5.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import perf_counter
from types import CoroutineType
from typing import Any, Final, Protocol

from . import membership, packets
from .engine.packets import Encoded, PacketError
from .engine.reasons import Gone
from .engine.session import Session
from .engine.skipping import HEAD_BYTES, Skipped
from .membership import MAX_TRIES, Leaving, Membership, Peer
from .packets import Head, Packet
from .refusals import Refusal, Refused, too_large
from .rooms import CONNECTED, GONE, LEAVING, Client

MAX_RUNNING: Final = 64
"""Maximum events of one client in progress at a time, with `async_handlers`."""

CLIENT_REASONS: Final = frozenset(
    {
        Gone.CLIENT_DISCONNECT,
        Gone.TRANSPORT_CLOSE,
        Gone.TRANSPORT_ERROR,
        Gone.PING_TIMEOUT,
        Gone.MALFORMED,
        Gone.TOO_LARGE,
        Gone.CONNECTED_TWICE,
    }
)
"""Ends that are not the server's decision: what the client had sent before is still handled."""

_received_s: ContextVar[float] = ContextVar("received_s")

logger = logging.getLogger(__name__)


Tap = Callable[[Client, Any], None]


class Server(membership.Server, Protocol):
    """What a dispatcher needs of the server."""

    manager_initialized: bool
    async_handlers: bool
    max_event_bytes: int
    end_event: Callable[[str], tuple[str, Any] | None] | None
    error_ack: Callable[[BaseException], object]
    refusal_ack: Callable[[str, str, Refusal], object]


class Dispatcher:
    """Connects one server's engine, rooms and handlers.

    Attributes:
        draining: whether nothing that clients send is taken any more, but acks.
        taps: called with the client and the name of every event, before it is handled.
    """

    def __init__(self, server: Server, membership: Membership) -> None:
        self._server = server
        self._membership = membership
        self.draining = False
        self.taps: list[Tap] = []

    # The engine's side

    def opened(self, session: Session) -> None:
        """A session has begun; it must connect to a namespace before long."""
        server = self._server
        if not server.manager_initialized:
            server.manager_initialized = True
            server.manager.initialize()
        session.peer = Peer()
        self._membership.await_connect(session)

    def message(self, session: Session, data: str | bytes) -> None:
        """Take one message. Raises: PacketError, unless there is an ack that can say what is wrong."""
        peer: Peer = session.peer
        partial = peer.partial
        if type(data) is str:
            if partial is not None or peer.strays:
                raise PacketError("text where an attachment is due")
            try:
                packet = packets.decode(data)
            except PacketError as exc:
                head = packets.read_head(data[:HEAD_BYTES])
                if head is None or not self._refuse(
                    session, head, Refusal("invalid_payload", f"This is no event: {exc}.")
                ):
                    raise
                return
            if packet.missing:
                peer.partial = packet
                return
        elif peer.strays:
            peer.strays -= 1
            return
        else:
            if partial is None:
                raise PacketError("an attachment that no packet has announced")
            assert type(data) is bytes
            complete = partial.attach(data)
            limit = self._server.max_event_bytes
            if 0 < limit < partial.size:
                if not self._refuse_partial(session, limit, partial.missing):
                    session.drop(Gone.TOO_LARGE, "attachments, and there is no ack that could say so")
                return
            if not complete:
                return
            peer.partial = None
            packet = partial
        kind = packet.type
        if kind in (packets.ACK, packets.BINARY_ACK):
            client = peer.clients.get(packet.namespace)
            if client is not None and packet.id is not None:
                self._server.manager.answer(client, packet.id, packet.data)
        elif not (peer.refusing or self.draining):
            if kind == packets.DISCONNECT and (client := peer.clients.get(packet.namespace)) is not None:
                client.goodbye = True
            session.enqueue(packet, packet.size)

    def skipped(self, session: Session, message: Skipped) -> bool:
        """Answer a message that was too large: an event by its ack, a connect by its refusal."""
        limit = self._server.eio.max_payload
        peer: Peer = session.peer
        if message.binary:
            if peer.strays:
                peer.strays -= 1
                return True
            return peer.partial is not None and self._refuse_partial(session, limit, peer.partial.missing - 1)
        head = packets.read_head(message.head[1:].decode(errors="replace")) if message.head[:1] == b"4" else None
        if head is None or peer.partial is not None or peer.strays:
            return False
        if head.type != packets.CONNECT:
            return self._refuse(session, head, too_large(limit))
        peer.tries += 1
        if peer.tries > MAX_TRIES or head.namespace in peer.clients:
            return False
        refusal = {"message": Gone.TOO_LARGE, "data": too_large(limit).wire()}
        session.outbox.push(packets.encode(packets.CONNECT_ERROR, head.namespace, refusal))
        return True

    def _refuse_partial(self, session: Session, limit: int, due: int) -> bool:
        """Refuse the event whose attachments are coming, with so many still due. Returns False if it has no ack."""
        peer: Peer = session.peer
        packet, peer.partial = peer.partial, None
        assert packet is not None
        event = packet.data[0] if packet.type == packets.BINARY_EVENT else ""
        return self._refuse(session, Head(packet.type, packet.namespace, packet.id, due, event), too_large(limit))

    def _refuse(self, session: Session, head: Head, refusal: Refusal) -> bool:
        """Have an event acked that can never be accepted. Returns False if it has no ack."""
        peer: Peer = session.peer
        if head.type not in (packets.EVENT, packets.BINARY_EVENT) or head.id is None:
            return False
        peer.strays = head.attachments
        if not (peer.refusing or self.draining):
            session.enqueue(Refused(head.namespace, head.id, head.event, refusal))
        return True

    async def handle(self, session: Session, item: Packet | Refused | Leaving) -> None:
        """Handle one item of the inbox."""
        if type(item) is Leaving:
            running = session.peer.running
            if running:
                await asyncio.wait(set(running))
            await self._membership.left(item.client, item.reason)
            return
        peer: Peer = session.peer
        if type(item) is Refused:
            client = peer.clients.get(item.namespace)
            if client is not None and client.phase in (CONNECTED, GONE) and client.push is not None:
                ack = self._server.refusal_ack(client.sid, item.event, item.refusal)
                client.push(packets.encode_ack(item.namespace, [ack], item.id))
            return
        assert type(item) is Packet
        client = peer.clients.get(item.namespace)
        kind = item.type
        if kind == packets.CONNECT:
            await self._membership.connect(session, item)
        elif client is None or client.phase not in (CONNECTED, GONE):
            return  # it has left, or was never let in: what it sent before it knew is no fault
        elif kind == packets.DISCONNECT:
            if client.phase == CONNECTED:
                # At once, not behind what has come since: the client may connect again with its very next packet.
                client.leaving()
                client.reason = Gone.CLIENT_DISCONNECT
                await self.handle(session, Leaving(client, client.reason))
        elif not self._server.async_handlers:
            await self._event(client, item)
        else:
            task = self._server.eio.spawn(self._event(client, item))
            peer.running.add(task)
            task.add_done_callback(peer.running.discard)
            if len(peer.running) >= MAX_RUNNING:
                await asyncio.wait(peer.running, return_when=asyncio.FIRST_COMPLETED)

    def closed(self, session: Session, reason: str) -> None:
        """The session is over: whoever was connected gets a disconnect handler."""
        peer: Peer = session.peer
        self._server.eio.wheel.cancel(peer.timer)
        peer.timer = None
        peer.partial = None
        peer.strays = 0
        for client in peer.clients.values():
            if client.phase == CONNECTED:  # one that is connecting is seen to when its handler returns
                why = reason
                if client.goodbye and reason in (Gone.TRANSPORT_CLOSE, Gone.TRANSPORT_ERROR):
                    why = Gone.CLIENT_DISCONNECT  # its goodbye waits in the inbox still, behind its last events
                self._membership.leave(client, why, GONE if reason in CLIENT_REASONS else LEAVING)

    def farewell(self, session: Session, reason: str) -> Iterable[Encoded]:
        """Return the end event for every namespace the client is in."""
        messages: list[Encoded] = []
        try:
            event = self._server.end_event(str(reason)) if self._server.end_event is not None else None
            if event is not None:
                connected = [client for client in session.peer.clients.values() if client.phase == CONNECTED]
                for client in connected:
                    client.release()
                messages = [packets.encode_event(client.namespace, event) for client in connected]
        except Exception:
            logger.exception("end_event failed")
        return messages

    # Events

    async def _event(self, client: Client, packet: Packet) -> None:
        server = self._server
        data = packet.data
        namespace = client.namespace
        if self.taps:  # no iterator while nobody watches
            self._tell(client, data[0])
        _received_s.set(packet.received_s)
        handler, args = server._get_event_handler(data[0], namespace, (client.sid, *data[1:]))
        if data[0] == "*" and handler is not None:
            args = ("*", *args)  # python-socketio finds the handler of all events, and takes "*" for its own
        try:
            if handler is not None:
                result = handler(*args)
                if type(result) is CoroutineType or inspect.isawaitable(result):
                    result = await result
            else:
                handler, args = server._get_namespace_handler(namespace, args)
                if handler is None:
                    return
                result = await handler.trigger_event(data[0], *args)
            if packet.id is not None and client.push is not None:
                acked = [] if result is None else list(result) if type(result) is tuple else [result]
                client.push(packets.encode_ack(namespace, acked, packet.id))
        except Exception as exc:
            logger.exception("the handler of an event failed")
            if packet.id is not None and client.push is not None:
                client.push(packets.encode_ack(namespace, [server.error_ack(exc)], packet.id))

    def _tell(self, client: Client, event: Any) -> None:
        for tap in self.taps:
            tap(client, event)


def received_s() -> float:
    """When the event that is being handled was received, in `time.perf_counter` seconds; outside of a handler, now."""
    return _received_s.get(perf_counter())
