"""How many TCP connections there are, whose, and what the heads of their requests hold. Bookkeeping only: the caps and
counts that listener.py asks. The time is passed in, as seconds of a monotonic clock.

Sessions are counted in connects.py. A connection costs something before it is one, and whoever never completes a
request would be counted by nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from aiohttp import web

from ..logs import Sample, get_logger
from ..settings import Settings, variable
from .proxies import Proxies, network_of

log = get_logger(__name__)

# Bytes of each head that are not counted: every connection may have them, and the caps bound their sum.
FREE_HEAD_BYTES: Final = 8192
LINES_PER_SECOND: Final = 1

TOO_LARGE: Final = "too_large"
NO_ROOM: Final = "no_room"
TOO_SLOW: Final = "too_slow"
MALFORMED: Final = "malformed"
HEAD_REFUSALS: Final = (TOO_LARGE, NO_ROOM, TOO_SLOW, MALFORMED)
TOTAL: Final = "total"
ADDRESS: Final = "address"
CAPS: Final = (TOTAL, ADDRESS)


class Late(Protocol):
    """A connection, for whoever ends those that take too long."""

    def too_slow(self) -> None:
        """No complete head has come within the time for it."""


class Connections:
    """All TCP connections of a server.

    Attributes:
        max_head_bytes, heads_bytes, head_timeout_s: of the settings; 0 for no limit.
        refused: connections that were over a cap, by which one.
        heads_refused: requests that were refused by their head, by why.
    """

    def __init__(self, settings: Settings, proxies: Proxies) -> None:
        self._proxies: Final = proxies
        self._max: Final = settings.max_tcp_connections
        self._max_address: Final = settings.max_tcp_connections_address
        self.max_head_bytes: Final = settings.max_head_bytes
        self.heads_bytes: Final = settings.heads_bytes
        self.head_timeout_s: Final = settings.head_timeout_s
        self.refused: Final = Counter[str](dict.fromkeys(CAPS, 0))
        self.heads_refused: Final = Counter[str](dict.fromkeys(HEAD_REFUSALS, 0))
        self._open = 0
        self._of_network: Final = Counter[str]()
        self._held = 0
        # Whose head is not complete, with the time at which it began; oldest first.
        self._unfinished: Final[dict[Late, float]] = {}
        self._lines: Final = Sample(log, LINES_PER_SECOND)

    def __len__(self) -> int:
        return self._open

    @property
    def held_bytes(self) -> int:
        """What large heads hold at present, of unfinished requests and of those that are being answered."""
        return self._held

    def network(self, address: str) -> str | None:
        """What a peer counts as; None for a trusted proxy, which brings everybody's connections."""
        return None if self._proxies.trusts(address) else network_of(address)

    def network_behind(self, request: web.BaseRequest) -> str:
        """What the client counts as whose request a trusted proxy has passed on."""
        return network_of(self._proxies.address(request))

    def admit(self, address: str, network: str | None, now_s: float) -> bool:
        """Count one more connection, unless there are too many."""
        if 0 < self._max <= self._open:
            return self._full(TOTAL, address, "max_tcp_connections", now_s)
        if network is not None:
            if 0 < self._max_address <= self._of_network[network]:
                return self._full(ADDRESS, address, "max_tcp_connections_address", now_s)
            self._of_network[network] += 1
        self._open += 1
        return True

    def gone(self, network: str | None) -> None:
        """A connection that was admitted is gone."""
        self._open -= 1
        if network is not None:
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]

    def began(self, connection: Late, now_s: float) -> None:
        """A connection owes a complete head from now on."""
        self._unfinished.setdefault(connection, now_s)

    def completed(self, connection: Late) -> None:
        """It owes none any more."""
        self._unfinished.pop(connection, None)

    def late(self, now_s: float) -> Iterator[Late]:
        """Those whose time for a head is over; they are forgotten."""
        while self.head_timeout_s and self._unfinished:
            connection, began_s = next(iter(self._unfinished.items()))
            if now_s - began_s < self.head_timeout_s:
                return
            del self._unfinished[connection]
            yield connection

    def hold(self, before: int, size: int) -> bool:
        """A head that held `before` bytes has `size` now.

        Returns: whether there is room for it. Small heads always have it.
        """
        counted = max(0, size - FREE_HEAD_BYTES)
        self._held += counted - max(0, before - FREE_HEAD_BYTES)
        return not counted or not self.heads_bytes or self._held <= self.heads_bytes

    def refuse_head(self, why: str, address: str, now_s: float) -> None:
        """Count a refused head; it is said in the log, once a second at most."""
        self.heads_refused[why] += 1
        if self._lines.take(now_s):
            setting = {TOO_LARGE: "max_head_bytes", NO_ROOM: "heads_bytes", TOO_SLOW: "head_timeout_s"}.get(why)
            log.warning(
                "head_refused",
                why=why,
                address=address,
                setting=setting and variable(setting),
                **self._lines.skipped(),
            )

    def _full(self, cap: str, address: str, setting: str, now_s: float) -> bool:
        self.refused[cap] += 1
        if self._lines.take(now_s):
            log.warning(
                "connection_refused", why=cap, address=address, setting=variable(setting), **self._lines.skipped()
            )
        return False
