"""How fast a user may send, what each event costs, and when somebody who does not listen to refusals is to be ended.

The whole rule:

    a new message       one token of the user's messages; refused without one
    a repeat, or a message that is not taken
                        one token of the user's events, but never refused; without one it counts as a refusal
    a new conversation  one token of the user's conversations per 50 participants; refused without; a repeat is free
    any other event     one token of the payer's events; refused without one
    a long answer       what it is longer than one token's worth, of the payer's events, afterwards: the next one waits
    a refusal           one token of the payer's patience; who has none left is ended with `flooding`

The payer is the user, or the socket as long as it has none. Pure; the time is passed in. The chat spends the tokens of
messages and conversations, because it alone knows a repeat from a new one: the buckets are here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

from ..chat.domain import UserId
from ..errors import ChatError, RateLimited
from ..limits import Buckets, in_ms
from ..settings import Settings

# Maximum refused requests at once, and per second in the long run, before a client is ended. That is room for an
# application that sends what it has collected while it was offline, and is told to wait for each of them.
REFUSALS_BURST: Final = 300
REFUSALS_PER_SECOND: Final = 1.0


class Payer(Protocol):
    """Who pays for an event: a connection."""

    @property
    def user_id(self) -> UserId | None:
        """Its user, who pays for all connections of the user's."""

    @property
    def sid(self) -> str:
        """What pays while there is no user."""


class Rates:
    """The buckets of one server.

    An event is paid with one token when it comes. An answer that is longer than one token's worth is paid for when it
    is known: the bucket may then be overdrawn, and what comes next waits until the debt is paid.

    Attributes:
        messages, conversations: each user's tokens for new ones.
    """

    def __init__(self, settings: Settings) -> None:
        self._rows_per_event = settings.rows_per_event or math.inf
        self._bytes_per_event = settings.bytes_per_event or math.inf
        self.messages: Final = Buckets[UserId](settings.messages_per_second, settings.messages_burst)
        self.conversations: Final = Buckets[UserId](
            settings.conversations_per_minute / 60, settings.conversations_burst
        )
        self._events: Buckets[str] = Buckets(settings.events_per_second, settings.events_burst)
        self._refusals: Buckets[str] = Buckets(REFUSALS_PER_SECOND, REFUSALS_BURST)

    def __len__(self) -> int:
        return len(self._events) + len(self._refusals)

    def take(self, payer: Payer, now_s: float) -> None:
        """Charge one event that is no message.

        Raises: RateLimited.
        """
        if wait_s := self._events.get(_key(payer), now_s).take(now_s):
            raise RateLimited(retry_after_ms=in_ms(wait_s))

    def answered(self, payer: Payer, now_s: float, *, rows: int, size_bytes: int) -> None:
        """Charge an answer: messages, conversations, participants, and their length. One token is paid already."""
        cost = rows / self._rows_per_event + size_bytes / self._bytes_per_event
        if cost > 1:
            self._events.get(_key(payer), now_s).spend(now_s, cost - 1)

    def looked_up(self, user_id: UserId, now_s: float, *, rows: int) -> None:
        """Charge what had to be read for a user beside the answer."""
        self._events.get(_user_key(user_id), now_s).spend(now_s, rows / self._rows_per_event)

    def may_stay_after_repeat(self, payer: Payer, now_s: float) -> bool:
        """Charge one repeat of a stored message. Returns False for a client that repeats itself on and on."""
        key = _key(payer)
        return not self._events.get(key, now_s).take(now_s) or self._bears(key, now_s)

    def may_stay_after(self, error: ChatError, payer: Payer, now_s: float, *, message: bool) -> bool:
        """Charge a request that was answered with an error.

        Args:
            message: whether it was to send a message: then it has not been charged so far.
        Returns: False for a client that does not wait, and is to be ended.
        """
        if isinstance(error, RateLimited):
            return self._bears(_key(payer), now_s)
        return not message or payer.user_id is None or self.may_stay_after_repeat(payer, now_s)

    def sweeps(self) -> list[Callable[[float], None]]:
        """What forgets the buckets that are full again: each is called with the time, and takes 25 ms at most."""
        return [buckets.sweep for buckets in (self.messages, self.conversations, self._events, self._refusals)]

    def _bears(self, key: str, now_s: float) -> bool:
        return not self._refusals.get(key, now_s).take(now_s)


def _key(payer: Payer) -> str:
    # A sid is 20 characters long and random: no user id can be made to be one.
    user_id = payer.user_id
    return payer.sid if user_id is None else _user_key(user_id)


def _user_key(user_id: UserId) -> str:
    return f"user {user_id}"
