"""A connection's life: accepted, given a user, ended with a reason, gone. The only place that ends connections.

Ties the pure registries (sessions, presence, typing) to the sockets, so that they always change together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..chat.domain import Clock, Identity
from ..errors import AUTH_TIMEOUT, CROWDED_OUT, LOGGED_OUT, REPLACED, STALE, TOKEN_EXPIRED, End, UserMismatch
from ..logs import get_logger
from ..realtime import AsyncServer, Session
from ..wire import protocol
from ..wire.protocol import ServerEvent, WelcomeWire
from .connections import NOBODY, Connection, Guest, Sessions
from .fanout import Fanout, conversation_room, user_room, watch_room
from .presence import Presence
from .typing_indicator import TypingIndicator

log = get_logger(__name__)

# Why a socket that was never let in is gone.
REFUSED: Final = "refused"

# After so many sockets the sweep lets others have a turn.
_SWEPT_PER_TURN: Final = 200


class Lifecycle:
    """Moves connections from one state to the next.

    Args:
        welcome: makes the payload of the `welcome` event for an identity and a connection id.
        on_user: told of every socket that got its user, and whether it replaces an older one of that user.
        on_gone: told of every socket that is gone, with the code of its end, or why the transport went, or REFUSED.
    """

    def __init__(
        self,
        sio: AsyncServer,
        sessions: Sessions,
        presence: Presence,
        typing: TypingIndicator,
        fanout: Fanout,
        clock: Clock,
        *,
        welcome: Callable[[Identity, str], WelcomeWire],
        on_user: Callable[[Connection, bool], None] = lambda connection, replaces: None,
        on_gone: Callable[[Connection, str], None] = lambda connection, code: None,
    ) -> None:
        self._sio = sio
        self._sessions = sessions
        self._presence = presence
        self._typing = typing
        self._fanout = fanout
        self._clock = clock
        self._welcome = welcome
        self._on_user = on_user
        self._on_gone = on_gone

    def accept(self, sid: str, guest: Guest = NOBODY) -> Connection:
        """A socket is there, without a user so far."""
        return self._sessions.add(sid, self._clock.monotonic_s(), guest)

    async def authenticate(self, connection: Connection, identity: Identity) -> None:
        """Give a socket its user, greet it, and end the user's surplus sockets. A repeat for the same user renews the
        identity. Nothing happens to a socket that has left.

        Raises: UserMismatch if the socket has another user.
        """
        if connection.end is not None or not self._sio.is_open(connection.sid):
            return  # it left while its token was checked, and must not replace another
        if connection.identity is not None:
            if connection.identity.user_id != identity.user_id:
                raise UserMismatch
            self._sessions.renew(connection, identity)
            return
        surplus = self._sessions.authenticate(connection, identity)
        self._on_user(connection, bool(surplus))
        self._sio.vouch(connection.sid)
        await self._fanout.enter(connection, user_room(identity.user_id))
        log.info(
            "authenticated",
            connection_id=connection.sid,
            user_id=identity.user_id,
            address=connection.guest.address,
            ms=self._age_ms(connection),
        )
        self._sio.emit_now(ServerEvent.WELCOME, self._welcome(identity, connection.sid), room=connection.sid)
        if self._presence.arrive(identity.user_id):
            self._fanout.presence(identity.user_id, online=True, last_seen_ms=None)
        for old in surplus:
            await self.end(old, REPLACED)

    async def end(self, connection: Connection, end: End, *, retry_after_ms: int | None = None) -> None:
        """Tell a client why it is ended, and end it so that it stays away or comes back, as `end` says.

        The JS client reconnects after its transport closes, but not after a Socket.IO DISCONNECT.
        """
        if connection.end is not None:
            return
        connection.end = end
        user_id = connection.identity.user_id if connection.identity else None
        log.info(
            "ended", connection_id=connection.sid, user_id=user_id, code=end.code, connected_ms=self._age_ms(connection)
        )
        await self._sio.emit(
            ServerEvent.SESSION_ENDED, protocol.dump_session_ended(end, retry_after_ms), to=connection.sid
        )
        if end.reconnect:
            await self._sio.close_transport(connection.sid, reason=end.code)
        else:
            await self._sio.disconnect(connection.sid)

    def end_soon(self, connection: Connection, end: End, *, retry_after_ms: int | None = None) -> None:
        """`end`, once what is being answered has its ack."""
        self._sio.spawn(self.end(connection, end, retry_after_ms=retry_after_ms))

    async def end_all(self, end: End, *, retry_after_ms: Callable[[], int], within_s: float) -> None:
        """Take no more requests and end every connection, each as soon as what it has sent is answered.

        Each gets its own time to come back, so that they do not come all at once.

        Args:
            within_s: how long the answers may take. Who has none by then is ended without: the client sends again with
                the same idempotency key.
        """

        async def settle_and_end(connection: Connection) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._sio.settled(connection.sid)
            await self.end(connection, end, retry_after_ms=retry_after_ms())

        self._sio.drain()
        await asyncio.gather(*map(settle_and_end, self._sessions))

    def gone(self, sid: str, reason: str) -> None:
        """A socket is gone, for whatever reason. Idempotent."""
        connection = self._sessions.remove(sid)
        if connection is None:
            return
        for typing in self._typing.stop_all(sid):
            self._fanout.typing(typing.conversation_id, typing.user_id, False, sid=sid)
        if connection.identity is not None and not self._sessions.of_user(connection.identity.user_id):
            self._presence.leave(connection.identity.user_id, self._clock.monotonic_s(), self._clock.now_ms())
        code = connection.end.code if connection.end else reason
        user_id = connection.identity.user_id if connection.identity else None
        level = logging.DEBUG if code == REFUSED else logging.INFO  # a refusal has its own line
        log.log(
            level,
            "disconnected",
            connection_id=sid,
            user_id=user_id,
            address=connection.guest.address,
            reason=code,
            connected_ms=self._age_ms(connection),
        )
        self._on_gone(connection, code)

    async def end_without_user(self, timeout_s: float) -> None:
        """End the sockets that did not authenticate within `timeout_s`, but not while their token is being checked."""
        for connection in self._sessions.without_user(self._clock.monotonic_s() - timeout_s):
            if not self._sio.is_connecting(connection.sid, protocol.NAMESPACE):
                message = f"{AUTH_TIMEOUT.message} {connection.hint or ''}".strip()
                await self.end(connection, replace(AUTH_TIMEOUT, message=message))

    def crowd_out(self, session: Session) -> None:
        """End a session without a user whose place is needed, at once if it is not connected."""
        for sid in self._sio.sids_of(session):
            connection = self._sessions.get(sid)
            if connection is not None:
                self.end_soon(connection, CROWDED_OUT)
                return
        session.close(CROWDED_OUT.code, abort=True)

    async def end_expired(self) -> None:
        """End the sockets whose token, or login, is not valid any more."""
        for connection in self._sessions.expired(self._clock.now_ms()):
            await self.end(connection, TOKEN_EXPIRED)

    async def end_login(self, identity: Identity) -> None:
        """End the sockets that were opened with a login cookie."""
        if identity.login_id is not None:
            for connection in self._sessions.of_login(identity.user_id, identity.login_id):
                await self.end(connection, LOGGED_OUT)

    async def sweep(self) -> int:
        """Compare our registry with the engine's, both ways, and heal what differs.

        Our entries without a socket are forgotten, sockets without an entry are ended as stale, and a socket is in the
        rooms that its entry says, and in no other of ours.

        Returns: how many differences there were. It is 0 unless there is a bug here or in the engine.
        """
        mended = 0
        for number, connection in enumerate(self._sessions):
            if number % _SWEPT_PER_TURN == 0:
                await asyncio.sleep(0)
            mended += await self._audit(connection)
        for sid in self._sio.connected(protocol.NAMESPACE):
            if not self._sessions.knows(sid):
                mended += 1
                log.warning("swept", connection_id=sid, why="nothing was known of it")
                self._sio.emit_now(ServerEvent.SESSION_ENDED, protocol.dump_session_ended(STALE), room=sid)
                await self._sio.close_transport(sid, reason=STALE.code)
        return mended

    def _age_ms(self, connection: Connection) -> int:
        return round((self._clock.monotonic_s() - connection.since_s) * 1000)

    async def _audit(self, connection: Connection) -> int:
        sid = connection.sid
        if not self._sessions.knows(sid):
            return 0
        if not self._sio.knows(sid, protocol.NAMESPACE):
            log.warning("swept", connection_id=sid, why="it is not connected any more")
            self.gone(sid, STALE.code)
            return 1
        if connection.end is not None or connection.identity is None:
            return 0
        meant = {user_room(connection.identity.user_id)}
        meant.update(map(conversation_room, connection.joined))
        meant.update(map(watch_room, connection.watched))
        wrong = meant.symmetric_difference(self._sio.rooms_of(sid, protocol.NAMESPACE)) - {sid}
        for room in wrong:
            why = "it was not in a room" if room in meant else "it was in a room too many"
            log.warning("mended", connection_id=sid, why=why)
            await (self._fanout.enter if room in meant else self._fanout.leave)(connection, room)
        return len(wrong)
