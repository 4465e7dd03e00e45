"""From a client's packets to the application's handlers: connecting, events, acks, leaving.

The `session.Application` of Socket.IO. Everything that calls a handler is an item of the session's inbox, so that one
client's handlers run one after the other in the order of its packets; acks and attachments are taken at once.
Source: the Socket.IO protocol, revision 5.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import socketio

from . import packets
from .engine import session as sessions
from .engine.packets import Encoded, PacketError
from .engine.session import Session
from .engine.skipping import HEAD_BYTES, Skipped
from .packets import Head, Packet
from .rooms import CONNECTED, CONNECTING, GONE, LEAVING, Client

if TYPE_CHECKING:
    from .server import AsyncServer

MAX_RUNNING: Final = 64
"""With `async_handlers`, how many events of one client may be in progress."""

CLIENT_REASONS: Final = frozenset(
    {
        sessions.CLIENT_DISCONNECT,
        sessions.TRANSPORT_CLOSE,
        sessions.TRANSPORT_ERROR,
        sessions.PING_TIMEOUT,
        sessions.MALFORMED,
        sessions.TOO_LARGE,
        sessions.CONNECTED_TWICE,
    }
)
"""Ends that are not the server's decision: what the client had sent before is still handled."""

MAX_TRIES: Final = 5
"""How often a client may connect over one session while it is in no namespace. For whoever counts handshakes, all these
are one; the JS client makes a new session for each."""

_received_s: ContextVar[float] = ContextVar("received_s")

INVALID_NAMESPACE: Final = {"message": "Invalid namespace"}

logger = logging.getLogger(__name__)


class Peer:
    """What the Socket.IO layer keeps of an Engine.IO session.

    Attributes:
        clients: by namespace.
        partial: a binary packet whose attachments have not all come.
        strays: how many attachments are due that nobody will get: those of a packet that was refused.
        timer: ends a session that is in no namespace.
        refusing: whether the server has disconnected it and only waits for it to go.
        running: tasks of events in progress (`async_handlers`).
        tries: how often it has connected, or tried to, while it was in no namespace, and to unknown ones.
    """

    __slots__ = ("clients", "partial", "refusing", "running", "strays", "timer", "tries")

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.partial: Packet | None = None
        self.strays = 0
        self.timer: tuple[int, int] | None = None
        self.refusing = False
        self.tries = 0
        self.running: set[asyncio.Task[Any]] = set()


class Leaving:
    """The inbox's last item of a client: its disconnect handler."""

    __slots__ = ("client", "reason")

    def __init__(self, client: Client, reason: str) -> None:
        self.client = client
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a packet can never be accepted.

    Attributes:
        code: 'too_large' or 'invalid_payload'.
        message: one English sentence.
        limit_bytes: what is allowed, None where it is not a matter of size.
    """

    code: str
    message: str
    limit_bytes: int | None = None

    def wire(self) -> dict[str, Any]:
        """As acks and the data of connect errors carry it."""
        wire = {"code": self.code, "message": self.message, "retryable": False}
        return wire if self.limit_bytes is None else {**wire, "limitBytes": self.limit_bytes}


def too_large(limit_bytes: int) -> Refusal:
    """The refusal of what is larger than allowed."""
    return Refusal(sessions.TOO_LARGE, f"This is too large: the limit is {limit_bytes} bytes.", limit_bytes)


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of the inbox: an event that can never be accepted, and is to be acked with why."""

    namespace: str
    id: int
    event: str
    refusal: Refusal


