"""How users are shown, as far as it is kept in memory: bounded in bytes, and looked up anew after a while. Pure."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .domain import UserId
from .identity import Profile

# An entry without its texts: the objects, and its place in the cache.
_FIXED_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a user.

    Attributes:
        profile: None for somebody who has never been here.
        until_s: when it has to be looked up again, monotonic seconds: another process may have been told more.
    """

    profile: Profile | None
    until_s: float


class ProfileCache:
    """What was used last, as much as may be kept; at least the newest one.

    Args:
        most_bytes: what all entries may take together; 0 for no bound.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[UserId, Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, user_id: UserId) -> Entry | None:
        """What is known of the user, however old it is; it counts as used."""
        entry = self._entries.get(user_id)
        if entry is not None:
            self._entries.move_to_end(user_id)
        return entry

    def put(self, user_id: UserId, entry: Entry) -> None:
        """Keep what is known of a user now, and forget those who were asked for longest ago for it."""
        replaced = self._entries.pop(user_id, None)
        if replaced is not None:
            self.size_bytes -= _size_bytes(user_id, replaced)
        self._entries[user_id] = entry
        self.size_bytes += _size_bytes(user_id, entry)
        while len(self._entries) > 1 and 0 < self._most_bytes < self.size_bytes:
            self.size_bytes -= _size_bytes(*self._entries.popitem(last=False))


def _size_bytes(user_id: UserId, entry: Entry) -> int:
    size = _FIXED_BYTES + sys.getsizeof(user_id)
    profile = entry.profile
    if profile is not None:
        if profile.name is not None:
            size += sys.getsizeof(profile.name)
        if profile.avatar is not None:
            size += sys.getsizeof(profile.avatar)
    return size
