"""Numbers without a counter: the appender against a log that other processes write to at the worst moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from socketserver.chat.changes import Delete, Edit, Outcome, React
from socketserver.chat.domain import ConversationId, Message, UserId
from socketserver.errors import ConversationNotFound, IdempotencyConflict, Overloaded
from socketserver.store.mongo import documents
from socketserver.store.mongo.appends import FOLD_AFTER, REMEMBERED_S, Appender
from socketserver.store.mongo.documents import KEPT_MS, KEPT_NUMBERS, Move
from socketserver.store.mongo.plans import NamedAppend
from socketserver.store.writes import Alter, Key, Place
from typing import Any

import pytest
from support.clock import FakeClock
from support.stores import ANN, BOB, message_draft

HERE = ConversationId("here")
THERE = ConversationId("there")

Row = dict[str, Any]


class FakeLog:
    """Rows in a list, with the unique indexes. `before_insert` is called first: the other processes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.hidden: list[Row] = []  # in the way, but not durable yet
        self.before_insert: Callable[[], None] = lambda: None
        self.inserts = 0
        self.looks = 0  # for the newest messages
        self.lost_replies = 0

    async def write_messages(self, writes: Sequence[Row | Move]) -> int:
        self.inserts += 1
        self.before_insert()
        for place, write in enumerate(writes):
            if isinstance(write, Move):
                if not self.move(write):
                    return place
            elif any(_clash(write, other) for other in self.rows + self.hidden):
                return place
            else:
                self.rows.append(write)
        if self.lost_replies:
            self.lost_replies -= 1
            return await self.write_messages(writes)  # the driver's retry
        return len(writes)

    def move(self, move: Move) -> bool:
        """What the upsert does; False where it is refused."""
        for place, row in enumerate(self.rows):
            if all(row.get(field) == value for field, value in move.which.items()):
                moved = row | move.changes
                if any(_clash(moved, other) for other in self.rows + self.hidden if other is not row):
                    return False
                self.rows[place] = moved
                return True
        return False

    async def find_places(self, places: Iterable[Place]) -> Sequence[Row]:
        wanted = set(places)
        return [row for row in self.rows if (row["conversation"], row["seq"]) in wanted]

    async def find_stored(self, keys: Iterable[Key]) -> Sequence[Row]:
        wanted = set(keys)
        return [row for row in self.rows if (row["conversation"], row["sender"], row["key"]) in wanted]

    async def find_last(self, ids: Sequence[ConversationId]) -> Sequence[Row]:
        self.looks += 1
        found = []
        for conversation_id in ids:
            if conversation_id in (HERE, THERE):
                own = [row for row in self.rows + self.hidden if row["conversation"] == conversation_id]
                document: Row = {"_id": conversation_id, "created_at_ms": 1, "folded": 0}
                if own:
                    document["last"] = max(own, key=lambda row: int(row["seq"]))
                if moved := [row for row in own if "latest" in row]:
                    document["newest"] = max(moved, key=lambda row: int(row["latest"]))
                found.append(document)
        return found

    def write_elsewhere(self, key: str, *, body: str = "theirs", hidden: bool = False) -> None:
        """Another process is first to the next number."""
        mine = [row["seq"] for row in self.rows + self.hidden if row["conversation"] == HERE]
        seq = max(mine, default=0) + 1
        row = {"_id": object(), "id": key, "conversation": HERE, "seq": seq, "change": seq, "sender": ANN, "key": key}
        row |= {"body": body, "metadata": None, "created_at_ms": 5, "activity_at_ms": 5}
        (self.hidden if hidden else self.rows).append(row)


def _clash(row: Row, other: Row) -> bool:
    indexes = (("conversation", "seq"), ("conversation", "sender", "key"), ("_id",))
    if any(all(row[field] == other[field] for field in fields) for fields in indexes):
        return True
    # An index on a field with a list has an entry for each of its values.
    taken = set(documents.load_numbers(row)) & set(documents.load_numbers(other))
    return bool(row["conversation"] == other["conversation"] and taken)


async def no_pause(attempt: int) -> None:
    await asyncio.sleep(0)


