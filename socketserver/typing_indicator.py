"""Who is typing where. A sign of typing lasts a few seconds, so that a client that vanished does not type for ever.

Pure: no I/O and no timers; `expire` is called now and then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from .domain import ConversationId, UserId


class Typing(NamedTuple):
    """Somebody typing in a conversation, on one socket."""

    conversation_id: ConversationId
    user_id: UserId
    sid: str


class TypingIndicator:
    """Who is typing.

    Args:
        ttl_s: how long a sign of typing lasts, in seconds.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._ends_s: OrderedDict[Typing, float] = OrderedDict()  # ends ascend
        self._by_sid: dict[str, set[Typing]] = {}

    def __len__(self) -> int:
        return len(self._ends_s)

    def start(self, typing: Typing, now_s: float) -> bool:
        """Note a sign of typing. Returns whether it is news (not a renewal)."""
        news = typing not in self._ends_s
        self._ends_s[typing] = now_s + self._ttl_s
        self._ends_s.move_to_end(typing)
        if news:
            self._by_sid.setdefault(typing.sid, set()).add(typing)
        return news

    def stop(self, typing: Typing) -> bool:
        """Returns whether it is news."""
        if self._ends_s.pop(typing, None) is None:
            return False
        own = self._by_sid[typing.sid]
        own.discard(typing)
        if not own:
            del self._by_sid[typing.sid]
        return True

    def stop_all(self, sid: str) -> list[Typing]:
        """The socket is gone. Returns what it was typing."""
        stopped = list(self._by_sid.get(sid, ()))
        for typing in stopped:
            self.stop(typing)
        return stopped

    def expire(self, now_s: float) -> list[Typing]:
        """Returns what ended because no new sign came."""
        expired: list[Typing] = []
        for typing, end_s in self._ends_s.items():
            if end_s > now_s:
                break
            expired.append(typing)
        for typing in expired:
            self.stop(typing)
        return expired