class Dispatcher:
    """Connects one server's engine, rooms and handlers.

    Attributes:
        draining: whether nothing that clients send is taken any more, but acks.
    """

    def __init__(self, server: "AsyncServer") -> None:
        self._server = server
        self.draining = False
        self._arities: dict[Any, int | None] = {}

    def watch(self, tap: Callable[[Client, Any], None] | None) -> None:
        """Have `tap` called with the client and the name of every event that is handled; None ends that.

        Our own method is hidden behind one that calls `tap`, so that nobody pays while nobody watches.
        """
        self.__dict__.pop("_event", None)
        if tap is not None:

            def watched(client: Client, packet: Packet) -> Coroutine[Any, Any, None]:
                tap(client, packet.data[0])
                return Dispatcher._event(self, client, packet)

            self.__dict__["_event"] = watched

    # The engine's side

    def opened(self, session: Session) -> None:
        """A session has begun; it must connect to a namespace before long."""
        server = self._server
        if not server.manager_initialized:
            server.manager_initialized = True
            server.manager.initialize()
        session.state = Peer()
        self._await_connect(session)

    def message(self, session: Session, data: str | bytes) -> None:
        """Take one message. Raises: PacketError, unless there is an ack that can say what is wrong."""
        peer: Peer = session.state
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
                    session.drop(sessions.TOO_LARGE, "attachments, and there is no ack that could say so")
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
        peer: Peer = session.state
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
        refusal = {"message": sessions.TOO_LARGE, "data": too_large(limit).wire()}
        session.outbox.push(packets.encode(packets.CONNECT_ERROR, head.namespace, refusal))
        return True

    def _refuse_partial(self, session: Session, limit: int, due: int) -> bool:
        """Refuse the event whose attachments are coming, with so many still due. Returns False if it has no ack."""
        peer: Peer = session.state
        packet, peer.partial = peer.partial, None
        assert packet is not None
        event = packet.data[0] if packet.type == packets.BINARY_EVENT else ""
        return self._refuse(session, Head(packet.type, packet.namespace, packet.id, due, event), too_large(limit))

    def _refuse(self, session: Session, head: Head, refusal: Refusal) -> bool:
        """Have an event acked that can never be accepted. Returns False if it has no ack."""
        peer: Peer = session.state
        if head.type not in (packets.EVENT, packets.BINARY_EVENT) or head.id is None:
            return False
        peer.strays = head.attachments
        if not (peer.refusing or self.draining):
            session.enqueue(Refused(head.namespace, head.id, head.event, refusal))
        return True

    async def handle(self, session: Session, item: Packet | Refused | Leaving) -> None:
        """Handle one item of the inbox."""
        if type(item) is Leaving:
            running = session.state.running
            if running:
                await asyncio.wait(set(running))
            await self._left(item.client, item.reason)
            return
        peer: Peer = session.state
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
            await self._connect(session, item)
        elif client is None or client.phase not in (CONNECTED, GONE):
            return  # it has left, or was never let in: what it sent before it knew is no fault
        elif kind == packets.DISCONNECT:
            if client.phase == CONNECTED:
                # At once, not behind what has come since: the client may connect again with its very next packet.
                client.leaving()
                client.reason = sessions.CLIENT_DISCONNECT
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
        peer: Peer = session.state
        self._server.eio.wheel.cancel(peer.timer)
        peer.timer = None
        peer.partial = None
        peer.strays = 0
        for client in peer.clients.values():
            if client.phase == CONNECTED:  # one that is connecting is seen to when its handler returns
                why = reason
                if client.goodbye and reason in (sessions.TRANSPORT_CLOSE, sessions.TRANSPORT_ERROR):
                    why = sessions.CLIENT_DISCONNECT  # its goodbye waits in the inbox still, behind its last events
                self.leave(client, why, GONE if reason in CLIENT_REASONS else LEAVING)

    def farewell(self, session: Session, reason: str) -> Iterable[Encoded]:
        """Return the end event for every namespace the client is in."""
        messages: list[Encoded] = []
        try:
            event = self._server.end_event(reason) if self._server.end_event is not None else None
            if event is not None:
                connected = [client for client in session.state.clients.values() if client.phase == CONNECTED]
                for client in connected:
                    client.release()
                messages = [packets.encode_event(client.namespace, event) for client in connected]
        except Exception:
            logger.exception("end_event failed")
        return messages

    # Connecting

    async def _connect(self, session: Session, packet: Packet) -> None:
        peer: Peer = session.state
        namespace = packet.namespace
        if not session.open or peer.refusing:
            return
        if namespace in peer.clients:
            # The JS client does that when a first `auth` answers late, its transport being lost already: let it come
            # back, with what is right by then.
            session.drop(sessions.CONNECTED_TWICE)
            return
        serves = self._serves(namespace)
        if not (serves and peer.clients):
            peer.tries += 1
            if peer.tries > MAX_TRIES:
                session.drop(sessions.MALFORMED, "connects again and again")
                return
        if not serves:
            session.outbox.push(packets.encode(packets.CONNECT_ERROR, namespace, INVALID_NAMESPACE))
            return
        manager = self._server.manager
        client = manager.add(session, namespace)
        peer.clients[namespace] = client
        try:
            # The JS client sends nothing where there is no auth, python-socketio's an empty object.
            refusal = await self._ask(client, None if packet.data == {} else packet.data)
            answer = None if refusal is None else packets.encode(packets.CONNECT_ERROR, namespace, refusal)
        except PacketError:
            logger.exception("a refusal could not be encoded")
            answer = packets.encode(packets.CONNECT_ERROR, namespace, _internal_refusal())
        except BaseException:
            self._forget(client)
            raise
        if answer is not None:
            self._forget(client)
            session.outbox.push(answer)
            return
        self._server.eio.settle(session)
        self._server.eio.wheel.cancel(peer.timer)
        peer.timer = None
        client.connected(packets.encode(packets.CONNECT, namespace, {"sid": client.sid}))
        if not session.open:  # it left in the middle of its connect handler
            self.leave(client, session.reason)
        elif client.kicked:
            self.kick(client)

    async def _ask(self, client: Client, auth: Any) -> Any:
        """Run the connect handler. Returns None to let the client in, else the payload of its CONNECT_ERROR."""
        session = client.session
        environ = self._server.eio.environ_of(session)
        entries = len(environ)
        try:
            result = await self._call("connect", client, (client.sid, environ, auth), 2)
        except socketio.exceptions.ConnectionRefusedError as exc:
            return exc.error_args
        except ConnectionRefusedError:
            return {"message": "Connection refused by server"}
        except Exception:
            logger.exception("the connect handler failed")
            return _internal_refusal()
        finally:
            self._server.eio.release_environ(session, entries)
        if result is False:
            return socketio.exceptions.ConnectionRefusedError().error_args
        return None

    def _serves(self, namespace: str) -> bool:
        server = self._server
        return (
            namespace in server.handlers
            or namespace in server.namespace_handlers
            or server.namespaces == "*"
            or namespace in server.namespaces
        )

    # Events

    async def _event(self, client: Client, packet: Packet) -> None:
        server = self._server
        data = packet.data
        namespace = client.namespace
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

    # Leaving

    def leave(self, client: Client, reason: str, phase: int = LEAVING) -> None:
        """End a connected client: it gets nothing more, and its disconnect handler is its last item.

        Args:
            phase: GONE to have the events handled that it sent before, LEAVING to drop them.
        """
        client.leaving(phase)
        client.reason = reason
        client.session.enqueue(Leaving(client, reason))

    def kick(self, client: Client) -> None:
        """Disconnect a client by the server; its transport is closed soon if it has no other namespace."""
        if client.phase == CONNECTING:
            client.kicked = True
        elif client.phase == CONNECTED:
            session = client.session
            peer: Peer = session.state
            assert client.push is not None
            client.push(packets.encode(packets.DISCONNECT, client.namespace))
            self.leave(client, sessions.SERVER_DISCONNECT)
            if all(other is client or other.phase not in (CONNECTING, CONNECTED) for other in peer.clients.values()):
                peer.refusing = True
                self._server.eio.wheel.cancel(peer.timer)
                peer.timer = self._server.eio.wheel.after(
                    self._server.disconnect_grace, lambda: session.finish(sessions.SERVER_DISCONNECT)
                )

    async def _left(self, client: Client, reason: str) -> None:
        try:
            await self._call("disconnect", client, (client.sid, reason), 1)
        except Exception:
            logger.exception("the disconnect handler failed")
        finally:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        client.leaving()
        self._server.manager.remove(client)
        session = client.session
        peer: Peer = session.state
        if peer.clients.get(client.namespace) is client:
            del peer.clients[client.namespace]
        if not peer.clients and not peer.refusing and session.open:
            self._await_connect(session)

    def _await_connect(self, session: Session) -> None:
        engine = self._server.eio
        peer: Peer = session.state
        if engine.connect_timeout and peer.timer is None:
            peer.timer = engine.wheel.after(engine.connect_timeout, lambda: session.close(sessions.CONNECT_TIMEOUT))

    # Calling lifecycle handlers

    async def _call(self, event: str, client: Client, args: tuple[Any, ...], required: int) -> Any:
        """Call the handler of "connect" or "disconnect" with as many of `args` as it takes.

        The last one (auth, reason) is left out for handlers in python-socketio's older form. That is decided by the
        signature: trying it out and catching TypeError would call a handler with a bug twice.
        """
        server = self._server
        handler, args = server._get_event_handler(event, client.namespace, args)
        if handler is None:
            owner, args = server._get_namespace_handler(client.namespace, args)
            if owner is None:
                return None
            handler = getattr(owner, f"on_{event}", None)
            if type(owner).trigger_event is not socketio.AsyncNamespace.trigger_event:
                return await owner.trigger_event(event, *args)
            if handler is None:
                return None
        takes = self._arity(handler)
        if takes is not None and takes == len(args) - 1:
            args = args[:-1]
        result = handler(*args)
        return await result if inspect.isawaitable(result) else result

    def _arity(self, handler: Callable[..., Any]) -> int | None:
        """Return how many positional arguments a handler takes at most, None when any number."""
        key = getattr(handler, "__func__", handler)
        try:
            return self._arities[key]
        except (KeyError, TypeError):
            pass
        count: int | None = 0
        try:
            for parameter in inspect.signature(handler).parameters.values():
                if parameter.kind is parameter.VAR_POSITIONAL:
                    count = None
                    break
                if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                    count = (count or 0) + 1
        except (TypeError, ValueError):
            count = None
        try:
            self._arities[key] = count
        except TypeError:
            return count
        return count


def received_s() -> float:
    """When the event that is being handled was received, in `time.perf_counter` seconds; outside of a handler, now."""
    return _received_s.get(perf_counter())


def internal_error() -> dict[str, Any]:
    """Return what a client is told of a handler that has raised."""
    return {"code": "internal_error", "message": "The server made a mistake.", "retryable": False}


def _internal_refusal() -> dict[str, Any]:
    return {"message": "internal_error", "data": internal_error()}
