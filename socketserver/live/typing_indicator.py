"""Who is typing where. A sign of typing lasts a few seconds, so that a client that vanished does not type for ever.

A user types in a conversation as long as any of that user's sockets does. Pure: no I/O and no timers; `expire` is
called now and then. Bounded by its callers: a socket types only in what it has joined, and no faster than its rate.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from ..chat.domain import ConversationId, UserId

# A renewal is news again after this part of its life, for those who missed the one before.
_RENEWED_AFTER: Final = 0.5


class Typing(NamedTuple):
    """Somebody typing in a conversation, on one socket."""

    conversation_id: ConversationId
    user_id: UserId
    sid: str


class _Typist:
    """A user who types in a conversation: on which sockets, and when that was announced last."""

    __slots__ = ("announced_s", "sids")

    def __init__(self, now_s: float) -> None:
        self.announced_s = now_s
        self.sids: set[str] = set()


class TypingIndicator:
    """Who is typing.

    Args:
        ttl_s: how long a sign of typing lasts, in seconds.
    """

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._ends_s: OrderedDict[Typing, float] = OrderedDict()  # ends ascend
        self._by_sid: dict[str, set[Typing]] = {}
        # In the order in which they began.
        self._by_conversation: dict[ConversationId, dict[UserId, _Typist]] = {}

    def __len__(self) -> int:
        return len(self._ends_s)

    def users(self, conversation_id: ConversationId) -> list[UserId]:
        """Who is typing there."""
        return list(self._by_conversation.get(conversation_id, ()))

    def start(self, typing: Typing, now_s: float) -> bool:
        """Note a sign of typing.

        Returns: whether to announce it: the user was not typing there before, or it is a renewal and the last
            announcement is half a sign's life ago.
        """
        if typing not in self._ends_s:
            self._by_sid.setdefault(typing.sid, set()).add(typing)
        self._ends_s[typing] = now_s + self._ttl_s
        self._ends_s.move_to_end(typing)
        typists = self._by_conversation.setdefault(typing.conversation_id, {})
        typist = typists.get(typing.user_id)
        news = typist is None or now_s >= typist.announced_s + self._ttl_s * _RENEWED_AFTER
        if typist is None:
            typist = typists[typing.user_id] = _Typist(now_s)
        elif news:
            typist.announced_s = now_s
        typist.sids.add(typing.sid)
        return news

    def stop(self, typing: Typing) -> bool:
        """Returns whether the user has stopped: this was the last socket on which the user typed there."""
        if self._ends_s.pop(typing, None) is None:
            return False
        own = self._by_sid[typing.sid]
        own.discard(typing)
        if not own:
            del self._by_sid[typing.sid]
        typists = self._by_conversation[typing.conversation_id]
        sids = typists[typing.user_id].sids
        sids.discard(typing.sid)
        if sids:
            return False
        del typists[typing.user_id]
        if not typists:
            del self._by_conversation[typing.conversation_id]
        return True

    def stop_all(self, sid: str) -> list[Typing]:
        """The socket is gone. Returns where its user has stopped."""
        return [typing for typing in list(self._by_sid.get(sid, ())) if self.stop(typing)]

    def expire(self, now_s: float) -> list[Typing]:
        """End what got no new sign in time. Returns where users have stopped by it."""
        expired: list[Typing] = []
        for typing, end_s in self._ends_s.items():
            if end_s > now_s:
                break
            expired.append(typing)
        return [typing for typing in expired if self.stop(typing)]
