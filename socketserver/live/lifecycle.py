"""A connection's life: let in, given a user, ended with a reason, gone. The only place that tells a client of its end.

An end may be decided elsewhere (a bound of the transport's, an administrator, a stop): here it is said. Ties the pure
registries (connections, presence, typing) to the sockets, so that they always change together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from ..chat.domain import Clock
from ..chat.identity import Identity
from ..door.visits import Visit
from ..errors import (
    AUTH_TIMEOUT,
    CROWDED_OUT,
    ENDS,
    KICKED,
    LOGGED_OUT,
    REPLACED,
    STALE,
    TOKEN_EXPIRED,
    TOO_LARGE,
    End,
    UserMismatch,
)
from ..logs import get_logger
from ..realtime import AsyncServer, Session
from ..wire import protocol
from ..wire.protocol import ServerEvent, SessionEndedWire, WelcomeWire
from .connections import Connection, Sessions
from .fanout import Fanout, rooms_of, user_room
from .left import Left, left_for
from .presence import Presence
from .typing_indicator import TypingIndicator

log = get_logger(__name__)

# Number of sockets after which the sweep lets others have a turn.
_SWEPT_PER_TURN: Final = 200


class Lifecycle:
    """Moves connections from one state to the next.

    Args:
        welcome: makes the payload of the `welcome` event for an identity and a connection id.
        on_user: told of every socket that got its user, and whether it replaces an older one of that user.
        on_proof: told of every proof of who a user is that counted, after the user's socket was greeted.
        on_gone: told of every socket that is gone, and why.
        max_event_bytes: what a client is told that is ended because it sent more at once.
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
        on_proof: Callable[[Identity], None] = lambda identity: None,
        on_gone: Callable[[Connection, Left], None] = lambda connection, left: None,
        max_event_bytes: int = 0,
    ) -> None:
        self._sio = sio
        self._sessions = sessions
        self._presence = presence
        self._typing = typing
        self._fanout = fanout
        self._clock = clock
        self._welcome = welcome
        self._on_user = on_user
        self._on_proof = on_proof
        self._on_gone = on_gone
        self._max_event_bytes = max_event_bytes
        sio.end_event = self.last_words

    async def arrive(self, visit: Visit, identity: Identity | None) -> Connection:
        """A client is let in: from now on its socket is registered, without a user where there is no identity.

        It may have left while it was looked at: then its end, which comes behind its connect, finds it registered.
        """
        connection = self._sessions.add(visit.sid, visit.since_s, visit.guest)
        connection.hint = visit.hint
        try:
            if identity is not None:
                await self.authenticate(connection, identity)
        except BaseException:  # a bug: nobody would tell of the end of a socket that was let in by half
            self._forget(connection)
            raise
        return connection

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
            self._on_proof(identity)
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
        self._on_proof(identity)
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
        log.info(
            "ended",
            connection_id=connection.sid,
            user_id=connection.user_id,
            code=end.code,
            connected_ms=self._age_ms(connection),
        )
        await self._end(connection.sid, end, retry_after_ms)

    async def kick(self, connection: Connection, *, by: str) -> None:
        """End a connection because an administrator, at the address `by`, wants it."""
        log.info("kicked", connection_id=connection.sid, user_id=connection.user_id, by_address=by)
        await self.end(connection, KICKED)

    def last_words(self, code: str) -> tuple[str, SessionEndedWire]:
        """The event for a client that the transport is about to drop: realtime asks for it, and sends it."""
        limit_bytes = self._max_event_bytes if code == TOO_LARGE.code else None
        return ServerEvent.SESSION_ENDED, protocol.dump_session_ended(ENDS[code], limit_bytes=limit_bytes)

    async def _end(self, sid: str, end: End, retry_after_ms: int | None = None) -> None:
        self._sio.emit_now(ServerEvent.SESSION_ENDED, protocol.dump_session_ended(end, retry_after_ms), room=sid)
        if end.reconnect:
            await self._sio.close_transport(sid, reason=end.code)
        else:
            await self._sio.disconnect(sid)

    def end_soon(self, connection: Connection, end: End, *, retry_after_ms: int | None = None) -> None:
        """`end`, once what is being answered has its ack."""
        self._sio.spawn(self.end(connection, end, retry_after_ms=retry_after_ms))

    async def end_all(
        self, end: End, *, retry_after_ms: Callable[[], int], within_s: float, arriving: Iterable[str] = ()
    ) -> None:
        """End every connection, each as soon as what it has sent is answered.

        Each gets its own time to come back, so that they do not come all at once.

        Args:
            within_s: how long the answers may take. Who has none by then is ended without: the client sends again with
                the same idempotency key.
            arriving: sids that may be let in meanwhile.
        """

        async def settle_and_end(sid: str) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._sio.settled(sid)
            connection = self._sessions.get(sid)
            if connection is not None:
                await self.end(connection, end, retry_after_ms=retry_after_ms())

        here = [connection.sid for connection in self._sessions]
        await asyncio.gather(*map(settle_and_end, [*here, *arriving]))

    def gone(self, sid: str, reason: str) -> None:
        """A socket is gone, for whatever reason. Idempotent; nothing happens for one that was never let in."""
        connection = self._sessions.known(sid)
        if connection is None:
            return
        self._forget(connection)
        left = connection.end or left_for(reason)
        log.info(
            "disconnected",
            connection_id=sid,
            user_id=connection.user_id,
            address=connection.guest.address,
            reason=left.code if isinstance(left, End) else str(left),
            connected_ms=self._age_ms(connection),
        )
        self._on_gone(connection, left)

    def _forget(self, connection: Connection) -> None:
        self._sessions.remove(connection.sid)
        for typing in self._typing.stop_all(connection.sid):
            self._fanout.typing(typing.conversation_id, typing.user_id, False, sid=connection.sid)
        user_id = connection.user_id
        if user_id is not None and not self._sessions.of_user(user_id):
            self._presence.leave(user_id, self._clock.monotonic_s(), self._clock.now_ms())

    def expire_signs(self) -> None:
        """End the typing and the presence of those who have given no sign of it for long enough."""
        now_s = self._clock.monotonic_s()
        for typing in self._typing.expire(now_s):
            self._fanout.typing(typing.conversation_id, typing.user_id, False, sid=typing.sid)
        for user_id, last_seen_ms in self._presence.expire(now_s):
            self._fanout.presence(user_id, online=False, last_seen_ms=last_seen_ms)

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
            if self._sessions.known(sid) is None:
                mended += 1
                log.warning("swept", connection_id=sid, why="nothing was known of it")
                await self._end(sid, STALE)
        return mended

    def _age_ms(self, connection: Connection) -> int:
        return round((self._clock.monotonic_s() - connection.since_s) * 1000)

    async def _audit(self, connection: Connection) -> int:
        sid = connection.sid
        if self._sessions.known(sid) is None:
            return 0
        if not self._sio.knows(sid, protocol.NAMESPACE):
            log.warning("swept", connection_id=sid, why="it is not connected any more")
            self.gone(sid, STALE.code)
            return 1
        if connection.end is not None or connection.identity is None:
            return 0
        meant = rooms_of(connection)
        wrong = meant.symmetric_difference(self._sio.rooms_of(sid, protocol.NAMESPACE)) - {sid}
        for room in wrong:
            why = "it was not in a room" if room in meant else "it was in a room too many"
            log.warning("mended", connection_id=sid, why=why)
            await (self._fanout.enter if room in meant else self._fanout.leave)(connection, room)
        return len(wrong)
