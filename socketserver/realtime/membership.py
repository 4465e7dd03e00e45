"""Who comes into a namespace and who leaves it, and the handlers that are asked and told.

Source: the Socket.IO protocol, revision 5, "Connection to a namespace" and "Disconnection from a namespace".
"""

import asyncio
import logging
from collections.abc import Container
from typing import Any, Final, Protocol

import socketio

from . import packets
from .calls import Handlers, LifecycleCalls
from .engine.engine import Engine
from .engine.packets import PacketError
from .engine.reasons import Gone
from .engine.session import Session
from .packets import Packet
from .refusals import INVALID_NAMESPACE, internal_refusal
from .rooms import CONNECTED, CONNECTING, LEAVING, Client, RoomManager

MAX_TRIES: Final = 5
"""Maximum connects over one session while it is in no namespace. Whoever counts handshakes sees one; the JS client
makes a new session for each."""

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


class Server(Handlers, Protocol):
    """What coming and leaving needs of the server."""

    eio: Engine
    manager: RoomManager
    handlers: Container[str]
    namespace_handlers: Container[str]
    namespaces: Any
    disconnect_grace: float


class Membership:
    """Lets one server's clients in, and out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._calls = LifecycleCalls(server)

    # Connecting

    async def connect(self, session: Session, packet: Packet) -> None:
        """Take a CONNECT packet: let the client in, or tell it why not."""
        peer: Peer = session.peer
        namespace = packet.namespace
        if not session.open or peer.refusing:
            return
        if namespace in peer.clients:
            # The JS client does that when a first `auth` answers late, its transport being lost already: let it come
            # back, with what is right by then.
            session.drop(Gone.CONNECTED_TWICE)
            return
        serves = self._serves(namespace)
        if not (serves and peer.clients):
            peer.tries += 1
            if peer.tries > MAX_TRIES:
                session.drop(Gone.MALFORMED, "connects again and again")
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
            answer = packets.encode(packets.CONNECT_ERROR, namespace, internal_refusal())
        except BaseException:
            self._forget(client)
            raise
        if answer is not None:
            self._forget(client)
            session.outbox.push(answer)
            return
        session.handshake.settle()
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
        environ = session.handshake.environ
        entries = len(environ)
        try:
            result = await self._calls.call("connect", client, (client.sid, environ, auth))
        except socketio.exceptions.ConnectionRefusedError as exc:
            return exc.error_args
        except ConnectionRefusedError:
            return {"message": "Connection refused by server"}
        except Exception:
            logger.exception("the connect handler failed")
            return internal_refusal()
        finally:
            session.handshake.release_environ(entries)
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
            peer: Peer = session.peer
            assert client.push is not None
            client.push(packets.encode(packets.DISCONNECT, client.namespace))
            self.leave(client, Gone.SERVER_DISCONNECT)
            if all(other is client or other.phase not in (CONNECTING, CONNECTED) for other in peer.clients.values()):
                peer.refusing = True
                self._server.eio.wheel.cancel(peer.timer)
                peer.timer = self._server.eio.wheel.after(
                    self._server.disconnect_grace, lambda: session.finish(Gone.SERVER_DISCONNECT)
                )

    async def left(self, client: Client, reason: str) -> None:
        """A client's last item: run its disconnect handler, and forget it."""
        try:
            await self._calls.call("disconnect", client, (client.sid, str(reason)))
        except Exception:
            logger.exception("the disconnect handler failed")
        finally:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        client.leaving()
        self._server.manager.remove(client)
        session = client.session
        peer: Peer = session.peer
        if peer.clients.get(client.namespace) is client:
            del peer.clients[client.namespace]
        if not peer.clients and not peer.refusing and session.open:
            self.await_connect(session)

    def await_connect(self, session: Session) -> None:
        """End a session that is in no namespace, unless it connects to one before long."""
        engine = self._server.eio
        peer: Peer = session.peer
        if engine.connect_timeout and peer.timer is None:
            peer.timer = engine.wheel.after(engine.connect_timeout, lambda: session.close(Gone.CONNECT_TIMEOUT))
