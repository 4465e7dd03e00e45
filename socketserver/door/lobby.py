"""Connections that have not proved who they are: bounded per address, in number and in bytes, with a quick turnover.

Pure bookkeeping: it decides who has to go so that a newcomer has room, and never refuses one. Whoever proves who it is
leaves the lobby, and cannot be made to go by what happens here. Why: docs/decisions/0015-who-pays-at-the-door.md
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Final

from .visits import Guest


class _Address:
    """Those of one address, oldest first."""

    __slots__ = ("bytes", "sessions")

    def __init__(self) -> None:
        self.sessions: OrderedDict[Guest, tuple[Any, int]] = OrderedDict()
        self.bytes = 0


class Lobby:
    """The unproven.

    Args (each 0 for no limit):
        most_address: how many of one address.
        most: how many in all.
        most_bytes: how much of their handshakes is kept, in all.
    """

    def __init__(self, most_address: int, most: int, most_bytes: int) -> None:
        self._most_address: Final = most_address
        self._most: Final = most
        self._most_bytes: Final = most_bytes
        self._addresses: dict[str, _Address] = {}
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        """How much is kept of the handshakes of those who wait."""
        return self._bytes

    def __iter__(self) -> Iterator[Guest]:
        for address in self._addresses.values():
            yield from address.sessions

    def enter(self, guest: Guest, session: Any, size: int) -> list[Any]:
        """Somebody is there, whose handshake takes `size` bytes.

        Returns: the sessions that have to go for it, which are forgotten here: the oldest of its own address where that
            has too many, else the oldest of the address that takes most.
        """
        gone = []
        own = self._addresses.get(guest.network)
        if 0 < self._most_address <= (len(own.sessions) if own is not None else 0):
            gone.append(self._oldest(guest.network))
        while 0 < self._most <= self._count:
            gone.append(self._oldest(max(self._addresses, key=lambda key: len(self._addresses[key].sessions))))
        while self._count and 0 < self._most_bytes < self._bytes + size:
            gone.append(self._oldest(max(self._addresses, key=lambda key: self._addresses[key].bytes)))
        address = self._addresses.setdefault(guest.network, _Address())
        address.sessions[guest] = session, size
        address.bytes += size
        self._count += 1
        self._bytes += size
        return gone

    def leave(self, guest: Guest) -> bool:
        """Somebody has proved who it is, or is gone. Returns: whether it was here."""
        address = self._addresses.get(guest.network)
        if address is None or guest not in address.sessions:
            return False
        self._drop(guest.network, guest)
        return True

    def keep_only(self, guests: Iterable[Guest]) -> int:
        """Forget all but these. Returns: how many were forgotten."""
        known = set(guests)
        lost = [guest for guest in self if guest not in known]
        for guest in lost:
            self.leave(guest)
        return len(lost)

    def _oldest(self, network: str) -> Any:
        guest, (session, _) = next(iter(self._addresses[network].sessions.items()))
        self._drop(network, guest)
        return session

    def _drop(self, network: str, guest: Guest) -> None:
        address = self._addresses[network]
        _, size = address.sessions.pop(guest)
        address.bytes -= size
        self._count -= 1
        self._bytes -= size
        if not address.sessions:
            del self._addresses[network]
