"""Who is connected: which sockets a user has, which conversations a socket has joined and shows.

Pure bookkeeping without I/O: it decides which sockets have to go, lifecycle.py ends them. An operation costs the same
however many sockets there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..chat.domain import ConversationId, UserId
from ..chat.identity import Identity
from ..door.visits import NOBODY, Guest
from ..errors import End

# Number of expiries of sockets that are gone, or were renewed, that are kept beside one for each socket.
SPARE_EXPIRIES: Final = 1_000


@dataclass(slots=True, eq=False)
class Connection:
    """One socket.

    Attributes:
        sid: its Socket.IO id.
        since_s: when it connected, monotonic seconds.
        identity: its user, once authenticated.
        joined: the conversations it has joined → whether the user is looking at them.
        watched: users whose presence it is told of → in how many of its joined conversations; the last ones begun or
            renewed last.
        end: why the server is ending it; from then on nothing it sends is listened to.
        guest: where it comes from.
        hint: what it should know as long as it has no user; None for nothing special.
    """

    sid: str
    since_s: float
    guest: Guest = NOBODY
    identity: Identity | None = None
    joined: dict[ConversationId, bool] = field(default_factory=dict)
    watched: dict[UserId, int] = field(default_factory=dict)
    end: End | None = None
    hint: str | None = None

    @property
    def user_id(self) -> UserId | None:
        """Whose it is; None as long as it has no user."""
        return None if self.identity is None else self.identity.user_id


class Sessions:
    """The registry of sockets.

    Args:
        sockets_per_user: how many a user may have; 0 for any number.
    """

    def __init__(self, sockets_per_user: int) -> None:
        self._sockets_per_user = sockets_per_user
        self._by_sid: dict[str, Connection] = {}
        # In the order in which they authenticated, oldest first.
        self._by_user: dict[UserId, dict[str, Connection]] = {}
        self._anonymous: dict[str, Connection] = {}
        # (when, sid) for every proof that ends. What was renewed or is gone is found out when its time has come.
        self._expiries: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_sid)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_sid.values()))

    def add(self, sid: str, now_s: float, guest: Guest = NOBODY) -> Connection:
        """Register a socket that has no user yet."""
        connection = self._by_sid[sid] = self._anonymous[sid] = Connection(sid, now_s, guest)
        return connection

    def known(self, sid: str) -> Connection | None:
        """The socket's connection, also while it is being ended; None if it is unknown, or gone."""
        return self._by_sid.get(sid)

    def get(self, sid: str) -> Connection | None:
        """The socket's connection, unless it is unknown, gone, or being ended."""
        connection = self._by_sid.get(sid)
        return connection if connection is not None and connection.end is None else None

    def authenticate(self, connection: Connection, identity: Identity) -> list[Connection]:
        """Give the socket its user.

        Returns: the user's oldest sockets that have to go to make room. They stay registered under their sid until
            `remove`, but are no longer among the user's sockets, so that their late end cannot remove the new one.
        """
        self.renew(connection, identity)
        self._anonymous.pop(connection.sid, None)
        own = self._by_user.setdefault(identity.user_id, {})
        own[connection.sid] = connection
        surplus = len(own) - self._sockets_per_user if self._sockets_per_user else 0
        oldest = list(own.values())[: max(0, surplus)]
        for old in oldest:
            del own[old.sid]
        return oldest

    def renew(self, connection: Connection, identity: Identity) -> None:
        """Note a socket's newest proof of who its user is, and when that ends."""
        before = connection.identity.expires_at_ms if connection.identity is not None else None
        connection.identity = identity
        if identity.expires_at_ms is not None and identity.expires_at_ms != before:
            heapq.heappush(self._expiries, (identity.expires_at_ms, connection.sid))
            if len(self._expiries) > 2 * len(self._by_sid) + SPARE_EXPIRIES:
                self._expiries = [(end_ms, each.sid) for each in self if (end_ms := _expires_at_ms(each)) is not None]
                heapq.heapify(self._expiries)

    def expired(self, now_ms: int) -> list[Connection]:
        """Sockets whose proof has ended and that are not being ended yet. Each is returned once."""
        expired: dict[str, Connection] = {}
        while self._expiries and self._expiries[0][0] <= now_ms:
            end_ms, sid = heapq.heappop(self._expiries)
            connection = self.get(sid)
            if connection is not None and _expires_at_ms(connection) == end_ms:  # else it was renewed
                expired[sid] = connection
        return list(expired.values())

    def remove(self, sid: str) -> Connection | None:
        """Forget a socket that is gone; None if it was not known."""
        connection = self._by_sid.pop(sid, None)
        self._anonymous.pop(sid, None)
        if connection is not None and connection.identity is not None:
            own = self._by_user.get(connection.identity.user_id)
            if own is not None:
                own.pop(sid, None)
                if not own:
                    del self._by_user[connection.identity.user_id]
        return connection

    def of_user(self, user_id: UserId) -> Collection[Connection]:
        """The user's sockets, oldest first; do not change the registry while iterating."""
        own = self._by_user.get(user_id)
        return own.values() if own else ()

    def around(
        self, conversation_id: ConversationId, user_ids: Iterable[UserId]
    ) -> tuple[list[Connection], list[tuple[UserId, Connection]]]:
        """Of these users' sockets those that have not joined a conversation, and those on which its user looks at it.

        Asked at each message, of thousands of users where the conversation has so many: 0.1 µs a socket.
        """
        elsewhere: list[Connection] = []
        looking: list[tuple[UserId, Connection]] = []
        by_user = self._by_user
        for user_id in user_ids:
            own = by_user.get(user_id)
            if own:
                for connection in own.values():
                    visible = connection.joined.get(conversation_id)
                    if visible is None:
                        elsewhere.append(connection)
                    elif visible:
                        looking.append((user_id, connection))
        return elsewhere, looking

    def without_user(self, since_before_s: float) -> list[Connection]:
        """Sockets that connected before that moment, have no user still and are not being ended."""
        overdue = []
        for connection in self._anonymous.values():  # in the order in which they came
            if connection.since_s > since_before_s:
                break
            if connection.end is None:
                overdue.append(connection)
        return overdue

    def of_login(self, user_id: UserId, login_id: str) -> list[Connection]:
        """The user's sockets that were opened with a login cookie, and have no other proof since."""
        return [each for each in self.of_user(user_id) if each.identity and each.identity.login_id == login_id]

    @property
    def expiries(self) -> int:
        """How many expiries are kept; it is bounded by the number of sockets."""
        return len(self._expiries)

    @property
    def users(self) -> int:
        """How many users have a socket."""
        return len(self._by_user)


def _expires_at_ms(connection: Connection) -> int | None:
    return None if connection.identity is None else connection.identity.expires_at_ms
