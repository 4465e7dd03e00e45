"""What requests cost a client, and when one that does not listen to refusals has to go."""

from __future__ import annotations

from typing import Final

from ..chat.domain import Clock
from ..door.connects import Guards
from ..door.rates import Rates
from ..errors import FLOODING, TOO_MANY_CONNECTS, ChatError, TooManyConnects
from ..live.connections import Connection
from ..live.lifecycle import Lifecycle
from ..wire.pages import Page
from ..wire.protocol import ClientEvent

# How long a client that was ended for flooding is told to stay away.
FLOODING_RETRY_MS: Final = 30_000


class Patience:
    """Charges requests, answers and refusals. The chat charges messages: it alone tells a repeat from a new one."""

    def __init__(self, rates: Rates, lifecycle: Lifecycle, guards: Guards, clock: Clock) -> None:
        self._rates = rates
        self._lifecycle = lifecycle
        self._guards = guards
        self._clock = clock

    def charge(self, connection: Connection) -> None:
        """Charge a request before it is looked at.

        Raises: RateLimited.
        """
        self._rates.take(connection, self._clock.monotonic_s())

    def charge_pages(self, connection: Connection, *pages: Page) -> None:
        """Charge the user for the pages of an answer."""
        rows, size_bytes = sum(len(page.items) for page in pages), sum(page.size_bytes for page in pages)
        self._rates.answered(connection, self._clock.monotonic_s(), rows=rows, size_bytes=size_bytes)

    def repeated(self, connection: Connection) -> None:
        """Charge a message that was a repeat, and cost no message's token. Ends a client that goes on and on."""
        if not self._rates.may_stay_after_repeat(connection, self._clock.monotonic_s()):
            self._end(connection)

    def refused(self, connection: Connection, event: str, error: ChatError) -> None:
        """Note that a request was refused. Ends a client that does not wait, or that connects again and again."""
        message = event == ClientEvent.SEND_MESSAGE
        if not self._rates.may_stay_after(error, connection, self._clock.monotonic_s(), message=message):
            self._end(connection)
        elif isinstance(error, TooManyConnects):
            self._guards.loops.failed(connection.guest)
            self._lifecycle.end_soon(connection, TOO_MANY_CONNECTS, retry_after_ms=error.retry_after_ms)

    def _end(self, connection: Connection) -> None:
        self._lifecycle.end_soon(connection, FLOODING, retry_after_ms=FLOODING_RETRY_MS)
