"""How fast a user may send events, by what they cost, and when somebody who does not listen to refusals is to be ended.

Pure; the time is passed in. Messages have a bucket of their own in chat.py, which alone knows a repeat from a new one;
everything else that a user sends comes out of the bucket here. A socket without a user has one of its own.
"""

from __future__ import annotations

import math
from typing import Final

from ..chat.domain import UserId
from ..errors import RateLimited
from ..limits import Buckets
from ..live.connections import Connection

# So many refused requests at once, and so many per second in the long run, before a client is ended. That is room for
# an application that sends what it has collected while it was offline, and is told to wait for each of them.
REFUSALS_BURST: Final = 300
REFUSALS_PER_SECOND: Final = 1.0


class Rates:
    """The buckets of events and of refusals.

    An event is paid with one token when it comes. An answer that is longer than one token's worth is paid for when it
    is known: the bucket may then be overdrawn, and what comes next waits until the debt is paid.

    Args:
        events_per_second, events_burst: 0 events per second means no limit.
        rows_per_event, bytes_per_event: how many rows and how many bytes of an answer are one token's worth; 0: they
            cost nothing.
    """

    def __init__(
        self, events_per_second: float, events_burst: int, *, rows_per_event: int = 0, bytes_per_event: int = 0
    ) -> None:
        self._rows_per_event = rows_per_event or math.inf
        self._bytes_per_event = bytes_per_event or math.inf
        self._events: Buckets[str] = Buckets(events_per_second, events_burst)
        self._refusals: Buckets[str] = Buckets(REFUSALS_PER_SECOND, REFUSALS_BURST)

    def __len__(self) -> int:
        return len(self._events) + len(self._refusals)

    def take(self, connection: Connection, now_s: float) -> None:
        """Charge one event.

        Raises: RateLimited.
        """
        if wait_s := self._events.get(_key(connection), now_s).take(now_s):
            raise RateLimited(retry_after_ms=math.ceil(wait_s * 1000))

    def answered(self, connection: Connection, now_s: float, *, rows: int, size_bytes: int) -> None:
        """Charge an answer: messages, conversations, participants, and their length. One token is paid already."""
        cost = rows / self._rows_per_event + size_bytes / self._bytes_per_event
        if cost > 1:
            self._events.get(_key(connection), now_s).spend(now_s, cost - 1)

    def looked_up(self, user_id: UserId, now_s: float, *, rows: int) -> None:
        """Charge what had to be read for a user beside the answer."""
        self._events.get(_user_key(user_id), now_s).spend(now_s, rows / self._rows_per_event)

    def repeat(self, connection: Connection, now_s: float) -> bool:
        """Charge one repeat of a stored message, which is never refused.

        Returns: whether the client may stay. One that repeats itself on and on may not.
        """
        return not self._events.get(_key(connection), now_s).take(now_s) or self.refused(connection, now_s)

    def refused(self, connection: Connection, now_s: float) -> bool:
        """Note that a request was refused for coming too soon.

        Returns: whether the client may stay. One that does not wait may not.
        """
        return not self._refusals.get(_key(connection), now_s).take(now_s)

    def sweep(self, now_s: float) -> None:
        """Forget the buckets that are full again."""
        self._events.sweep(now_s)
        self._refusals.sweep(now_s)


def _key(connection: Connection) -> str:
    # A sid is 20 characters long and random: no user id can be made to be one.
    return connection.sid if connection.identity is None else _user_key(connection.identity.user_id)


def _user_key(user_id: UserId) -> str:
    return f"user {user_id}"
