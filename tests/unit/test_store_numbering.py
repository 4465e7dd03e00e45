"""Numbers of some calls, as values: which step each call is answered by, and with what."""

from __future__ import annotations

import asyncio
from socketserver.chat.changes import Delete, Edit, Outcome, React
from socketserver.chat.domain import ConversationId, Message, UserId
from socketserver.errors import ConversationNotFound, IdempotencyConflict
from socketserver.store.numbering import Standing, page_of_changes, plan
from socketserver.store.results import Changed
from socketserver.store.writes import Alter, Append, Numbered

from support.stores import ANN, BOB, NOW_MS, message_draft

HERE, THERE = ConversationId("here"), ConversationId("there")


def standings() -> dict[ConversationId, Standing]:
    return {HERE: Standing(4, 9, NOW_MS), THERE: Standing(0, 0, 0)}


def stored(seq: int, change: int) -> Message:
    return message_draft(HERE, f"body {seq}").numbered(seq, change)


STORED = {(HERE, seq): stored(seq, seq) for seq in (1, 2, 3)}


def send(key: str, body: str = "x", *, where: ConversationId = HERE) -> Append:
    return Append(asyncio.get_running_loop().create_future(), message_draft(where, body, key=key), None)


def alter(change: Edit | Delete | React) -> Alter:
    return Alter(asyncio.get_running_loop().create_future(), change)


def react(seq: int, by: UserId = BOB) -> Alter:
    return alter(React(HERE, seq, by, "+", on=True))


async def test_numbers_follow_the_calls_whatever_they_write() -> None:
    at = standings()
    calls: list[Numbered] = [react(2), send("a"), react(1), send("b"), react(2, ANN)]
    steps = plan(calls, at, {}, STORED)
    assert [(step.message.seq, step.message.change) for step in steps] == [(2, 10), (5, 11), (1, 12), (6, 13)]
    assert (at[HERE].seq, at[HERE].change) == (6, 13)
    assert all(call.open for call in calls)
    for step in steps:
        step.settle()
    first, last = calls[0], calls[4]
    assert isinstance(first.result, Changed)
    assert first.result == Changed(Outcome.DONE, steps[0].message, STORED[HERE, 2])
    assert last.result == Changed(Outcome.DONE, steps[0].message), "what was before is told once"
    assert isinstance(first, Alter)
    assert first.result
    assert first.result.message
    assert first.result.message.born == 2
    assert first.result.message.later.reactions[0].user_ids == (BOB, ANN)


async def test_a_change_of_a_message_of_the_same_plan_is_part_of_it() -> None:
    """It was never stored without, so it takes one number, and it has not moved."""
    calls: list[Numbered] = [
        send("a", "x"),
        alter(Delete(HERE, 5, ANN, 9)),
        send("a", "x"),
        alter(Delete(HERE, 5, ANN, 9)),
    ]
    (step,) = plan(calls, standings(), {}, {})
    assert (step.message.change, step.message.moved, step.message.deleted) == (10, False, True)
    step.settle()
    assert all(call.result and call.result.message == step.message for call in calls)
    assert isinstance(calls[3], Alter)
    assert calls[3].result
    assert calls[3].result.outcome is Outcome.DUPLICATE


async def test_what_needs_nothing_stored_is_answered_at_once() -> None:
    original = stored(3, 3)
    key = (HERE, original.sender_id, original.idempotency_key)
    calls: list[Numbered] = [
        send(original.idempotency_key, original.body),
        send(original.idempotency_key, "other"),
        alter(Edit(HERE, 3, BOB, "k", "y", 9)),
        alter(Delete(HERE, 99, ANN, 9)),
        send("k", where=ConversationId("nowhere")),
    ]
    assert plan(calls, standings(), {key: original}, STORED) == []
    repeat, other, forbidden, missing, nowhere = calls
    assert repeat.result
    assert isinstance(repeat, Append)
    assert repeat.result.duplicate
    assert isinstance(other.error, IdempotencyConflict)
    assert isinstance(forbidden, Alter)
    assert forbidden.result
    assert forbidden.result.outcome is Outcome.FORBIDDEN
    assert isinstance(missing, Alter)
    assert missing.result
    assert (missing.result.outcome, missing.result.message) == (Outcome.NOT_FOUND, None)
    assert isinstance(nowhere.error, ConversationNotFound)


async def test_a_repeat_of_a_message_that_the_plan_moves_is_told_the_moved_one() -> None:
    original = STORED[HERE, 3]
    key = (HERE, original.sender_id, original.idempotency_key)
    repeat = send(original.idempotency_key, original.body)
    (step,) = plan([react(3), repeat], standings(), {key: original}, STORED)
    assert repeat.open
    step.settle()
    assert repeat.result
    assert (repeat.result.message, repeat.result.duplicate) == (step.message, True)


def test_a_page_of_changes_is_cut_where_it_is_full() -> None:
    found = [stored(1, 7), stored(2, 2), stored(3, 5)]
    page = page_of_changes(found, 9, 9, 3)
    assert ([each.change for each in page.messages], page.through, page.has_more) == ([2, 5, 7], 9, False)
    page = page_of_changes(found, 9, 9, 2)
    assert ([each.change for each in page.messages], page.through, page.has_more) == ([2, 5], 5, True)
    page = page_of_changes([], 6, 9, 2)
    assert (page.messages, page.through, page.has_more) == ((), 6, True)
