"""Who is online. A user who lost the last socket counts as online for a grace, as long as a reconnect takes.

Pure: no I/O and no timers; `expire` is called now and then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..chat.domain import UserId

# Number of users whose last-seen times are kept after they went; older ones are forgotten.
LAST_SEEN_KEPT: Final = 100_000


class Presence:
    """Users' presence on this server.

    Args:
        grace_s: how long after the last socket went the user goes offline, in seconds.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._online: set[UserId] = set()
        # Users without a socket whose grace runs → (its end, when they were last seen); ends ascend.
        self._leaving: OrderedDict[UserId, tuple[float, int]] = OrderedDict()
        self._last_seen_ms: OrderedDict[UserId, int] = OrderedDict()

    def arrive(self, user_id: UserId) -> bool:
        """The user has a socket. Returns whether that makes the user online, who was offline before."""
        self._leaving.pop(user_id, None)
        if user_id in self._online:
            return False
        self._online.add(user_id)
        self._last_seen_ms.pop(user_id, None)
        return True

    def leave(self, user_id: UserId, now_s: float, now_ms: int) -> None:
        """The user has no socket any more: the grace begins."""
        if user_id in self._online:
            self._leaving[user_id] = (now_s + self._grace_s, now_ms)
            self._leaving.move_to_end(user_id)

    def expire(self, now_s: float) -> list[tuple[UserId, int]]:
        """End the graces that are over. Returns: who went offline, and when each was last seen (UTC ms)."""
        gone: list[tuple[UserId, int]] = []
        while self._leaving:
            user_id, (end_s, seen_ms) = next(iter(self._leaving.items()))
            if end_s > now_s:
                break
            del self._leaving[user_id]
            self._online.discard(user_id)
            self._last_seen_ms[user_id] = seen_ms
            if len(self._last_seen_ms) > LAST_SEEN_KEPT:
                self._last_seen_ms.popitem(last=False)
            gone.append((user_id, seen_ms))
        return gone

    def is_online(self, user_id: UserId) -> bool:
        """Whether the user has a socket, or lost it within the grace."""
        return user_id in self._online

    def last_seen_ms(self, user_id: UserId) -> int | None:
        """When an offline user was last seen, UTC milliseconds; None for one online, or not seen since the start."""
        return self._last_seen_ms.get(user_id)
