"""What a try at storing messages comes to, before and after it. Pure: values in, values out, no database.

A plan numbers the calls whose keys are new, one after the other, each conversation from where it stands. Another
process may be first to one of these numbers; then the database stores the rows before it, and the plan says which calls
that answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...chat.domain import ConversationId, Message, UserId
from ...errors import ConversationNotFound
from ..base import Appended
from ..writes import Append
from . import documents
from .documents import Document, Tail

Key = tuple[ConversationId, UserId, str]
"""What makes two messages the same: conversation, sender and idempotency key."""


@dataclass(slots=True, eq=False)
class NamedAppend(Append):
    """A call of append_message, with a name of its own.

    Attributes:
        write: the `_id` of what this call inserts: a row that has it is this call's own.
    """

    write: object

    @property
    def key(self) -> Key:
        return self.draft.conversation_id, self.draft.sender_id, self.draft.idempotency_key


class Insert(NamedTuple):
    """A call, the message that it becomes, and where its conversation stands then."""

    call: NamedAppend
    message: Message
    tail: Tail


@dataclass(frozen=True, slots=True)
class AppendPlan:
    """What is to be inserted for some calls.

    Attributes:
        inserts: in order.
        repeats: calls with the key of an insert, and the call of that insert.
    """

    inserts: Sequence[Insert]
    repeats: Sequence[tuple[NamedAppend, NamedAppend]]

    def rows(self) -> list[Document]:
        """The documents to insert, in order."""
        return [
            documents.dump_message(message, call.metadata, tail.activity_at_ms, call.write)
            for call, message, tail in self.inserts
        ]

    def tails(self, done: int) -> dict[ConversationId, Tail]:
        """Where the conversations stand when the first `done` rows are stored; those that got none are left out."""
        return {message.conversation_id: tail for _, message, tail in self.inserts[:done]}

    def settle(self, done: int) -> NamedAppend | None:
        """Answer what the first `done` rows answer. Returns: the call whose row came next, and was refused."""
        for stored, message, _ in self.inserts[:done]:
            stored.result = Appended(message, duplicate=False)
        for call, first in self.repeats:
            if first.result is not None:
                call.repeat(first.result.message)
        return self.inserts[done].call if done < len(self.inserts) else None


def plan_appends(
    calls: Sequence[NamedAppend], stored: Mapping[Key, Document], tails: Mapping[ConversationId, Tail]
) -> AppendPlan:
    """Answer the calls that repeat a stored message or have no conversation, and number the others in their order.

    Args:
        stored: messages that are there already, as far as it was looked for them.
        tails: where the conversations stand; one that is missing does not exist.
    """
    ends = dict(tails)
    first: dict[Key, NamedAppend] = {}
    inserts: list[Insert] = []
    repeats: list[tuple[NamedAppend, NamedAppend]] = []
    for call in calls:
        draft, key = call.draft, call.key
        if (original := stored.get(key)) is not None:
            call.repeat(documents.load_message(original), own=original["_id"] == call.write)
        elif (tail := ends.get(draft.conversation_id)) is None:
            call.error = ConversationNotFound()
        elif (earlier := first.setdefault(key, call)) is not call:
            repeats.append((call, earlier))
        else:
            tail = ends[draft.conversation_id] = tail.after(draft)
            inserts.append(Insert(call, draft.numbered(tail.seq, tail.change), tail))
    return AppendPlan(inserts, repeats)
