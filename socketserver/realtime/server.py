"""`AsyncServer`: python-socketio's server on this package's engine, for any handlers and any aiohttp application."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar, overload

import socketio
from aiohttp import web

from .admin_ui import DEVELOPMENT, AdminUi, Auth
from .asking import ask
from .dispatch import Dispatcher
from .engine.engine import SHUTDOWN_WAIT_S, Engine
from .engine.intake import Intake, Meter
from .engine.session import Session
from .membership import Membership
from .refusals import Refusal, default_error_ack, default_refusal_ack
from .rooms import CONNECTED, CONNECTING, Client, RoomManager
from .views import ClientInfo, info

MAX_ATTACHED: int = 4
"""Maximum size of a binary event, with all its attachments, in largest messages."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


class AsyncServer(socketio.AsyncServer):  # type: ignore[misc]
    """A drop-in for `socketio.AsyncServer` on aiohttp.

    Where it differs: events of one client are handled one after the other, in the order in which they were sent, unless
    `async_handlers=True`. `emit` never runs a handler and never waits. What is emitted to a client by its own connect
    handler follows its CONNECT packet. `disconnect` does not wait for the disconnect handler, which runs after the
    event that is being handled. `call` fails at once when the client goes. Packets that are malformed or too large end
    their client, unless they are events with an ack that can say so. A connect handler gets None where the client gave
    no auth, or an empty one.

    Args, beside those of `engine.Engine`:
        client_manager: a `rooms.RoomManager` (the default), or `rooms.combine(AsyncRedisManager)(...)`.
        logger: a logger for python-socketio's own messages; True for level INFO.
        async_handlers: whether each event runs in a task of its own, in no order.
        namespaces: accepted beside those that have handlers, or '*'.
        disconnect_grace: seconds a client has to go by itself after `disconnect`.
        end_event: called with 'slow_consumer', 'malformed', 'too_large', 'flooding' or 'connected_twice' before such a
            client is dropped; returns the event (name, payload) that tells it, or None.
        error_ack: makes the ack for an event whose handler has raised.
        refusal_ack: makes the ack for an event that can never be accepted: called with the client's sid, the event's
            name ("" if it is not known) and a `refusals.Refusal`. It must not wait, and should not raise.
    """

    eio: Engine
    manager: RoomManager

    def __init__(
        self,
        client_manager: RoomManager | None = None,
        logger: bool | logging.Logger = False,
        json: Any = None,
        async_handlers: bool = False,
        namespaces: list[str] | str | None = None,
        *,
        disconnect_grace: float = 1.0,
        end_event: Callable[[str], tuple[str, Any] | None] | None = None,
        error_ack: Callable[[BaseException], object] = default_error_ack,
        refusal_ack: Callable[[str, str, Refusal], object] = default_refusal_ack,
        always_connect: bool = False,
        serializer: str = "default",
        **engine_options: Any,
    ) -> None:
        if client_manager is None:
            client_manager = RoomManager()
        if not isinstance(client_manager, RoomManager):
            raise TypeError("client_manager must be a RoomManager: use combine(AsyncRedisManager)(url)")
        if always_connect or serializer != "default" or json is not None:
            raise ValueError("always_connect, serializer and json are fixed: held emits, the default format, orjson")
        if isinstance(logger, bool):
            verbose, logger = logger, logging.getLogger("socketio.server")
            if verbose:
                logger.setLevel(logging.INFO)
        super().__init__(
            client_manager=client_manager,
            logger=logger,
            async_handlers=async_handlers,
            namespaces=namespaces,
            **engine_options,
        )
        self.disconnect_grace = disconnect_grace
        self.end_event = end_event
        self.error_ack = error_ack
        self.refusal_ack = refusal_ack
        self.max_event_bytes = MAX_ATTACHED * self.eio.max_payload
        self._membership = Membership(self)
        self._dispatcher = Dispatcher(self, self._membership)
        self.eio.plain.handlers.clear()  # what python-socketio has registered for itself
        self.eio.application = self._dispatcher

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # Handlers

    @overload
    def on(self, event: str, handler: None = None, namespace: str | None = None) -> Callable[[Handler], Handler]: ...

    @overload
    def on(self, event: str, handler: Handler, namespace: str | None = None) -> None: ...

    def on(self, event: str, handler: Any = None, namespace: str | None = None) -> Any:
        """Register a handler, as a decorator or directly; '*' stands for every event, or every namespace."""
        return super().on(event, handler, namespace)

    @overload
    def event(self, handler: Handler, /) -> Handler: ...

    @overload
    def event(self, *, namespace: str | None = None) -> Callable[[Handler], Handler]: ...

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Register the decorated function for the event of its own name."""
        return super().event(*args, **kwargs)

    # Sending

    def emit_now(
        self,
        event: str,
        data: Any = None,
        *,
        to: Any = None,
        room: Any = None,
        skip_sid: str | Iterable[str] | None = None,
        namespace: str | None = None,
    ) -> int:
        """Emit to this node's clients, at once and without waiting; it runs nobody's handler.

        Args:
            data: one argument, a tuple of several, or None; `Json` for what is encoded already.
            to, room: a room, a sid, a list of these, or None for everybody. Each client gets it once.

        Returns: how many clients it was queued for.
        Raises: PacketError when the data has no JSON.
        """
        return self.manager.emit_now(event, data, namespace or "/", room if to is None else to, skip_sid)

    def is_heard(self, room: str, namespace: str = "/") -> bool:
        """Whether an event to a room would reach anybody of this node's; an admin who watches counts."""
        return self.manager.is_heard(room, namespace)

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Emit an event, as python-socketio does. With one node it does not wait."""
        await self.manager.emit(
            event,
            data,
            namespace or "/",
            room=room if to is None else to,
            skip_sid=skip_sid,
            callback=callback,
            ignore_queue=ignore_queue,
        )

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """Emit an event to one client and return what it acks: None, one value, or a tuple of several.

        Raises: socketio.exceptions.TimeoutError after `timeout` seconds, or when the client goes.
        """
        target = to or sid
        if target is None:
            raise ValueError("Cannot use call() to broadcast.")
        return await ask(
            self.manager.client(target, namespace),
            lambda answered: self.emit(
                event, data, to=target, namespace=namespace, callback=answered, ignore_queue=ignore_queue
            ),
            timeout,
        )

    # Clients

    async def get_session(self, sid: str, namespace: str | None = None) -> Any:
        """Return a client's user session, a dict. Raises: KeyError when there is no such client."""
        return self._client(sid, namespace).data

    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None:
        """Replace a client's user session. Raises: KeyError when there is no such client."""
        self._client(sid, namespace).data = session

    def vouch(self, sid: str, namespace: str | None = None) -> None:
        """A client belongs to a user from now on: it may send what `IntakeLimits.user` says, and strangers wait for it.
        Nothing happens when there is no such client."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            self.eio.intake.vouch(client.session.meter)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """Return 'polling' or 'websocket'. Raises: KeyError when there is no such client."""
        return self._client(sid, namespace).session.transport_name

    def is_open(self, sid: str, namespace: str | None = None) -> bool:
        """Whether the client is there still: its connection stands and it is not leaving. True in its connect handler
        too, unless it left in the middle."""
        client = self.manager.client(sid, namespace)
        return client is not None and client.phase in (CONNECTING, CONNECTED) and client.session.open

    def probe(self, sid: str, heard: Callable[[], None], namespace: str | None = None) -> None:
        """Call `heard` once the client has shown that it is alive and takes what it was sent before; see
        `session.Session.probe`. It costs an Engine.IO ping, which every client answers. Nothing happens for a client
        that is gone."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            client.session.probe(heard)

    def get_environ(self, sid: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Return what the connect handler got as environ, None when there is no such client."""
        client = self.manager.client(sid, namespace)
        return None if client is None else client.session.handshake.environ

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client for good: the JS client does not come back by itself.

        What was sent to it leaves first. From now on nothing it sends reaches a handler; its disconnect handler runs
        once, with 'server disconnect'. Its transport is closed after `disconnect_grace` if it does not go itself.
        """
        client = self.manager.client(sid, namespace)
        if client is not None:
            self._membership.kick(client)
        elif not ignore_queue:
            await self.manager.can_disconnect(sid, namespace or "/")

    async def close_transport(self, sid: str, namespace: str | None = None, *, reason: str = "transport close") -> None:
        """Close a client's connection so that the JS client comes back by itself.

        What was sent to it leaves first, within a second; but not, while its connect handler runs, what that has sent.
        It gets no DISCONNECT packet; the disconnect handlers of all its namespaces get `reason`.
        """
        client = self.manager.client(sid, namespace)
        if client is not None:
            client.session.finish(reason)

    def _client(self, sid: str, namespace: str | None) -> Client:
        client = self.manager.client(sid, namespace)
        if client is None:
            raise KeyError("Session not found")
        return client

    # The server

    def attach(self, app: web.Application, socketio_path: str = "socket.io", *, own_shutdown: bool = True) -> None:
        """Serve an aiohttp application's clients under /socketio_path/, and shut down with it.

        Args:
            own_shutdown: False for an application that calls `shutdown` itself, at a time of its own.
        """
        self.eio.attach(app, socketio_path, own_shutdown=own_shutdown)

    def drain(self) -> None:
        """From now on take nothing that clients send, as if it had not arrived: they get no ack for it. What they had
        sent before is still handled; `settled` tells when."""
        self._dispatcher.draining = True

    async def settled(self, sid: str, namespace: str | None = None) -> None:
        """Wait until everything that the client has sent is handled. Its acks leave before what is sent to it then."""
        client = self.manager.client(sid, namespace)
        if client is not None:
            await client.session.settled()
            running = client.session.peer.running
            if running:
                await asyncio.wait(set(running))

    async def shutdown(self, wait_s: float = SHUTDOWN_WAIT_S) -> None:
        """Close every client's connection, run the disconnect handlers, and leave no task or timer.

        The JS clients come back by themselves, to whoever serves the address then.

        Args:
            wait_s: how long handlers may take; the others are cancelled.
        """
        await self.eio.shutdown(wait_s)

    def instrument(
        self,
        auth: Auth | None = None,
        mode: str = DEVELOPMENT,
        read_only: bool = False,
        server_id: str | None = None,
        namespace: str = "/admin",
        server_stats_interval: float = 2,
        *,
        address: Callable[[web.Request], str | None] = lambda request: request.remote,
        refused: Callable[[web.Request], None] = lambda request: None,
        let_in: Callable[[web.Request], None] = lambda request: None,
        disconnect: Callable[[str, str, web.Request], Awaitable[None]] | None = None,
    ) -> AdminUi:
        """Let the Socket.IO Admin UI watch this server.

        Where it differs from python-socketio: cookies, tokens, events' arguments and user sessions are withheld, and of
        the UI's actions there is only the one that disconnects a single client.

        Args:
            auth: the {"username", "password"} to log in with, a list of such, a function of what the UI sends, which
                may be a coroutine function, or False to let everybody in.
            mode: 'development' lists clients, rooms and events; 'production' only counts.
            read_only: do not let the UI disconnect clients.
            server_id: the server's name in the UI; the host's by default.
            server_stats_interval: seconds between two looks at the server, while somebody watches.
            address: a client's address, from its handshake.
            refused: told of the handshake of whoever could not log in. There is one try per handshake.
            let_in: told of the handshake of whoever has logged in.
            disconnect: ends the client of a sid and namespace, for whoever has this handshake; `self.disconnect` by
                default.

        Raises: ValueError without `auth`, or for another mode.
        """
        if auth is None:
            raise ValueError("auth must be specified")
        return AdminUi(
            self,
            auth,
            mode=mode,
            read_only=read_only,
            server_id=server_id,
            namespace=namespace,
            interval_s=server_stats_interval,
            address=address,
            refused=refused,
            let_in=let_in,
            disconnect=disconnect,
        )

    def watch(
        self, received: Callable[[Client, Any], None], sent: Callable[[str, str, Iterable[Client]], None]
    ) -> Callable[[], None]:
        """Have `received(client, event)` called before a client's event is handled, and `sent(event, namespace,
        recipients)` before one is sent to this node's clients. Returns what ends that."""
        self._dispatcher.taps.append(received)
        self.manager.taps.append(sent)

        def end() -> None:
            self._dispatcher.taps.remove(received)
            self.manager.taps.remove(sent)

        return end

    def has_handler(self, event: Any, namespace: str) -> bool:
        """Whether an event of that name has a handler of its own."""
        if not isinstance(event, str):
            return False
        return event in self.handlers.get(namespace, ()) or hasattr(
            self.namespace_handlers.get(namespace), f"on_{event}"
        )

    def stats(self) -> dict[str, int]:
        """Return the sizes of all registries; with nobody connected all of them are 0."""
        spaces = self.manager.namespaces.values()
        clients = [client for space in spaces for client in space.clients.values()]
        return {
            "sessions": len(self.eio.sessions),
            "clients": len(clients),
            "rooms": self.room_count(),
            "pending_acks": sum(len(client.asked) for client in clients),
            "timers": len(self.eio.wheel),
            "tasks": self.eio.tasks,
            "outbox_bytes": sum(session.outbox.unsent for session in self.eio.sessions.values()),
        }

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a task that `shutdown` waits for."""
        return self.eio.spawn(coroutine)

    def sessions(self) -> list[Session]:
        """Return all Engine.IO sessions, those that are in no namespace too."""
        return list(self.eio.sessions.values())

    def sids_of(self, session: Session) -> list[str]:
        """Return the sids of a session's connected clients, one for each namespace that it is in."""
        return [client.sid for client in session.peer.clients.values() if client.phase == CONNECTED]

    def is_connecting(self, sid: str, namespace: str | None = None) -> bool:
        """Whether a client's connect handler is running."""
        return self.manager.is_pre_connected(sid, namespace or "/")

    def knows(self, sid: str, namespace: str | None = None) -> bool:
        """Whether there is such a client, connecting or leaving ones among them."""
        return self.manager.client(sid, namespace) is not None

    def rooms_of(self, sid: str, namespace: str | None = None) -> list[Any]:
        """Return the rooms a client is in, its own sid first; none when there is no such client."""
        return self.manager.get_rooms(sid, namespace or "/")

    def room_count(self) -> int:
        """Return how many rooms there are, in all namespaces."""
        return sum(len(space.rooms) for space in self.manager.namespaces.values())

    @property
    def intake(self) -> Intake:
        """What bounds all that clients send."""
        return self.eio.intake

    def meter_of(self, eio_sid: str) -> Meter | None:
        """Return what a session's client is charged to, None when there is no such session."""
        session = self.eio.sessions.get(eio_sid)
        return None if session is None else session.meter

    def connected(self, namespace: str = "/") -> list[str]:
        """Return the sids of a namespace's clients, without those that are connecting or leaving."""
        space = self.manager.namespaces.get(namespace)
        return [] if space is None else [sid for sid, client in space.clients.items() if client.phase == CONNECTED]

    def clients(self) -> Iterator[ClientInfo]:
        """Yield everybody who is connected."""
        for space in self.manager.namespaces.values():
            for client in [client for client in space.clients.values() if client.phase == CONNECTED]:
                yield info(client, self.eio.wheel.clock())

    def client_info(self, sid: str, namespace: str | None = None) -> ClientInfo | None:
        """Return what `clients` says of one client, None unless it is connected."""
        client = self.manager.client(sid, namespace)
        return None if client is None or client.phase != CONNECTED else info(client, self.eio.wheel.clock())