def appender_of(
    log: FakeLog,
    fold: Callable[[ConversationId, int], None] = lambda *_: None,
    *,
    most_tails: int = 100,
    clock: FakeClock | None = None,
) -> Appender:
    clock = clock or FakeClock()
    return Appender(log, fold, wait=no_pause, most_tails=most_tails, monotonic_s=clock.monotonic_s, now_ms=clock.now_ms)


def call(body: str = "x", *, key: str | None = None, where: ConversationId = HERE) -> NamedAppend:
    draft = message_draft(where, body, key=key)
    return NamedAppend(asyncio.get_running_loop().create_future(), draft, None, object())


def seqs(calls: Sequence[NamedAppend]) -> list[int | None]:
    return [each.result.message.seq if each.result else None for each in calls]


def dense(log: FakeLog) -> bool:
    own = sorted(row["seq"] for row in log.rows if row["conversation"] == HERE)
    return own == list(range(1, len(own) + 1))


async def test_many_calls_are_one_insert() -> None:
    log = FakeLog()
    calls = [call(where=where) for _ in range(5) for where in (HERE, THERE)]
    await appender_of(log).write(calls)
    assert seqs(calls[::2]) == seqs(calls[1::2]) == [1, 2, 3, 4, 5]
    assert log.inserts == 1


async def test_a_number_taken_by_another_process_costs_a_try_and_leaves_no_hole() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.write([call()])
    log.write_elsewhere("theirs")
    calls = [call(), call(where=THERE), call()]
    await appender.write(calls)
    assert seqs(calls) == [3, 1, 4]
    assert dense(log)
    assert appender.races == 1


async def test_another_process_that_is_always_first_ends_in_overloaded_with_nothing_written() -> None:
    log = FakeLog()
    appender = appender_of(log)
    log.before_insert = lambda: log.write_elsewhere(f"theirs {log.inserts}")
    calls = [call(), call(), call("y", where=THERE)]
    await appender.write(calls)
    assert [type(each.error) for each in calls] == [Overloaded] * 3
    assert appender.races > 5
    assert dense(log)
    assert all(row["body"] == "theirs" for row in log.rows)


async def test_repeats_are_found_all_at_once() -> None:
    """After a restart, everybody sends again what was not acknowledged."""
    log = FakeLog()
    appender = appender_of(log)
    await appender.write([call(key=f"k{number}") for number in range(50)])
    before = log.inserts
    calls = [call(key=f"k{number}") for number in range(60)]
    await appender.write(calls)
    assert seqs(calls) == list(range(1, 61))
    assert [bool(each.result and each.result.duplicate) for each in calls] == [True] * 50 + [False] * 10
    assert log.inserts == before + 2


async def test_a_key_that_another_process_stored_in_the_same_moment_is_a_repeat() -> None:
    log = FakeLog()
    appender = appender_of(log)

    def elsewhere() -> None:
        log.before_insert = lambda: None
        log.write_elsewhere("k", body="x")

    log.before_insert = elsewhere
    calls = [call("x", key="k"), call("y", key="k"), call("z")]
    await appender.write(calls)
    assert calls[0].result
    assert calls[0].result.duplicate
    assert isinstance(calls[1].error, IdempotencyConflict)
    assert seqs(calls) == [1, None, 2]


async def test_a_row_in_the_way_that_is_not_durable_yet_is_waited_for() -> None:
    log = FakeLog()
    log.write_elsewhere("k", body="x", hidden=True)

    def becomes_durable() -> None:
        if log.inserts == 3:
            log.rows += log.hidden
            log.hidden.clear()

    log.before_insert = becomes_durable
    calls = [call("x", key="k")]
    await appender_of(log).write(calls)
    assert calls[0].result
    assert calls[0].result.duplicate


async def test_own_rows_after_a_lost_reply_are_no_repeats() -> None:
    log = FakeLog()
    log.lost_replies = 1
    calls = [call(), call(), call()]
    await appender_of(log).write(calls)
    assert seqs(calls) == [1, 2, 3]
    assert not any(each.result and each.result.duplicate for each in calls)
    assert len(log.rows) == 3


async def test_the_same_key_within_a_flight() -> None:
    log = FakeLog()
    calls = [call("x", key="k"), call("x", key="k"), call("y", key="k"), call("z")]
    await appender_of(log).write(calls)
    assert seqs(calls) == [1, 1, None, 2]
    assert isinstance(calls[2].error, IdempotencyConflict)


