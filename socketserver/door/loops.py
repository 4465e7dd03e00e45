"""Loops of connects: a client that is refused or dropped, and comes back at once, whichever way it takes.

Three windows see them, none of which refuses a client with a good token because of what others do:

    per user      connects; those that the server ended soon after their start; sockets that replaced each other
    per client    (address, program and page) connects without a good token that were refused or did not last
    per client    connects without a user that the server ended, or that came back at once when they were

Bookkeeping only; docs/decisions/0015-who-pays-at-the-door.md says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..chat.domain import Clock, UserId
from ..errors import (
    AUTH_TIMEOUT,
    CROWDED_OUT,
    FLOODING,
    KICKED,
    MALFORMED,
    REPLACED,
    RESTART,
    TOO_LARGE,
    TOO_MANY_CONNECTS,
    End,
    TooManyConnects,
)
from ..limits import Returns, Windows, in_ms
from ..settings import Settings
from .notes import SPAN_S, Notes
from .visits import Guest

# A connection that lasts less than this, in seconds, counts as failed.
SHORT_S: Final = 5.0
# A client that connects without a user within this time, in seconds, after one was ended with `auth_timeout` is taken
# for the same one.
RETURN_S: Final = 2.0
# Maximum ends by the server, per user and minute, soon after a connection's start. The next connect is refused.
DROPS: Final = 3
# Maximum replacements of a user's young sockets by each other, per minute. A page that is reloaded does that too (over
# polling the server cannot see that the old page is gone), but less often. Two tabs that fight connect four times each.
REPLACEMENTS: Final = 6
# Delay of an answer, in seconds, to a client that has been refused too often.
HOLD_S: Final = 10.0
# Number of refusals past the limit that are answered at once still.
TOLD: Final = 2
# Ends that are the client's own doing, however long the connection lasted; most others count when they come soon.
_OWN_FAULTS: Final = frozenset(end.code for end in (AUTH_TIMEOUT, FLOODING, MALFORMED, TOO_MANY_CONNECTS))
# Ends that say nothing about the client. TOO_LARGE is among them: the stock client's `retries` send the same thing a
# few times before they give it up, and must not lock the client out before that.
_NO_FAULTS: Final = frozenset(end.code for end in (RESTART, KICKED, CROWDED_OUT, TOO_LARGE))


class Loops:
    """The windows.

    Args:
        notes: where it is said that a loop is refused.
    """

    def __init__(self, settings: Settings, clock: Clock, notes: Notes) -> None:
        self._clock = clock
        self._notes = notes
        failed = settings.failed_connects_per_minute_address
        watched = settings.connects_per_minute_user > 0
        self._failed: Windows[bytes] = Windows(failed, SPAN_S)
        self._refusals: Windows[bytes] = Windows(failed + TOLD if failed else 0, SPAN_S)
        self._users: Windows[UserId] = Windows(settings.connects_per_minute_user, SPAN_S)
        self._drops: Windows[object] = Windows(DROPS if watched else 0, SPAN_S)
        self._replacements: Windows[UserId] = Windows(REPLACEMENTS if watched else 0, SPAN_S)
        self._returns: Returns[bytes] = Returns(RETURN_S)

    # Before a client is let in

    def admit_user(self, user_id: UserId, guest: Guest) -> None:
        """Let a user connect once more.

        Raises: TooManyConnects.
        """
        now_s = self._clock.monotonic_s()
        drops_s = self._drops.wait_s(user_id, now_s)
        replacements_s = self._replacements.wait_s(user_id, now_s)
        wait_s = max(drops_s, replacements_s) or self._users.take(user_id, now_s)
        if not wait_s:
            return
        if replacements_s:
            message = "The user's sockets keep replacing each other; wait for retryAfterMs."
            why = f"{REPLACEMENTS} sockets replaced one another within {SHORT_S:g} s of their start"
        elif drops_s:
            message = "The connection was ended soon after its start several times; wait for retryAfterMs."
            why = f"{DROPS} connections were ended soon after their start"
        else:
            message = None
            why = f"{self._users.count(user_id, now_s)} connects within a minute"
        name = "connects_per_minute_user"
        self._notes.loop(("user", user_id), now_s, name, why, user_id=user_id, address=guest.address)
        raise TooManyConnects(message, retry_after_ms=in_ms(wait_s))

    def admit_anonymous(self, guest: Guest) -> None:
        """Let a client without a user connect once more.

        Raises: TooManyConnects.
        """
        now_s = self._clock.monotonic_s()
        if self._returns.came(guest.client, now_s):
            self._drops.add(guest.client, now_s)
        if wait_s := self._drops.wait_s(guest.client, now_s):
            why = f"{DROPS} connections without a user were ended"
            self._notes.loop(guest.client, now_s, "connects_per_minute_user", why, address=guest.address)
            message = "Connections without a user were ended several times; connect with a token."
            raise TooManyConnects(message, retry_after_ms=in_ms(wait_s))
        self.admit_unproven(guest)

    def admit_unproven(self, guest: Guest) -> None:
        """Let a client that has no good token be told so.

        Raises: TooManyConnects where it has been told too often.
        """
        now_s = self._clock.monotonic_s()
        if wait_s := self._failed.wait_s(guest.client, now_s):
            why = f"{self._failed.count(guest.client, now_s)} connects without a good token failed within a minute"
            name = "failed_connects_per_minute_address"
            self._notes.loop(guest.client, now_s, name, why, address=guest.address)
            message = "Too many connects of this address, page and browser failed; connect with a good token."
            raise TooManyConnects(message, retry_after_ms=in_ms(wait_s))

    def hold_s(self, guest: Guest) -> float:
        """Count one refused connect. Returns: how long to wait before it is answered."""
        return HOLD_S if self._refusals.take(guest.client, self._clock.monotonic_s()) else 0.0

    # Afterwards

    def failed(self, guest: Guest) -> None:
        """A connect of a client failed: it was refused, or did not last. Each counts once."""
        if not guest.settled:
            guest.settled = True
            self._failed.add(guest.client, self._clock.monotonic_s())

    def ended(self, guest: Guest, user_id: UserId | None, end: End, *, lasted_s: float) -> None:
        """The server has ended a connection, of this user if it had one."""
        if end.code in _NO_FAULTS or not (end.code in _OWN_FAULTS or lasted_s < SHORT_S):
            return
        now_s = self._clock.monotonic_s()
        if user_id is not None:
            windows: Windows[Any] = self._replacements if end is REPLACED else self._drops
            windows.add(user_id, now_s)
        elif end.code == AUTH_TIMEOUT.code:  # its message may have a hint
            # A login page that was left open is no loop; one that comes back at once is.
            self._returns.ended(guest.client, now_s)
        else:
            self._drops.add(guest.client, now_s)

    # Now and then

    def sweep(self, now_s: float) -> None:
        """Forget what is over."""
        windows: Iterable[Windows[Any]] = (
            self._failed,
            self._refusals,
            self._users,
            self._drops,
            self._replacements,
        )
        for each in windows:
            each.sweep(now_s)
        self._returns.sweep(now_s)

    def sizes(self) -> dict[str, int]:
        """How much is kept, per registry."""
        return {
            "failed": len(self._failed) + len(self._refusals),
            "users": len(self._users),
            "drops": len(self._drops) + len(self._returns),
            "replacements": len(self._replacements),
        }
