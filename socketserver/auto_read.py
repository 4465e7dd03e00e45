"""Automatic mark-as-read, coalesced: what a user is looking at becomes read a moment later, in one write.

Pure: no I/O and no timers; `due` is called now and then. A mark that waits is worth nothing after a crash: the
messages are unread still, which is what the user would expect.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from .domain import ConversationId, UserId


class Seen(NamedTuple):
    """Somebody saw a conversation's messages up to `seq`."""

    conversation_id: ConversationId
    user_id: UserId
    seq: int


class AutoRead:
    """Read marks that wait to be written.

    Args:
        delay_s: how long one waits for more to come, in seconds.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        # (conversation, user) → (due, seq); dues ascend, because a later sight does not put off the first.
        self._waiting: OrderedDict[tuple[ConversationId, UserId], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def see(self, seen: Seen, now_s: float) -> None:
        """Note that the user saw messages up to seen.seq."""
        key = (seen.conversation_id, seen.user_id)
        due_s, seq = self._waiting.get(key, (now_s + self._delay_s, 0))
        self._waiting[key] = (due_s, max(seq, seen.seq))

    def due(self, now_s: float) -> list[Seen]:
        """Take out what is due."""
        due: list[Seen] = []
        while self._waiting:
            (conversation_id, user_id), (due_s, seq) = next(iter(self._waiting.items()))
            if due_s > now_s:
                break
            self._waiting.popitem(last=False)
            due.append(Seen(conversation_id, user_id, seq))
        return due