async def test_a_conversation_that_does_not_exist_is_refused_alone() -> None:
    log = FakeLog()
    calls = [call(), call(where=ConversationId("nowhere")), call()]
    await appender_of(log).write(calls)
    assert seqs(calls) == [1, None, 2]
    assert isinstance(calls[1].error, ConversationNotFound)


async def test_after_an_outage_nothing_remembered_is_used() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.write([call()])

    def gone() -> None:
        log.before_insert = lambda: None
        log.write_elsewhere("theirs")
        raise ConnectionError

    log.before_insert = gone
    calls = [call()]
    with pytest.raises(ConnectionError):
        await appender.write(calls)
    assert calls[0].open
    await appender.write(calls)
    assert seqs(calls) == [3]
    assert appender.races == 0


async def test_a_conversation_is_to_be_folded_after_so_many_messages() -> None:
    log = FakeLog()
    folds: list[tuple[ConversationId, int]] = []
    appender = appender_of(log, lambda *which: folds.append(which))
    await appender.write([call() for _ in range(FOLD_AFTER - 1)])
    assert folds == []
    await appender.write([call()])
    assert folds == [(HERE, FOLD_AFTER)]
    appender.folded(HERE, FOLD_AFTER)
    await appender.write([call()])
    assert len(folds) == 1


async def test_only_so_many_conversations_are_remembered() -> None:
    """Those that were written to last; of another one the newest message is looked for again."""
    log = FakeLog()
    appender = appender_of(log, most_tails=1)
    looks = []
    for where in (HERE, HERE, THERE, HERE, HERE):
        await appender.write([call(where=where)])
        looks.append(log.looks)
    assert looks == [1, 1, 2, 3, 3]
    appender.folded(THERE, 5)  # of one that is not remembered
    assert [row["seq"] for row in log.rows] == [1, 2, 1, 3, 4]
    assert {row["sender"] for row in log.rows} == {ANN} != {BOB}


async def test_a_conversation_is_folded_once_for_a_flight() -> None:
    folds: list[tuple[ConversationId, int]] = []
    await appender_of(FakeLog(), lambda *which: folds.append(which)).write([call() for _ in range(3 * FOLD_AFTER)])
    assert folds == [(HERE, 3 * FOLD_AFTER)]


# -- changes of messages


def react(seq: int = 1, *, by: UserId = BOB, reaction: str = "+", on: bool = True) -> Alter:
    return Alter(asyncio.get_running_loop().create_future(), React(HERE, seq, by, reaction, on))


def told(each: Alter) -> Message:
    assert each.result
    assert each.result.message
    return each.result.message


def present(log: FakeLog) -> list[tuple[int, int]]:
    """(seq, change) of every message, by change."""
    return sorted(((row["seq"], documents.load_change(row)) for row in log.rows), key=lambda each: each[1])


async def test_a_message_moves_to_the_next_number_in_the_order_of_the_calls() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.write([call(), call()])
    first, second = react(1), react(1, by=ANN)
    await appender.write([first, call(), second, react(2)])
    assert present(log) == [(1, 3), (3, 4), (2, 5)], "two reactions to one message are one change"
    assert told(first) == told(second)
    assert log.inserts == 2


async def test_a_message_that_somebody_else_moved_is_looked_at_again() -> None:
    """The number is free, but the message is not as it was planned: what the other has done must not be undone."""
    log = FakeLog()
    ours, theirs = appender_of(log), appender_of(log)
    await ours.write([call()])
    other = react(1, by=ANN)

    async def meanwhile() -> None:
        await theirs.write([other])

    await ours.write([react(1, by=UserId("cat"))])
    mine = react(1)
    real = log.find_last
    log.find_last = _first(real, meanwhile)  # type: ignore[method-assign]
    ours.forget()
    await ours.write([mine])
    (reaction,) = told(mine).later.reactions
    assert reaction.user_ids == ("cat", ANN, BOB)
    assert told(mine).change == told(other).change + 1
    assert ours.races == 1


def _first(real: Callable[..., Any], before: Callable[[], Any]) -> Callable[..., Any]:
    """The same, with something happening before its first call."""
    done = False

    async def find_last(ids: Sequence[ConversationId]) -> Sequence[Row]:
        nonlocal done
        if not done:
            done = True
            await before()
        return await real(ids)  # type: ignore[no-any-return]

    return find_last


