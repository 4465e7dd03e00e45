"""Automatic mark-as-read: what a user is looking at becomes read a moment later, in one write, if the page is alive.

A mark goes three steps: seen (a message is on a visible page; several become one mark), asked (the page's socket was
asked for a sign of life, which a frozen page does not give), confirmed (the sign has come). Pure: no I/O and no timers;
`due` and `confirmed` are called now and then. A mark that waits is worth nothing after a crash: the messages are unread
still, which is what the user would expect. Source: docs/protocol.md#presence-typing-and-reading
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from ..chat.domain import ConversationId, UserId

_Key = tuple[ConversationId, UserId]


class Seen(NamedTuple):
    """Somebody saw a conversation's messages up to `seq`."""

    conversation_id: ConversationId
    user_id: UserId
    seq: int


class _Question:
    """What a socket was asked of, and what has come up since, for its next question: at most one each per
    conversation that it has joined."""

    __slots__ = ("asked", "next")

    def __init__(self) -> None:
        self.asked: dict[_Key, int] = {}
        self.next: dict[_Key, int] = {}


class AutoRead:
    """Read marks that wait to be written.

    Args:
        delay_s: how long one waits for more to come, in seconds.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        # (conversation, user) → (due, seq); dues ascend, because a later sight does not put off the first.
        self._waiting: OrderedDict[_Key, tuple[float, int]] = OrderedDict()
        self._questions: dict[str, _Question] = {}
        self._confirmed: dict[_Key, int] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._questions) + len(self._confirmed)

    def see(self, seen: Seen, now_s: float) -> None:
        """Note that messages up to seen.seq are on a page that the user shows."""
        key = (seen.conversation_id, seen.user_id)
        due_s, seq = self._waiting.get(key, (now_s + self._delay_s, 0))
        self._waiting[key] = (due_s, max(seq, seen.seq))

    def due(self, now_s: float) -> list[Seen]:
        """Take out what has waited long enough: the pages that show it are to be asked."""
        due: list[Seen] = []
        while self._waiting:
            (conversation_id, user_id), (due_s, seq) = next(iter(self._waiting.items()))
            if due_s > now_s:
                break
            self._waiting.popitem(last=False)
            due.append(Seen(conversation_id, user_id, seq))
        return due

    def ask(self, sid: str, seen: Seen) -> bool:
        """Note that a socket is to confirm what it shows.

        Returns: whether to ask it now; False while it owes an answer, which may have been on its way already.
        """
        key = (seen.conversation_id, seen.user_id)
        question = self._questions.get(sid)
        if question is None:
            question = self._questions[sid] = _Question()
            question.asked[key] = seen.seq
            return True
        question.next[key] = max(seen.seq, question.next.get(key, 0))
        return False

    def answered(self, sid: str) -> bool:
        """The socket has shown that it is alive. Returns whether to ask it again, for what came up since."""
        question = self._questions.get(sid)
        if question is None:
            return False
        for key, seq in question.asked.items():
            self._confirm(key, seq)
        question.asked, question.next = question.next, {}
        if not question.asked:
            del self._questions[sid]
        return bool(question.asked)

    def looked_away(self, conversation_id: ConversationId, user_id: UserId) -> None:
        """A page that showed the conversation says that it does so no more, so it was alive until now."""
        waiting = self._waiting.pop((conversation_id, user_id), None)
        if waiting is not None:
            self._confirm((conversation_id, user_id), waiting[1])

    def forget(self, conversation_id: ConversationId, user_id: UserId) -> None:
        """The user does not take part there any more: nothing is read."""
        key = (conversation_id, user_id)
        self._waiting.pop(key, None)
        self._confirmed.pop(key, None)
        for question in self._questions.values():
            question.asked.pop(key, None)
            question.next.pop(key, None)

    def gone(self, sid: str) -> None:
        """The socket will not answer any more."""
        self._questions.pop(sid, None)

    def confirmed(self) -> list[Seen]:
        """Take out what is to be written."""
        confirmed, self._confirmed = self._confirmed, {}
        return [Seen(*key, seq) for key, seq in confirmed.items()]

    def _confirm(self, key: _Key, seq: int) -> None:
        self._confirmed[key] = max(seq, self._confirmed.get(key, 0))
