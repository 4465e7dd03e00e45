"""Numbers without a counter: the appender against a log that other processes write to at the worst moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from socketserver.chat.domain import ConversationId
from socketserver.errors import ConversationNotFound, IdempotencyConflict, Overloaded
from socketserver.store.mongo.appends import FOLD_AFTER, Appender
from socketserver.store.mongo.plans import Key, NamedAppend
from typing import Any

import pytest
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

    async def insert_messages(self, rows: Sequence[Row]) -> int:
        self.inserts += 1
        self.before_insert()
        for place, row in enumerate(rows):
            if any(_clash(row, other) for other in self.rows + self.hidden):
                return place
            self.rows.append(row)
        if self.lost_replies:
            self.lost_replies -= 1
            return await self.insert_messages(rows)  # the driver's retry
        return len(rows)

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
    indexes = (("conversation", "seq"), ("conversation", "change"), ("conversation", "sender", "key"), ("_id",))
    return any(all(row[field] == other[field] for field in fields) for fields in indexes)


async def no_pause(attempt: int) -> None:
    await asyncio.sleep(0)


def appender_of(
    log: FakeLog, fold: Callable[[ConversationId, int], None] = lambda *_: None, *, most_tails: int = 100
) -> Appender:
    return Appender(log, fold, wait=no_pause, most_tails=most_tails)


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
    await appender_of(log).append(calls)
    assert seqs(calls[::2]) == seqs(calls[1::2]) == [1, 2, 3, 4, 5]
    assert log.inserts == 1


async def test_a_number_taken_by_another_process_costs_a_try_and_leaves_no_hole() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.append([call()])
    log.write_elsewhere("theirs")
    calls = [call(), call(where=THERE), call()]
    await appender.append(calls)
    assert seqs(calls) == [3, 1, 4]
    assert dense(log)
    assert appender.races == 1


async def test_another_process_that_is_always_first_ends_in_overloaded_with_nothing_written() -> None:
    log = FakeLog()
    appender = appender_of(log)
    log.before_insert = lambda: log.write_elsewhere(f"theirs {log.inserts}")
    calls = [call(), call(), call("y", where=THERE)]
    await appender.append(calls)
    assert [type(each.error) for each in calls] == [Overloaded] * 3
    assert appender.races > 5
    assert dense(log)
    assert all(row["body"] == "theirs" for row in log.rows)


async def test_repeats_are_found_all_at_once() -> None:
    """After a restart, everybody sends again what was not acknowledged."""
    log = FakeLog()
    appender = appender_of(log)
    await appender.append([call(key=f"k{number}") for number in range(50)])
    before = log.inserts
    calls = [call(key=f"k{number}") for number in range(60)]
    await appender.append(calls)
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
    await appender.append(calls)
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
    await appender_of(log).append(calls)
    assert calls[0].result
    assert calls[0].result.duplicate


async def test_own_rows_after_a_lost_reply_are_no_repeats() -> None:
    log = FakeLog()
    log.lost_replies = 1
    calls = [call(), call(), call()]
    await appender_of(log).append(calls)
    assert seqs(calls) == [1, 2, 3]
    assert not any(each.result and each.result.duplicate for each in calls)
    assert len(log.rows) == 3


async def test_the_same_key_within_a_flight() -> None:
    log = FakeLog()
    calls = [call("x", key="k"), call("x", key="k"), call("y", key="k"), call("z")]
    await appender_of(log).append(calls)
    assert seqs(calls) == [1, 1, None, 2]
    assert isinstance(calls[2].error, IdempotencyConflict)


async def test_a_conversation_that_does_not_exist_is_refused_alone() -> None:
    log = FakeLog()
    calls = [call(), call(where=ConversationId("nowhere")), call()]
    await appender_of(log).append(calls)
    assert seqs(calls) == [1, None, 2]
    assert isinstance(calls[1].error, ConversationNotFound)


async def test_after_an_outage_nothing_remembered_is_used() -> None:
    log = FakeLog()
    appender = appender_of(log)
    await appender.append([call()])

    def gone() -> None:
        log.before_insert = lambda: None
        log.write_elsewhere("theirs")
        raise ConnectionError

    log.before_insert = gone
    calls = [call()]
    with pytest.raises(ConnectionError):
        await appender.append(calls)
    assert calls[0].open
    await appender.append(calls)
    assert seqs(calls) == [3]
    assert appender.races == 0


async def test_a_conversation_is_to_be_folded_after_so_many_messages() -> None:
    log = FakeLog()
    folds: list[tuple[ConversationId, int]] = []
    appender = appender_of(log, lambda *which: folds.append(which))
    await appender.append([call() for _ in range(FOLD_AFTER - 1)])
    assert folds == []
    await appender.append([call()])
    assert folds == [(HERE, FOLD_AFTER)]
    appender.folded(HERE, FOLD_AFTER)
    await appender.append([call()])
    assert len(folds) == 1


async def test_only_so_many_conversations_are_remembered() -> None:
    """Those that were written to last; of another one the newest message is looked for again."""
    log = FakeLog()
    appender = appender_of(log, most_tails=1)
    looks = []
    for where in (HERE, HERE, THERE, HERE, HERE):
        await appender.append([call(where=where)])
        looks.append(log.looks)
    assert looks == [1, 1, 2, 3, 3]
    appender.folded(THERE, 5)  # of one that is not remembered
    assert [row["seq"] for row in log.rows] == [1, 2, 1, 3, 4]
    assert {row["sender"] for row in log.rows} == {ANN} != {BOB}


async def test_a_conversation_is_folded_once_for_a_flight() -> None:
    folds: list[tuple[ConversationId, int]] = []
    await appender_of(FakeLog(), lambda *which: folds.append(which)).append([call() for _ in range(3 * FOLD_AFTER)])
    assert folds == [(HERE, 3 * FOLD_AFTER)]