async def test_a_number_that_a_message_has_left_is_not_given_out_again() -> None:
    """Ann's process knows that the conversation stands at 2; in bob's, message 1 moves to 3 and on to 4. Number 3
    has no message then: without more, ann's next one would get it, and whoever stands at 4 would never hear of it."""
    log = FakeLog()
    ann, bob = appender_of(log), appender_of(log)
    await ann.write([call(), call()])
    await bob.write([react(1)])
    await bob.write([react(1, reaction="-")])
    mine = call()
    await ann.write([mine])
    assert present(log) == [(2, 2), (1, 4), (3, 5)]
    assert ann.races == 1


async def test_numbers_that_were_left_are_free_when_nobody_remembers_what_was_before_them() -> None:
    log, clock = FakeLog(), FakeClock()
    appender = appender_of(log, clock=clock)
    await appender.write([call()])
    assert REMEMBERED_S * 1000 < KEPT_MS / 2
    most = 0
    for number in range(400):
        await appender.write([react(1, on=number % 2 == 0)])
        clock.advance(KEPT_MS / 1000 / 50)
        most = max(most, len(documents.load_numbers(log.rows[0])))
    assert 50 <= most <= 102
    looks = log.looks
    clock.advance(REMEMBERED_S + 1)
    await appender.write([call()])
    assert log.looks == looks + 1, "what was true that long ago is looked up"
    assert present(log) == [(1, 401), (2, 402)]


async def test_a_message_that_moves_too_often_has_to_wait() -> None:
    """It holds up nobody else, and can be deleted."""
    log, clock = FakeLog(), FakeClock()
    appender = appender_of(log, clock=clock)
    await appender.write([call()])
    await appender.write([react(1)])
    log.rows[0]["change"] = [*range(-KEPT_NUMBERS, 0), 2]
    late, other = react(1, on=False), call()
    await appender.write([late, other])
    assert late.result
    assert late.result.outcome is Outcome.TOO_MANY
    assert seqs([other]) == [2]
    clock.advance(KEPT_MS / 1000)
    again = react(1, on=False)
    appender.forget()
    await appender.write([again])
    assert told(again).change == present(log)[-1][1]
    log.rows[0]["change"] = [*range(-KEPT_NUMBERS, 0), told(again).change]
    gone = Alter(react().future, Delete(HERE, 1, ANN, 9))
    await appender.write([gone])
    assert told(gone).deleted


async def test_a_clock_that_was_far_ahead_does_not_keep_numbers_for_ever() -> None:
    log, clock = FakeLog(), FakeClock()
    appender = appender_of(log, clock=clock)
    await appender.write([call()])
    clock.jump(86_400)
    await appender.write([react(1)])
    clock.jump(-86_400)
    for on in (False, True):
        await appender.write([react(1, on=on)])
        clock.advance(KEPT_MS / 1000)
    assert len(documents.load_numbers(log.rows[0])) < 4


async def test_what_changes_nothing_costs_no_number_and_no_write() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.write([call()])
    calls = [react(1, on=False), react(2), Alter(react().future, Edit(HERE, 1, BOB, "k", "x", 5))]
    before = log.inserts
    await appender.write(calls)
    outcomes = [each.result.outcome for each in calls if each.result]
    assert outcomes == [Outcome.UNCHANGED, Outcome.NOT_FOUND, Outcome.FORBIDDEN]
    assert log.inserts == before


async def test_a_message_that_is_deleted_in_the_flight_that_stores_it_leaves_only_its_tombstone() -> None:
    log = FakeLog()
    first = call("secret", key="k")
    first.metadata = '{"secret":1}'
    gone = Alter(react().future, Delete(HERE, 1, ANN, 9))
    await appender_of(log).write([first, gone])
    assert first.result
    assert first.result.message.deleted
    assert present(log) == [(1, 1)]
    assert "secret" not in str(log.rows)


async def test_an_own_edit_whose_reply_was_lost_is_found_on_its_row() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.write([call()])
    log.lost_replies = 1
    edit = Alter(react().future, Edit(HERE, 1, ANN, "k", "y", 5))
    await appender.write([edit])
    assert edit.result
    assert (edit.result.outcome, told(edit).body, told(edit).change) == (Outcome.DUPLICATE, "y", 2)
    assert present(log) == [(1, 2)]
