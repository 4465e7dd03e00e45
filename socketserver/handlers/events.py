"""Connects and disconnects, and how a socket gets its user."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from ..chat.domain import Clock, Identity
from ..door.auth import Authenticator
from ..door.connects import Guards
from ..door.credentials import MisplacedTokens, misplaced
from ..errors import AuthRequired, AuthUnavailable, ChatError, InternalError, InvalidToken, TooManyConnects
from ..live.connections import Connection, Guest
from ..live.lifecycle import REFUSED, Lifecycle
from ..logs import get_logger
from ..ops.metrics import CONNECT, Metrics
from ..realtime import AsyncServer, ConnectionRefusedError
from ..wire import protocol
from ..wire.commands import Authenticate
from ..wire.protocol import dump_ok
from .answering import Ack

log = get_logger(__name__)

# How often it is looked whether a client that is made to wait is there still.
HOLD_STEP_S: Final = 0.2


class Handlers:
    """Answers connects, disconnects, and the event that gives a socket its user."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        lifecycle: Lifecycle,
        guards: Guards,
        metrics: Metrics,
        clock: Clock,
        sio: AsyncServer,
    ) -> None:
        self._sio = sio
        self._authenticator = authenticator
        self._lifecycle = lifecycle
        self._guards = guards
        self._metrics = metrics
        self._clock = clock
        self._misplaced = MisplacedTokens()

    def register(self) -> None:
        """Put the handlers in their places."""
        self._sio.on("connect", self.connect)
        self._sio.on("disconnect", self.disconnect)

    async def connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        """Accept a socket: with a token, with a login cookie, or without a user for the time being.

        Raises: ConnectionRefusedError with the error as `data`, when the token is not good, or the client connects
            again and again.
        """
        request = environ["aiohttp.request"]
        guest = self._guards.guest(request)
        connection = self._lifecycle.accept(sid, guest)
        try:
            identity = await self._authenticator.from_handshake(
                request, auth, lambda token: self._from_token(token, guest)
            )
            if identity is None:
                self._guards.loops.admit_anonymous(guest)
                connection.hint = misplaced(request, auth)
                if connection.hint is not None:
                    self._misplaced.say(connection.hint, guest.address, self._clock.monotonic_s())
            else:
                self._guards.loops.admit_user(identity.user_id, guest)
            transport = request.query.get("transport")
            log.info("connected", connection_id=sid, address=guest.address, origin=guest.origin, transport=transport)
            if identity is not None:
                await self._lifecycle.authenticate(connection, identity)
            self._metrics.connected()
        except BaseException as error:
            self._lifecycle.gone(sid, REFUSED)
            if not isinstance(error, ChatError):
                if isinstance(error, asyncio.CancelledError):
                    raise
                log.exception("connect_failed", connection_id=sid)
                error = InternalError()
            error = self._refuse(error, guest)
            self._metrics.refused(CONNECT, error.code)
            # The guards say in one line what they refuse; a line per try would be what a loop writes.
            level = logging.DEBUG if isinstance(error, TooManyConnects) else logging.INFO
            log.log(level, "refused", connection_id=sid, address=guest.address, code=error.code)
            await self._hold(sid, self._guards.loops.hold_s(guest))
            raise ConnectionRefusedError(error.message, protocol.dump_error(error)) from None

    def _refuse(self, error: ChatError, guest: Guest) -> ChatError:
        """Count a connect that is refused. Returns: what its client is told."""
        if error.servers_fault:
            self._guards.forgive(guest)
        else:
            if isinstance(error, InvalidToken | AuthUnavailable):
                try:
                    self._guards.loops.admit_unproven(guest)
                except TooManyConnects as too_many:
                    error = too_many
            self._guards.refused(guest)
        return error

    async def _hold(self, sid: str, hold_s: float) -> None:
        """Let a client wait that comes back however often it is refused, unless it goes before."""
        end_s = time.monotonic() + hold_s
        while time.monotonic() < end_s and self._sio.is_open(sid) and not self._guards.draining:  # noqa: ASYNC110
            await asyncio.sleep(HOLD_STEP_S)

    async def disconnect(self, sid: str, reason: str) -> None:
        """A socket is gone."""
        self._lifecycle.gone(sid, reason)

    async def _from_token(self, token: str, guest: Guest) -> Identity:
        self._guards.admit_token(guest, token)
        try:
            identity = await self._authenticator.from_token(token)
        except ChatError as error:
            if error.servers_fault:
                self._guards.unknown_token(guest)
            raise
        self._guards.good_token(guest, token)
        return identity

    async def authenticate(self, connection: Connection, command: Authenticate) -> Ack:
        """Give a socket its user.

        Raises: ChatError.
        """
        identity = await self._from_token(command.token, connection.guest)
        if connection.end is not None:
            raise AuthRequired
        if connection.identity is None:
            self._guards.loops.admit_user(identity.user_id, connection.guest)
        await self._lifecycle.authenticate(connection, identity)
        return dump_ok(user=protocol.dump_user(identity))
