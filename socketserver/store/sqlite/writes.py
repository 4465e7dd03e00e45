"""What the SQLite store writes: functions over one connection, inside a transaction of their caller.

Many calls need a constant number of statements, whatever their number (rows.py says why).
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...chat.domain import ConversationId, Message, ReadMark, UserId
from ...errors import ConversationNotFound
from ..base import Appended, Created
from ..writes import Advance, Append, Create, Part, SetProfile, Write, plan_advances, plan_profiles
from .reads import get_profiles
from .rows import (
    CONVERSATION,
    MESSAGE,
    Row,
    chunks,
    execute_many,
    flat,
    load_conversation,
    load_message,
    packed,
    statement,
)

_Key = tuple[int, UserId, str]
"""What makes two messages the same: the conversation's number, the sender and the idempotency key."""

_Marks = dict[tuple[int, UserId], tuple[int, int | None]]
"""Read marks to be raised: seq and time, by conversation number and user."""


def apply(sql: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Do all these writes, in the transaction that is open, and leave in each its result or its ChatError.

    The calls are all under way at once, so that conversations may be made first and read marks moved last. What takes
    numbers keeps the order of the calls, of whatever kind they are: announcements follow the numbers.
    Raises: sqlite3.Error, ValueError or OverflowError; then nothing counts, and the transaction must be rolled back.
    """
    creates: list[Create] = []
    appends: list[Append] = []
    advances: list[Advance] = []
    profiles: list[SetProfile] = []
    for write in writes:
        write.result = write.error = None  # of a first try that was rolled back
        if isinstance(write, Append):
            appends.append(write)
        elif isinstance(write, Create):
            creates.append(write)
        elif isinstance(write, Advance):
            advances.append(write)
        else:
            profiles.append(write)
    for create in creates:
        _create(sql, create)
    if appends:
        _append(sql, appends)
    if advances:
        _advance(sql, advances)
    if profiles:
        _set_profiles(sql, profiles)


def _create(sql: sqlite3.Connection, create: Create) -> None:
    draft = create.draft
    # By id too: the same call again, after an error that left its outcome open, finds what it made.
    row = sql.execute(f"SELECT {CONVERSATION} FROM conversation c WHERE c.id = ?", (draft.id,)).fetchone()
    if row is None and draft.dedupe_key is not None:
        row = sql.execute(
            f"SELECT {CONVERSATION} FROM conversation c WHERE c.dedupe_key = ?", (draft.dedupe_key,)
        ).fetchone()
    if row is not None:
        create.repeat(load_conversation(row))
        return
    cursor = sql.execute(
        "INSERT INTO conversation"
        " (id, kind, title, created_by, created_at_ms, dedupe_key, activity_at_ms, participant_count)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            draft.id,
            draft.kind,
            draft.title,
            draft.created_by,
            draft.created_at_ms,
            draft.dedupe_key,
            draft.place_ms,
            len(draft.participant_ids),
        ),
    )
    num = cursor.lastrowid
    execute_many(
        sql,
        "INSERT INTO participant (conversation, user_id) VALUES {values}",
        [(num, user_id) for user_id in draft.participant_ids],
    )
    create.result = Created(draft.made(), duplicate=False)


@dataclass(slots=True)
class _Numbers:
    """Where a conversation stands: its row's number, its newest seq and change, its activity."""

    num: int
    seq: int
    change: int
    activity_at_ms: int


def _append(sql: sqlite3.Connection, appends: Sequence[Append]) -> None:
    numbers = _load_numbers(sql, {append.draft.conversation_id for append in appends})
    rows, marks = _number(appends, numbers, _load_originals(sql, numbers, appends))
    if not rows:
        return
    execute_many(
        sql,
        "INSERT INTO message (conversation, seq, change, id, sender_id, idempotency_key, body, metadata, created_at_ms)"
        " VALUES {values}",
        rows,
    )
    execute_many(
        sql,
        "UPDATE conversation SET last_seq = v.column2, last_change = v.column3, activity_at_ms = v.column4"
        " FROM (VALUES {values}) v WHERE num = v.column1",
        [(at.num, at.seq, at.change, at.activity_at_ms) for at in numbers.values()],
    )
    _raise_marks(sql, marks)


def _number(
    appends: Sequence[Append], numbers: Mapping[ConversationId, _Numbers], known: dict[_Key, Message]
) -> tuple[list[Row], _Marks]:
    """Answer calls in their order, each that is new under the next number of its conversation.

    Args:
        numbers: where the conversations stand; moved on. One that is missing does not exist.
        known: the messages that are stored already; those of these calls are added.

    Returns: the rows of the new messages, and the read marks of their senders.
    """
    rows: list[Row] = []
    marks: _Marks = {}
    for append in appends:
        draft = append.draft
        at = numbers.get(draft.conversation_id)
        if at is None:
            append.error = ConversationNotFound()
            continue
        key = (at.num, draft.sender_id, draft.idempotency_key)
        original = known.get(key)
        if original is not None:
            append.repeat(original)
            continue
        at.seq += 1
        at.change += 1
        at.activity_at_ms = max(at.activity_at_ms, draft.place_ms)
        known[key] = message = draft.numbered(at.seq, at.change)
        marks[at.num, draft.sender_id] = (at.seq, draft.created_at_ms)
        rows.append(
            (
                at.num,
                at.seq,
                at.change,
                draft.id,
                draft.sender_id,
                draft.idempotency_key,
                draft.body,
                append.metadata,
                draft.created_at_ms,
            )
        )
        append.result = Appended(message, duplicate=False)
    return rows, marks


def _load_numbers(sql: sqlite3.Connection, ids: Iterable[ConversationId]) -> dict[ConversationId, _Numbers]:
    ordered = list(ids)
    found = {}
    for place, num, seq, change, activity_at_ms in packed(
        sql,
        "SELECT group_concat(v.column1 || ' ' || c.num || ' ' || c.last_seq || ' ' || c.last_change || ' '"
        " || c.activity_at_ms) FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column2",
        [(place, conversation_id) for place, conversation_id in enumerate(ordered)],
    ):
        found[ordered[place]] = _Numbers(num, seq, change, activity_at_ms)
    return found


def _load_originals(
    sql: sqlite3.Connection, numbers: dict[ConversationId, _Numbers], appends: Sequence[Append]
) -> dict[_Key, Message]:
    """The messages that are stored already. Few: most keys are new."""
    ids = {at.num: conversation_id for conversation_id, at in numbers.items()}
    keys = [
        (at.num, append.draft.sender_id, append.draft.idempotency_key)
        for append in appends
        if (at := numbers.get(append.draft.conversation_id)) is not None
    ]
    found = {}
    for chunk in chunks(keys):
        # CROSS JOIN keeps this order: for each wanted key one look into the index message_key.
        look_up = statement(
            f"SELECT m.conversation, {MESSAGE} FROM (VALUES {{values}}) v CROSS JOIN message m"
            " ON m.conversation = v.column1 AND m.sender_id = v.column2 AND m.idempotency_key = v.column3",
            len(chunk),
            3,
        )
        for num, *row in sql.execute(look_up, flat(chunk)):
            message = load_message(ids[num], row)
            found[num, message.sender_id, message.idempotency_key] = message
    return found


def _advance(sql: sqlite3.Connection, advances: Sequence[Advance]) -> None:
    wanted = list(dict.fromkeys((advance.conversation_id, advance.user_id) for advance in advances))
    marks: dict[Part, ReadMark] = {}
    nums: dict[ConversationId, int] = {}
    last_seqs: dict[ConversationId, int] = {}
    for place, num, last_seq, read_seq, *read_at_ms in packed(
        sql,
        "SELECT group_concat(v.column1 || ' ' || c.num || ' ' || c.last_seq || ' ' || p.read_seq || ' '"
        " || ifnull(p.read_at_ms, '')) FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column2"
        " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column3",
        [(place, *part) for place, part in enumerate(wanted)],
    ):
        conversation_id, user_id = wanted[place]
        marks[conversation_id, user_id] = ReadMark(user_id, read_seq, read_at_ms[0] if read_at_ms else None)
        nums[conversation_id], last_seqs[conversation_id] = num, last_seq
    plan = plan_advances(advances, marks, last_seqs)
    _raise_marks(
        sql,
        {
            (nums[conversation_id], user_id): (mark.read_seq, mark.read_at_ms)
            for (conversation_id, user_id), mark in plan.moved.items()
        },
    )
    plan.settle()


def _raise_marks(sql: sqlite3.Connection, marks: _Marks) -> None:
    execute_many(
        sql,
        "UPDATE participant SET read_seq = v.column3, read_at_ms = v.column4 FROM (VALUES {values}) v"
        " WHERE conversation = v.column1 AND user_id = v.column2 AND read_seq < v.column3",
        [(num, user_id, seq, at_ms) for (num, user_id), (seq, at_ms) in marks.items()],
    )


def _set_profiles(sql: sqlite3.Connection, calls: Sequence[SetProfile]) -> None:
    plan = plan_profiles(calls, get_profiles(sql, [call.update.user_id for call in calls]))
    execute_many(
        sql,
        "INSERT INTO profile (user_id, name, avatar) VALUES {values}"
        " ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, avatar = excluded.avatar",
        [(profile.user_id, profile.name, profile.avatar) for profile in plan.changed.values()],
    )
    plan.settle()
