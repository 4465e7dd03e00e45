"""What the stores share of writing: plans of read marks, answers, admission, outages; without a database."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import fields
from socketserver.chat.changes import Change, Delete, Edit, React
from socketserver.chat.domain import ConversationId, Later, Reaction, ReadMark, UserId
from socketserver.errors import ConversationNotFound, IdempotencyConflict, Overloaded
from socketserver.store.encoding import dump_later, dump_metadata, int64, load_later, load_metadata, texts_of
from socketserver.store.results import ReadAdvance
from socketserver.store.writes import Admission, Advance, Append, Call, Create, Outages, plan_advances, settle

import pytest
from support.stores import ANN, BOB, CAT, NOW_MS, Watching, conversation_draft, message_draft

HERE = ConversationId("here")


def advance(user_id: UserId, seq: int, at_ms: int = NOW_MS, *, where: ConversationId = HERE) -> Advance:
    return Advance(asyncio.get_running_loop().create_future(), where, user_id, seq, at_ms)


async def test_marks_move_in_the_order_of_the_calls_up_to_the_newest_message_and_never_back() -> None:
    calls = [advance(BOB, 3, 1), advance(BOB, 2, 2), advance(BOB, 99, 3), advance(ANN, 4, 4)]
    marks = {(HERE, BOB): ReadMark(BOB, 1, 0), (HERE, ANN): ReadMark(ANN, 5, 0)}
    plan = plan_advances(calls, marks, {HERE: 5})
    assert plan.moved == {(HERE, BOB): ReadMark(BOB, 5, 3)}
    assert all(call.open for call in calls), "nothing is told before it is stored"
    plan.settle({}, {})
    assert [call.result for call in calls] == [
        ReadAdvance(ReadMark(BOB, 3, 1), 5, True),
        ReadAdvance(ReadMark(BOB, 3, 1), 5, False),
        ReadAdvance(ReadMark(BOB, 5, 3), 5, True),
        ReadAdvance(ReadMark(ANN, 5, 0), 5, False),
    ]


async def test_a_mark_that_another_process_raised_further_is_told_with_at_least_as_many_messages() -> None:
    calls = [advance(BOB, 3)]
    plan = plan_advances(calls, {(HERE, BOB): ReadMark(BOB)}, {HERE: 3})
    plan.overtaken({(HERE, BOB): ReadMark(BOB, 7, 9)}).settle({}, {})
    assert calls[0].result == ReadAdvance(ReadMark(BOB, 7, 9), 7, False)


async def test_a_mark_of_nobody_is_refused_alone() -> None:
    calls = [advance(CAT, 1), advance(BOB, 1), advance(BOB, 1, where=ConversationId("nowhere"))]
    plan_advances(calls, {(HERE, BOB): ReadMark(BOB)}, {HERE: 3}).settle({}, {})
    assert [type(call.error) for call in calls] == [ConversationNotFound, type(None), ConversationNotFound]
    assert calls[1].result == ReadAdvance(ReadMark(BOB, 1, NOW_MS), 3, True)


@pytest.mark.parametrize(
    ("body", "own", "duplicate"), [("x", False, True), ("x", True, False), ("y", True, False), ("y", False, None)]
)
async def test_a_repeat_is_the_original_or_a_conflict(body: str, own: bool, duplicate: bool | None) -> None:
    call = Append(asyncio.get_running_loop().create_future(), message_draft(HERE, "x", key="k"), None)
    call.repeat(message_draft(HERE, body, key="k").numbered(3, 4), own=own)
    if duplicate is None:
        assert isinstance(call.error, IdempotencyConflict)
    else:
        assert call.result
        assert (call.result.message.seq, call.result.message.change, call.result.duplicate) == (3, 4, duplicate)


async def test_callers_are_woken_in_their_order_and_one_that_left_is_passed_over() -> None:
    woken: list[str] = []
    calls = [Call[str](asyncio.get_running_loop().create_future()) for _ in range(3)]
    for name, call in zip("abc", calls, strict=True):
        call.result = name
        call.future.add_done_callback(lambda done: None if done.cancelled() else woken.append(done.result()))
    calls[1].future.cancel()
    settle(calls)
    await asyncio.sleep(0)
    assert woken == ["a", "c"]


async def test_one_more_than_may_wait_is_told_when_to_come_back() -> None:
    admission = Admission(2, lambda waiting: waiting * 100)
    admission.waiting = 1
    admission.check()
    admission.waiting = 2
    with pytest.raises(Overloaded) as caught:
        admission.check()
    assert caught.value.retry_after_ms == 200


def test_an_outage_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watching = Watching()
    outages = Outages(logging.getLogger("store"), watching, lost="away: %s", back="back")
    assert not outages.failed(OSError("slip"), away=False)
    assert [outages.failed(OSError("gone")) for _ in range(3)] == [True, False, False]
    outages.over()
    outages.over()
    assert caplog.messages == ["away: slip", "away: gone", "back"]
    assert watching.failures == 4


def test_values_that_every_store_keeps_alike() -> None:
    metadata = {"$set": {"a.b": 2**70}, "é": [None, 1.5]}
    assert load_metadata(dump_metadata(metadata)) == metadata
    assert dump_metadata(None) is None
    assert load_metadata(None) is None
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_metadata({"a": float("nan")})
    assert [int64(number) for number in (-(2**70), -1, 2**63, 2**63 - 1)] == [-(2**63), -1, 2**63 - 1, 2**63 - 1]


async def test_a_conversation_that_differs_is_a_conflict_even_if_it_has_the_key() -> None:
    draft = conversation_draft(BOB, CAT, title="one", key="k")
    call = Create(asyncio.get_running_loop().create_future(), draft)
    call.repeat(conversation_draft(BOB, title="one", key="k").made())
    assert isinstance(call.error, IdempotencyConflict)


def test_whatever_has_happened_to_a_message_is_kept() -> None:
    """A field that is new has to be filled in here, and comes back from the database without a line of the stores'."""
    later = Later(1, 2, "key", 3, BOB, (Reaction("+", (ANN, BOB)), Reaction("👍", (CAT,))))
    assert all(getattr(later, each.name) != each.default for each in fields(later))
    assert load_later(later.born, dump_later(later)) == later


def test_nothing_that_has_happened_takes_no_room() -> None:
    assert dump_later(Later()) is None
    assert dump_later(Later(born=1)) is None


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (Edit(HERE, 1, ANN, "k", "b", NOW_MS, {"a": "c"}, (BOB, CAT)), {"k", "b", '{"a":"c"}', BOB, CAT}),
        (Delete(HERE, 1, ANN, NOW_MS), set()),
        (React(HERE, 1, ANN, "+", on=True), {"+"}),
    ],
)
def test_all_texts_of_a_change_are_looked_at(change: Change, texts: set[str]) -> None:
    """The MongoDB store had a list of its own of the kinds of changes: it would have failed at a new one."""
    assert set(texts_of(change)) == texts | {HERE, ANN}
