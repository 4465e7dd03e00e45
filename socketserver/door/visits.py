"""Who knocks, and each try to come in: what the door counts, and what a connection remembers of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(slots=True, eq=False)
class Guest:
    """Who knocks: what is known of a client from its handshake.

    Attributes:
        address: for the log.
        network: the address as limits count it.
        origin: of its page; None for programs that are no browsers.
        program: what it calls itself.
        settled: whether it is settled already how it counts among the failed connects.
        opened_s: since when it has a session, None before.
        counted: whether its handshake counts among those of its address that led to nothing.
        proven: whether it has proved who it is: its socket has, or had, a user.
    """

    address: str
    network: str
    origin: str | None
    program: str
    settled: bool = False
    opened_s: float | None = None
    counted: bool = False
    proven: bool = False

    @property
    def client(self) -> bytes:
        """What stands for a client that has not said who it is: a digest, as long whatever it calls itself."""
        text = "\0".join((self.network, self.origin or "", self.program))
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


NOBODY: Final = Guest("", "", None, "")


@dataclass(slots=True, eq=False)
class Visit:
    """One try of a guest to connect, from its CONNECT until it is let in or refused.

    Attributes:
        sid: the Socket.IO id that its connection will have.
        request: its handshake.
        since_s: when it began, monotonic seconds.
        hint: what it should know as long as it has no user; None for nothing special.
    """

    sid: str
    guest: Guest
    request: web.Request
    since_s: float
    hint: str | None = None
