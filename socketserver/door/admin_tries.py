"""How often a client may try an admin token. The tries that failed are counted apart from connects, so that a client
that loops does not lock out whoever looks after it from the same address.
"""

from __future__ import annotations

from typing import Final

from ..chat.domain import Clock
from ..errors import TooManyConnects
from ..limits import Windows, in_ms
from ..settings import Settings
from .notes import SPAN_S, Notes
from .visits import Guest


class AdminTries:
    """The window of failed tries.

    Args:
        notes: where it is said that a token was wrong.
    """

    def __init__(self, settings: Settings, clock: Clock, notes: Notes) -> None:
        self._clock: Final = clock
        self._notes: Final = notes
        self._failed: Final = Windows[bytes](settings.failed_connects_per_minute_address, SPAN_S)

    def __len__(self) -> int:
        return len(self._failed)

    def admit(self, guest: Guest) -> None:
        """Let a client be told that its token is wrong.

        Raises: TooManyConnects.
        """
        if wait_s := self._failed.wait_s(guest.client, self._clock.monotonic_s()):
            raise TooManyConnects("Too many wrong admin tokens; wait for retryAfterMs.", retry_after_ms=in_ms(wait_s))

    def refused(self, guest: Guest) -> None:
        """A token was wrong. It is said in the log, once a minute per address."""
        now_s = self._clock.monotonic_s()
        self._failed.add(guest.client, now_s)
        self._notes.say(guest.network, now_s, "admin_refused", address=guest.address)

    def sweep(self, now_s: float) -> None:
        """Forget what is over."""
        self._failed.sweep(now_s)
