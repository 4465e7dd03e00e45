"""What a try at storing messages comes to, before and after it. Pure: values in, values out, no database.

Which numbers the calls take is `numbering.plan`'s to say. Another process may be first to one of these numbers, or to
one of the messages that are to be changed; then the database stores what comes before it, and the plan says which calls
that answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...chat.changes import Delete, Outcome
from ...chat.domain import ConversationId
from ..numbering import Standing, Step, plan
from ..writes import Alter, Append, Key, Place
from . import documents
from .documents import Document, Move, Tail


@dataclass(slots=True, eq=False)
class NamedAppend(Append):
    """A call of append_message, with a name of its own.

    Attributes:
        write: the `_id` of what this call inserts: a row that has it is this call's own.
    """

    write: object


Numbered = NamedAppend | Alter


@dataclass(frozen=True, slots=True)
class WritePlan:
    """What is to be written for some calls, in order.

    Attributes:
        steps: the messages.
        writes: the document of each that is new, the Move of each that is not.
        folded: of the conversations, as in their tails.
    """

    steps: Sequence[Step]
    writes: Sequence[Document | Move]
    folded: Mapping[ConversationId, int]

    def tails(self, done: int) -> dict[ConversationId, Tail]:
        """Where the conversations stand when the first `done` steps are stored; those that got none are left out."""
        tails = {}
        for step in self.steps[:done]:
            message = step.message
            folded = self.folded[message.conversation_id]
            tails[message.conversation_id] = Tail(step.seq, message.change, step.activity_at_ms, folded)
        return tails

    def settle(self, done: int) -> ConversationId | None:
        """Answer what the first `done` steps answer. Returns: the conversation whose step came next and was refused."""
        for step in self.steps[:done]:
            step.settle()
        return self.steps[done].message.conversation_id if done < len(self.steps) else None


def plan_writes(
    calls: Sequence[Numbered],
    originals: Mapping[Key, Document],
    stored: Mapping[Place, Document],
    tails: Mapping[ConversationId, Tail],
    at_ms: int,
) -> WritePlan:
    """Answer the calls that need nothing stored, and number the others in their order.

    Args:
        originals: messages that have the keys of some calls already, as far as it was looked for them.
        stored: the messages that are to be changed, those that exist.
        tails: where the conversations stand; one that is missing does not exist.
        at_ms: the time.
    """
    left: list[Numbered] = []
    for call in calls:
        if isinstance(call, Alter) and not isinstance(call.draft, Delete):
            row = stored.get(call.place)
            if row is not None and documents.is_full(row, at_ms):
                # Not an error after which to try again: what waits behind it in its lane would have to as well.
                call.answer(Outcome.TOO_MANY, documents.load_message(row))
                continue
        original = originals.get(call.key) if isinstance(call, NamedAppend) else None
        if original is not None and isinstance(call, NamedAppend) and original["_id"] == call.write:
            call.repeat(documents.load_message(original), own=True)
        else:
            left.append(call)
    steps = plan(
        left,
        {each: Standing(tail.seq, tail.change, tail.activity_at_ms) for each, tail in tails.items()},
        {key: documents.load_message(row) for key, row in originals.items()},
        {place: documents.load_message(row) for place, row in stored.items()},
    )
    writes: list[Document | Move] = []
    for step in steps:
        message = step.message
        if isinstance(step.call, NamedAppend):
            writes.append(documents.dump_message(message, step.metadata, step.activity_at_ms, step.call.write))
        else:
            row = stored[message.conversation_id, message.seq]
            writes.append(documents.dump_move(row, message, at_ms))
    return WritePlan(steps, writes, {each: tail.folded for each, tail in tails.items()})
