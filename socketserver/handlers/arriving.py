"""How a client comes in, and gets its user: through the door, and only then among those who are here."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from ..chat.domain import Clock
from ..chat.identity import Identity
from ..door.auth import Authenticator
from ..door.connects import Guards
from ..door.credentials import MisplacedTokens, misplaced
from ..door.visits import Guest, Visit
from ..errors import AuthRequired, ChatError, TooManyConnects
from ..live.connections import Connection
from ..live.lifecycle import Lifecycle
from ..logs import get_logger
from ..ops.metrics import CONNECT, Metrics
from ..realtime import AsyncServer, ConnectionRefusedError
from ..wire import protocol

log = get_logger(__name__)

# Interval, in seconds, of looking whether a client that is made to wait is there still.
HOLD_STEP_S: Final = 0.2


class Arriving:
    """The handlers of Socket.IO's connect and disconnect, and the giving of a user by a token."""

    def __init__(
        self,
        sio: AsyncServer,
        authenticator: Authenticator,
        guards: Guards,
        lifecycle: Lifecycle,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._sio = sio
        self._authenticator = authenticator
        self._guards = guards
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._clock = clock
        self._misplaced = MisplacedTokens()

    async def connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        """Let a socket in: with a token, with a login cookie, or without a user for the time being.

        Raises: ConnectionRefusedError with the error as `data`, when the token is not good, or the client connects
            again and again.
        """
        try:
            with self._guards.visit(sid, environ["aiohttp.request"]) as visit:
                identity = await self._authenticator.from_handshake(
                    visit.request, auth, lambda token: self.identify(visit.guest, token)
                )
                self._guards.admit(visit, identity)
                self._note(visit, identity, auth)
                await self._lifecycle.arrive(visit, identity)
            self._metrics.connected()
        except ChatError as error:
            await self._refuse(visit, error)
            raise ConnectionRefusedError(error.message, protocol.dump_error(error)) from None

    async def disconnect(self, sid: str, reason: str) -> None:
        """A socket is gone."""
        self._lifecycle.gone(sid, reason)

    async def authenticate(self, connection: Connection, token: str) -> Identity:
        """Give a socket that was let in its user, or renew the proof of who it is.

        Raises: InvalidToken; AuthUnavailable; TooManyConnects; UserMismatch; AuthRequired where it is being ended.
        """
        identity = await self.identify(connection.guest, token)
        if connection.end is not None:
            raise AuthRequired
        if connection.identity is None:
            self._guards.loops.admit_user(identity.user_id, connection.guest)
        await self._lifecycle.authenticate(connection, identity)
        return identity

    async def identify(self, guest: Guest, token: str) -> Identity:
        """Whose token it is. Raises: as Authenticator.from_token; TooManyConnects."""
        with self._guards.token(guest, token):
            return await self._authenticator.from_token(token)

    def _note(self, visit: Visit, identity: Identity | None, auth: object) -> None:
        guest = visit.guest
        if identity is None:
            visit.hint = misplaced(visit.request, auth)
            if visit.hint is not None:
                self._misplaced.say(visit.hint, guest.address, self._clock.monotonic_s())
        transport = visit.request.query.get("transport")
        log.info("connected", connection_id=visit.sid, address=guest.address, origin=guest.origin, transport=transport)

    async def _refuse(self, visit: Visit, error: ChatError) -> None:
        """Note that a client is refused, and let it wait if it comes back however often that is, unless it goes."""
        self._metrics.refused(CONNECT, error.code)
        # The guards say in one line what they refuse; a line per try would be what a loop writes.
        level = logging.DEBUG if isinstance(error, TooManyConnects) else logging.INFO
        log.log(level, "refused", connection_id=visit.sid, address=visit.guest.address, code=error.code)
        end_s = time.monotonic() + self._guards.loops.hold_s(visit.guest)
        while time.monotonic() < end_s and self._sio.is_open(visit.sid) and not self._guards.draining:  # noqa: ASYNC110
            await asyncio.sleep(HOLD_STEP_S)
