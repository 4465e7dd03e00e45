"""Who is told that a socket got its user, and that it is gone: the door, automatic reading and the metrics."""

from __future__ import annotations

from ..chat.domain import Clock
from ..door.connects import Guards
from ..errors import End
from ..live.auto_read import AutoRead
from ..live.connections import Connection
from ..live.left import Left, code_of
from ..ops.metrics import Metrics


class Witness:
    """Hands on what the lifecycle of a socket says."""

    def __init__(self, guards: Guards, auto_read: AutoRead, metrics: Metrics, clock: Clock) -> None:
        self._guards = guards
        self._auto_read = auto_read
        self._metrics = metrics
        self._clock = clock

    def came(self, connection: Connection, replaces: bool) -> None:
        """A socket has its user.

        Args:
            replaces: whether another socket of the user's had to go for it.
        """
        assert connection.user_id is not None
        self._guards.proved(connection.guest)
        self._metrics.authenticated(connection.user_id, replaces=replaces)

    def gone(self, connection: Connection, left: Left) -> None:
        """A socket is gone: ended by the server, or by its client and what lies between."""
        if isinstance(left, End):
            lasted_s = self._clock.monotonic_s() - connection.since_s
            self._guards.loops.ended(connection.guest, connection.user_id, left, lasted_s=lasted_s)
        self._auto_read.gone(connection.sid)
        self._metrics.ended(connection.user_id, code_of(left))
