"""Which numbers some calls take: new messages and changes of old ones, in the order of the calls. Pure, for all stores.

A conversation's changes are numbered 1, 2, 3, …, and one message has one number, that of its newest change: whoever
changes it moves it to the next number. Calls of one plan are stored together or not at all, from the first on; a
message that several of them touch moves once, to the number that the first of them takes, and has the state in which
the last of them leaves it.
Source: docs/decisions/0022-a-row-whose-number-moves.md
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from ..chat import people
from ..chat.changes import Outcome, decide
from ..chat.domain import Conversation, ConversationId, Message, MessageDraft
from ..errors import ConversationNotFound
from .encoding import dump_metadata
from .results import Appended, ChangePage
from .writes import Alter, Append, Key, Numbered, Part, Place, Reform


@dataclass(slots=True)
class Standing:
    """Where a conversation stands: its newest seq and change, and its activity."""

    seq: int
    change: int
    activity_at_ms: int


@dataclass(slots=True, eq=False)
class Step:
    """A message that is to be stored, new or at a new number, and whom that answers.

    Attributes:
        call: the first call that wants it: an Append or a Reform for a new message, an Alter for one that moves.
        message: as it is then.
        before: as it is stored, if it moves.
        seq, activity_at_ms: where its conversation stands then; its change is the message's.
        metadata: the message's, as JSON text.
        others: the calls that this answers too, each Alter with its outcome.
        decision: what a Reform comes to.
    """

    call: Numbered
    message: Message
    before: Message | None
    seq: int
    activity_at_ms: int
    metadata: str | None
    others: list[tuple[Numbered, Outcome]] | None = None
    decision: people.Decision | None = None

    def wait(self, call: Numbered, outcome: Outcome = Outcome.DONE) -> None:
        """Let this answer another call too."""
        if self.others is None:
            self.others = []
        self.others.append((call, outcome))

    def change(self, message: Message) -> None:
        """Let the message be another when it is stored."""
        self.message = message
        self.metadata = dump_metadata(message.metadata)

    def settle(self) -> None:
        """Leave the result in each call: the message is stored."""
        if isinstance(self.call, Append):
            self.call.result = Appended(self.message, duplicate=False)
        elif isinstance(self.call, Alter):
            self.call.answer(Outcome.DONE, self.message, self.before)
        elif self.decision is not None:
            self.call.answer(self.decision, self.message)
        if self.others is None:
            return
        for call, outcome in self.others:
            if isinstance(call, Append):
                call.repeat(self.message)
            elif isinstance(call, Reform):
                if self.decision is not None:
                    call.repeat(self.message, self.decision.conversation)
            else:
                call.answer(outcome, self.message)


def plan(
    calls: Sequence[Numbered],
    standings: Mapping[ConversationId, Standing],
    originals: Mapping[Key, Message],
    stored: Mapping[Place, Message],
    conversations: MutableMapping[ConversationId, Conversation] | None = None,
) -> list[Step]:
    """What is to be stored for these calls, in this order. Calls that need no message are answered at once.

    Args:
        standings: where the conversations stand; moved on. One that is missing does not exist.
        originals: messages that have the keys of some calls already, as far as it was looked for them.
        stored: the messages that are to be changed, those that exist.
        conversations: those that are to be changed, as they are; replaced by what they become, and then to be stored
            with the steps.
    """
    conversations = {} if conversations is None else conversations
    steps: list[Step] = []
    made: dict[Key, Step] = {}
    touched: dict[Place, Step] = {}
    gone: set[Part] = set()  # who was removed by a call before
    altered = {call.draft.conversation_id for call in calls if isinstance(call, Alter)}
    for call in calls:
        conversation_id = call.draft.conversation_id
        at = standings.get(conversation_id)
        if at is None:
            call.error = ConversationNotFound()
        elif isinstance(call, Reform):
            if (original := originals.get(call.key)) is not None:
                call.repeat(original, conversations[conversation_id])
            elif (step := made.get(call.key)) is not None:
                step.wait(call)
            else:
                decision = people.decide(conversations[conversation_id], call.draft, at.seq)
                conversations[conversation_id] = decision.conversation
                gone.update((conversation_id, user_id) for user_id in decision.removed)
                gone.difference_update((conversation_id, user_id) for user_id in decision.added)
                if decision.draft is None:
                    call.answer(decision, None)
                    continue
                step = _new(call, decision.draft, at, None)
                step.decision = decision
                made[call.key] = step
                steps.append(step)
                if conversation_id in altered:
                    touched[conversation_id, at.seq] = step
        elif isinstance(call, Alter):
            step = touched.get(call.place)
            present = stored.get(call.place) if step is None else step.message
            if present is None:
                call.answer(Outcome.NOT_FOUND, None)
                continue
            outcome, changed = decide(present, call.draft)
            if step is not None:
                step.change(changed)
                step.wait(call, outcome)
            elif outcome is Outcome.DONE:
                at.change += 1
                moved, metadata = _moved(changed, at.change), dump_metadata(changed.metadata)
                step = touched[call.place] = Step(call, moved, present, at.seq, at.activity_at_ms, metadata)
                steps.append(step)
            else:
                call.answer(outcome, present)
        else:
            draft = call.draft
            key = conversation_id, draft.sender_id, draft.idempotency_key
            if (original := originals.get(key)) is not None:
                step = touched.get((conversation_id, original.seq))
                call.repeat(original) if step is None else step.wait(call)
            elif (step := made.get(key)) is not None:
                step.wait(call)
            else:
                if (conversation_id, draft.sender_id) in gone:
                    call.error = ConversationNotFound()
                    continue
                step = made[key] = _new(call, draft, at, call.metadata)
                steps.append(step)
                if conversation_id in altered:
                    touched[conversation_id, at.seq] = step
    return steps


def _new(call: Append | Reform, draft: MessageDraft, at: Standing, metadata: str | None) -> Step:
    at.seq += 1
    at.change += 1
    at.activity_at_ms = max(at.activity_at_ms, draft.place_ms)
    return Step(call, draft.numbered(at.seq, at.change), None, at.seq, at.activity_at_ms, metadata)


def _moved(message: Message, change: int) -> Message:
    return replace(message, change=change, later=replace(message.later, born=message.born))


def page_of_changes(found: Sequence[Message], through: int, change: int, limit: int) -> ChangePage:
    """A page in the order of `change`.

    Args:
        found: all messages of a range of changes, or more of them than the limit from its start on; in any order.
        through: where that range ends.
        change: the conversation's newest.
    """
    ordered = sorted(found, key=lambda message: message.change)
    if len(ordered) > limit:
        return ChangePage(tuple(ordered[:limit]), ordered[limit - 1].change, has_more=True)
    return ChangePage(tuple(ordered), through, has_more=through < change)
