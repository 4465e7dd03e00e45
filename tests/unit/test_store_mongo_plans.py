"""Plans of appends: what is inserted for some calls, and whom it answers; values alone, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from socketserver.chat.domain import ConversationId
from socketserver.errors import ConversationNotFound, IdempotencyConflict
from socketserver.store.mongo.documents import Document, Tail, dump_message
from socketserver.store.mongo.plans import NamedAppend, WritePlan, plan_writes
from socketserver.store.writes import Key

from support.stores import ANN, NOW_MS, message_draft

HERE, THERE = ConversationId("here"), ConversationId("there")
TAILS = {HERE: Tail(4, 9, NOW_MS + 5, 0), THERE: Tail(0, 0, 1, 0)}


def call(body: str = "x", *, key: str | None = None, where: ConversationId = HERE) -> NamedAppend:
    return NamedAppend(asyncio.get_running_loop().create_future(), message_draft(where, body, key=key), None, object())


def plan_appends(
    calls: Sequence[NamedAppend], originals: Mapping[Key, Document], tails: Mapping[ConversationId, Tail]
) -> WritePlan:
    return plan_writes(calls, originals, {}, tails, NOW_MS)


def rows(plan: WritePlan) -> list[Document]:
    return [write for write in plan.writes if isinstance(write, dict)]


def answers(calls: Sequence[NamedAppend]) -> list[object]:
    """For each call its seq (negative for a repeat), its kind of error, or None while it is open."""
    return [
        (-each.result.message.seq if each.result.duplicate else each.result.message.seq)
        if each.result
        else each.error and type(each.error)
        for each in calls
    ]


async def test_each_conversation_goes_on_from_where_it_stands() -> None:
    calls = [call(), call(where=THERE), call()]
    plan = plan_appends(calls, {}, TAILS)
    assert [(row["conversation"], row["seq"], row["change"]) for row in rows(plan)] == [
        (HERE, 5, 10),
        (THERE, 1, 1),
        (HERE, 6, 11),
    ]
    assert [row["activity_at_ms"] for row in rows(plan)] == [NOW_MS + 5, NOW_MS, NOW_MS + 5], "it never goes back"
    assert answers(calls) == [None] * 3
    assert plan.settle(3) is None
    assert answers(calls) == [5, 1, 6]
    assert plan.tails(3) == {HERE: Tail(6, 11, NOW_MS + 5, 0), THERE: Tail(1, 1, NOW_MS, 0)}
    assert TAILS[HERE].seq == 4, "what was known stays what it was"


async def test_what_was_stored_before_a_refusal_is_answered_and_the_rest_stays_open() -> None:
    calls = [call(), call(where=THERE), call()]
    plan = plan_appends(calls, {}, TAILS)
    assert plan.settle(1) == THERE
    assert answers(calls) == [5, None, None]
    assert plan.tails(1) == {HERE: Tail(5, 10, NOW_MS + 5, 0)}


async def test_a_repeat_within_a_flight_waits_for_the_row_that_it_repeats() -> None:
    calls = [call("a", key="k"), call("a", key="k"), call("b", key="k")]
    plan = plan_appends(calls, {}, TAILS)
    assert len(plan.steps) == 1
    plan.settle(0)
    assert answers(calls) == [None] * 3
    plan.settle(1)
    assert answers(calls) == [5, -5, IdempotencyConflict]


async def test_what_is_stored_is_answered_at_once_and_costs_no_number() -> None:
    """One's own row, whose reply was lost, is no repeat; another's is, if it says the same."""
    own, same, other, new = call("a", key="1"), call("a", key="2"), call("a", key="3"), call()
    stored = {
        each.key: dump_message(message_draft(HERE, body, key=each.key[2]).numbered(seq, seq), None, NOW_MS, write)
        for seq, (each, body, write) in enumerate(
            [(own, "a", own.write), (same, "a", object()), (other, "b", object())], 1
        )
    }
    plan = plan_appends([own, same, other, new], stored, TAILS)
    assert answers([own, same, other, new]) == [1, -2, IdempotencyConflict, None]
    assert [step.message.seq for step in plan.steps] == [5]
    assert {row["sender"] for row in rows(plan)} == {ANN}


async def test_a_conversation_that_is_not_there_is_refused_alone() -> None:
    calls = [call(where=ConversationId("nowhere")), call()]
    plan = plan_appends(calls, {}, TAILS)
    assert answers(calls) == [ConversationNotFound, None]
    assert len(plan.steps) == 1
