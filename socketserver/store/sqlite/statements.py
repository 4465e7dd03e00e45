"""What the SQLite store reads and writes, as functions over one connection inside a transaction of their caller.

Writes take many calls at once and need a constant number of statements for them, however many there are: sqlite3 gives
up the GIL for every step of a statement, and a thread that does so row by row waits for the event loop row by row.
Hence the multi-row VALUES lists, and the answers packed into one text.
"""

# ruff: noqa: S608 - statements are put together from constants of this module; values are always parameters

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from ...chat.domain import (
    Conversation,
    ConversationDraft,
    ConversationId,
    ConversationSummary,
    Gap,
    Message,
    MessageDraft,
    MessageId,
    ReadMark,
    UserId,
    same_content,
    same_conversation,
)
from ...errors import ConversationNotFound, IdempotencyConflict
from ..base import Appended, ConversationPage, Created, MessagePage, ReadAdvance, ReadMarkPage, Snapshot
from ..copying import Counts

T = TypeVar("T")

_Value = str | int | None
_Row = tuple[_Value, ...]

# 256 rows of nine columns stay far below the 32 766 parameters that a statement may have.
_ROWS_PER_STATEMENT: Final = 256

_INT64_MAX: Final = 2**63 - 1

_NEWEST_MESSAGES: Final = 1000

_MESSAGE: Final = (
    "m.seq, m.change, m.id, m.sender_id, m.idempotency_key, m.body, m.metadata, m.created_at_ms"  # as `_message` reads
)


def _columns_of_conversation(participants: int = -1) -> str:
    """As `_conversation` reads them, with the first so many participants; -1 for all."""
    # Packed into one text, because every row more would be a turn of the GIL. The count is 0 where an earlier version,
    # still running beside this one, has created the conversation.
    return (
        "c.num, c.id, c.kind, c.title, c.created_by, c.created_at_ms,"
        " CASE c.participant_count WHEN 0 THEN"
        " (SELECT count(*) FROM participant WHERE conversation = c.num) ELSE c.participant_count END,"
        " (SELECT json_group_array(user_id) FROM"
        f" (SELECT user_id FROM participant WHERE conversation = c.num ORDER BY user_id LIMIT {participants:d}))"
    )


_CONVERSATION: Final = _columns_of_conversation()
_CONVERSATION_COLUMNS: Final = 8


@dataclass(slots=True, eq=False)
class Call(Generic[T]):
    """Something that a caller waits for, and what came of it: one of result and error, once it is done."""

    future: asyncio.Future[T]
    result: T | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)


@dataclass(slots=True, eq=False)
class Append(Call[Appended]):
    """append_message; `metadata` is the draft's, as JSON text."""

    draft: MessageDraft
    metadata: str | None


@dataclass(slots=True, eq=False)
class Create(Call[Created]):
    """create_conversation."""

    draft: ConversationDraft


@dataclass(slots=True, eq=False)
class Advance(Call[ReadAdvance]):
    """advance_read."""

    conversation_id: ConversationId
    user_id: UserId
    seq: int
    at_ms: int


Write = Append | Create | Advance


def dump_metadata(metadata: dict[str, Any] | None) -> str | None:
    """The text that is stored. Raises ValueError for what is not JSON (NaN among it)."""
    return None if metadata is None else json.dumps(metadata, allow_nan=False, separators=(",", ":"))


def apply(sql: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Do all these writes, in the transaction that is open, and leave in each its result or its ChatError.

    The calls are all under way at once, so that any order between kinds is a true one; within a kind, theirs is kept.
    Raises: sqlite3.Error, ValueError or OverflowError; then nothing counts, and the transaction must be rolled back.
    """
    creates, appends, advances = [], [], []
    for write in writes:
        write.result = write.error = None  # of a first try that was rolled back
        if isinstance(write, Append):
            appends.append(write)
        elif isinstance(write, Create):
            creates.append(write)
        else:
            advances.append(write)
    for create in creates:
        _create(sql, create)
    if appends:
        _append(sql, appends)
    if advances:
        _advance(sql, advances)


# ---------------------------------------------------------------------------------------------------------- writes


def _create(sql: sqlite3.Connection, create: Create) -> None:
    draft = create.draft
    # By id too: the same call again, after an error that left its outcome open, finds what it made.
    row = sql.execute(f"SELECT {_CONVERSATION} FROM conversation c WHERE c.id = ?", (draft.id,)).fetchone()
    if row is None and draft.dedupe_key is not None:
        row = sql.execute(
            f"SELECT {_CONVERSATION} FROM conversation c WHERE c.dedupe_key = ?", (draft.dedupe_key,)
        ).fetchone()
    if row is not None:
        conversation = _conversation(row)
        if same_conversation(conversation, draft):
            create.result = Created(conversation, duplicate=True)
        else:
            create.error = IdempotencyConflict()
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
    _many(
        sql,
        "INSERT INTO participant (conversation, user_id) VALUES {values}",
        [(num, user_id) for user_id in draft.participant_ids],
    )
    conversation = Conversation(
        draft.id, draft.kind, draft.title, draft.created_by, draft.participant_ids, draft.created_at_ms
    )
    create.result = Created(conversation, duplicate=False)


@dataclass(slots=True)
class _Numbers:
    """Where a conversation stands: its row's number, its newest seq and change, its activity."""

    num: int
    seq: int
    change: int
    activity_at_ms: int


def _append(sql: sqlite3.Connection, appends: Sequence[Append]) -> None:
    numbers = _load_numbers(sql, {append.draft.conversation_id for append in appends})
    known = _load_originals(sql, numbers, appends)
    rows: list[_Row] = []
    marks: dict[tuple[int, UserId], tuple[int, int]] = {}
    for append in appends:
        draft = append.draft
        at = numbers.get(draft.conversation_id)
        if at is None:
            append.error = ConversationNotFound()
            continue
        key = (at.num, draft.sender_id, draft.idempotency_key)
        original = known.get(key)
        if original is not None:
            if same_content(original, draft):
                append.result = Appended(original, duplicate=True)
            else:
                append.error = IdempotencyConflict()
            continue
        at.seq += 1
        at.change += 1
        at.activity_at_ms = max(at.activity_at_ms, draft.place_ms)
        message = Message(
            draft.id,
            draft.conversation_id,
            at.seq,
            at.change,
            draft.sender_id,
            draft.idempotency_key,
            draft.body,
            draft.metadata,
            draft.created_at_ms,
        )
        known[key] = message
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
    if not rows:
        return
    _many(
        sql,
        "INSERT INTO message (conversation, seq, change, id, sender_id, idempotency_key, body, metadata, created_at_ms)"
        " VALUES {values}",
        rows,
    )
    _many(
        sql,
        "UPDATE conversation SET last_seq = v.column2, last_change = v.column3, activity_at_ms = v.column4"
        " FROM (VALUES {values}) v WHERE num = v.column1",
        [(at.num, at.seq, at.change, at.activity_at_ms) for at in numbers.values()],
    )
    _raise_marks(sql, marks)


def _load_numbers(sql: sqlite3.Connection, ids: Iterable[ConversationId]) -> dict[ConversationId, _Numbers]:
    ordered = list(ids)
    found = {}
    for place, num, seq, change, activity_at_ms in _packed(
        sql,
        "SELECT group_concat(v.column1 || ' ' || c.num || ' ' || c.last_seq || ' ' || c.last_change || ' '"
        " || c.activity_at_ms) FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column2",
        [(place, conversation_id) for place, conversation_id in enumerate(ordered)],
    ):
        found[ordered[place]] = _Numbers(num, seq, change, activity_at_ms)
    return found


def _load_originals(
    sql: sqlite3.Connection, numbers: dict[ConversationId, _Numbers], appends: Sequence[Append]
) -> dict[tuple[int, UserId, str], Message]:
    """The messages that are stored already, by (conversation number, sender, key). Few: most keys are new."""
    ids = {at.num: conversation_id for conversation_id, at in numbers.items()}
    keys = [
        (at.num, append.draft.sender_id, append.draft.idempotency_key)
        for append in appends
        if (at := numbers.get(append.draft.conversation_id)) is not None
    ]
    found = {}
    for chunk in _chunks(keys):
        # CROSS JOIN keeps this order: for each wanted key one look into the index message_key.
        statement = _statement(
            f"SELECT m.conversation, {_MESSAGE} FROM (VALUES {{values}}) v CROSS JOIN message m"
            " ON m.conversation = v.column1 AND m.sender_id = v.column2 AND m.idempotency_key = v.column3",
            len(chunk),
            3,
        )
        for num, *row in sql.execute(statement, _flat(chunk)):
            message = _message(ids[num], row)
            found[num, message.sender_id, message.idempotency_key] = message
    return found


def _advance(sql: sqlite3.Connection, advances: Sequence[Advance]) -> None:
    wanted = list(dict.fromkeys((advance.conversation_id, advance.user_id) for advance in advances))
    found: dict[tuple[ConversationId, UserId], tuple[int, int, ReadMark]] = {}
    for place, num, last_seq, read_seq, *read_at_ms in _packed(
        sql,
        "SELECT group_concat(v.column1 || ' ' || c.num || ' ' || c.last_seq || ' ' || p.read_seq || ' '"
        " || ifnull(p.read_at_ms, '')) FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column2"
        " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column3",
        [(place, *pair) for place, pair in enumerate(wanted)],
    ):
        pair = wanted[place]
        found[pair] = (num, last_seq, ReadMark(pair[1], read_seq, read_at_ms[0] if read_at_ms else None))
    moved: dict[tuple[int, UserId], tuple[int, int]] = {}
    for advance in advances:
        pair = (advance.conversation_id, advance.user_id)
        if pair not in found:
            advance.error = ConversationNotFound()
            continue
        num, last_seq, mark = found[pair]
        seq = min(advance.seq, last_seq)
        advanced = seq > mark.read_seq
        if advanced:
            mark = ReadMark(advance.user_id, seq, advance.at_ms)
            found[pair] = (num, last_seq, mark)
            moved[num, advance.user_id] = (seq, advance.at_ms)
        advance.result = ReadAdvance(mark, last_seq, advanced)
    _raise_marks(sql, moved)


def _raise_marks(sql: sqlite3.Connection, marks: dict[tuple[int, UserId], tuple[int, int]]) -> None:
    _many(
        sql,
        "UPDATE participant SET read_seq = v.column3, read_at_ms = v.column4 FROM (VALUES {values}) v"
        " WHERE conversation = v.column1 AND user_id = v.column2 AND read_seq < v.column3",
        [(num, user_id, seq, at_ms) for (num, user_id), (seq, at_ms) in marks.items()],
    )


# ----------------------------------------------------------------------------------------------------------- reads


def newest_activity(sql: sqlite3.Connection) -> int:
    # Of those that were written last: there is no index by activity, which every message would have to change.
    rows = sql.execute(
        "SELECT activity_at_ms FROM conversation WHERE num = (SELECT max(num) FROM conversation) OR num IN"
        " (SELECT conversation FROM (SELECT conversation FROM message ORDER BY rowid DESC LIMIT ?))",
        (_NEWEST_MESSAGES,),
    )
    return max((activity_at_ms for (activity_at_ms,) in rows), default=0)


def get_conversation(sql: sqlite3.Connection, conversation_id: ConversationId) -> Conversation | None:
    row = sql.execute(f"SELECT {_CONVERSATION} FROM conversation c WHERE c.id = ?", (conversation_id,)).fetchone()
    return None if row is None else _conversation(row)


def get_snapshot(
    sql: sqlite3.Connection,
    conversation_id: ConversationId,
    after: int | None,
    limit: int,
    reader: UserId | None,
    participants: int | None,
) -> Snapshot | None:
    columns = _columns_of_conversation(-1 if participants is None else participants)
    row = sql.execute(
        f"SELECT c.last_seq, c.last_change, {columns} FROM conversation c WHERE c.id = ?", (conversation_id,)
    ).fetchone()
    if row is None:
        return None
    last_seq, last_change, *rest = row
    num = rest[0]
    conversation = _conversation(rest)
    marks = _marks(sql, num, None, -1 if participants is None else participants)
    if reader is not None and reader not in conversation.participant_ids:
        marks += _marks_of(sql, num, reader)
    gap = None
    if after is None or after > last_change:
        messages = _newest(sql, conversation_id, num, _INT64_MAX, limit)
    else:
        after = max(after, 0)  # a change, which is the seq of its message: the schema sees to that
        messages = [
            _message(conversation_id, message)
            for message in sql.execute(
                f"SELECT {_MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? ORDER BY m.seq DESC LIMIT ?",
                (num, after, limit + 1),
            )
        ]
        if len(messages) > limit:
            gap = Gap(after + 1, messages.pop().seq)
        messages.reverse()
    return Snapshot(conversation, tuple(marks), tuple(messages), last_seq, last_change, gap)


def list_read_marks(
    sql: sqlite3.Connection, conversation_id: ConversationId, after: UserId | None, limit: int
) -> ReadMarkPage:
    row = sql.execute("SELECT num FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    marks = [] if row is None else _marks(sql, row[0], after, limit + 1)
    return ReadMarkPage(tuple(marks[:limit]), has_more=len(marks) > limit)


def list_conversations(
    sql: sqlite3.Connection,
    user_id: UserId,
    limit: int,
    before: tuple[int, ConversationId] | None,
    participants: int | None,
) -> ConversationPage:
    # Sorted when it is asked for: an index in this order would be rewritten for every participant at every message.
    # First which conversations, by their own rows alone, then what is shown of them.
    rows = sql.execute(
        "SELECT c.last_seq, c.last_change, c.activity_at_ms, p.read_seq,"
        f" {_columns_of_conversation(-1 if participants is None else participants)}, {_MESSAGE} FROM ("
        "SELECT c.num FROM participant p CROSS JOIN conversation c ON c.num = p.conversation WHERE p.user_id = ?"
        f" {'' if before is None else 'AND (c.activity_at_ms, c.id) < (?, ?)'}"
        " ORDER BY c.activity_at_ms DESC, c.id DESC LIMIT ?) v CROSS JOIN conversation c ON c.num = v.num"
        " CROSS JOIN participant p ON p.conversation = v.num AND p.user_id = ?"
        " LEFT JOIN message m ON m.conversation = c.num AND m.seq = c.last_seq"
        " ORDER BY c.activity_at_ms DESC, c.id DESC",
        (user_id, *(() if before is None else (_int64(before[0]), before[1])), limit + 1, user_id),
    ).fetchall()
    summaries = []
    for last_seq, last_change, activity_at_ms, read_seq, *row in rows[:limit]:
        conversation = _conversation(row[:_CONVERSATION_COLUMNS])
        message = None if last_seq == 0 else _message(conversation.id, row[_CONVERSATION_COLUMNS:])
        summaries.append(ConversationSummary(conversation, message, last_seq, last_change, read_seq, activity_at_ms))
    return ConversationPage(tuple(summaries), has_more=len(rows) > limit)


def list_readers(
    sql: sqlite3.Connection, parts: Sequence[tuple[ConversationId, UserId]]
) -> frozenset[tuple[ConversationId, UserId]]:
    found: set[tuple[ConversationId, UserId]] = set()
    for chunk in _chunks(parts):
        statement = _statement(
            "SELECT v.column1, v.column2 FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column1"
            " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column2 WHERE p.read_seq > 0",
            len(chunk),
            2,
        )
        found.update(sql.execute(statement, _flat(chunk)))
    return frozenset(found)


def list_messages(
    sql: sqlite3.Connection, conversation_id: ConversationId, before_seq: int | None, after_seq: int | None, limit: int
) -> MessagePage:
    row = sql.execute("SELECT num FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        return MessagePage((), has_more=False)
    if after_seq is None:
        below = _INT64_MAX if before_seq is None else _int64(before_seq)
        messages = _newest(sql, conversation_id, row[0], below, limit + 1)
        return MessagePage(tuple(messages[-limit:] if limit else ()), has_more=len(messages) > limit)
    found = sql.execute(
        f"SELECT {_MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? ORDER BY m.seq LIMIT ?",
        (row[0], _int64(after_seq), limit + 1),
    ).fetchall()
    messages = [_message(conversation_id, message) for message in found[:limit]]
    return MessagePage(tuple(messages), has_more=len(found) > limit)


def count(sql: sqlite3.Connection) -> Counts:
    return Counts(*sql.execute("SELECT count(*), ifnull(sum(last_seq), 0) FROM conversation").fetchone())


def list_drafts(sql: sqlite3.Connection, after: ConversationId | None, limit: int) -> list[ConversationDraft]:
    rows = sql.execute(
        f"SELECT c.dedupe_key, c.activity_at_ms, {_CONVERSATION} FROM conversation c"
        f" {'' if after is None else 'WHERE c.id > ?'} ORDER BY c.id LIMIT ?",
        (limit,) if after is None else (after, limit),
    ).fetchall()
    drafts = []
    for dedupe_key, activity_at_ms, *row in rows:
        each = _conversation(row)
        drafts.append(
            ConversationDraft(
                each.id,
                each.kind,
                each.title,
                each.created_by,
                each.participant_ids,
                each.created_at_ms,
                dedupe_key,
                activity_at_ms,
            )
        )
    return drafts


def _newest(
    sql: sqlite3.Connection, conversation_id: ConversationId, num: int, below: int, limit: int
) -> list[Message]:
    rows = sql.execute(
        f"SELECT {_MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq < ? ORDER BY m.seq DESC LIMIT ?",
        (num, below, limit),
    ).fetchall()
    return [_message(conversation_id, row) for row in reversed(rows)]


# ----------------------------------------------------------------------------------------------------- rows, values


def _message(conversation_id: ConversationId, row: Sequence[Any]) -> Message:
    seq, change, message_id, sender_id, key, body, metadata, created_at_ms = row
    loaded = None if metadata is None else json.loads(metadata)
    return Message(MessageId(message_id), conversation_id, seq, change, sender_id, key, body, loaded, created_at_ms)


def _conversation(row: Sequence[Any]) -> Conversation:
    _, conversation_id, kind, title, created_by, created_at_ms, count, people = row
    return Conversation(conversation_id, kind, title, created_by, json.loads(people), created_at_ms, count)


def _marks(sql: sqlite3.Connection, num: int, after: UserId | None, limit: int) -> list[ReadMark]:
    rows = sql.execute(
        "SELECT user_id, read_seq, read_at_ms FROM participant WHERE conversation = ?"
        f" {'' if after is None else 'AND user_id > ?'} ORDER BY user_id LIMIT ?",
        (num, limit) if after is None else (num, after, limit),
    )
    return [ReadMark(*row) for row in rows]


def _marks_of(sql: sqlite3.Connection, num: int, user_id: UserId) -> list[ReadMark]:
    rows = sql.execute(
        "SELECT user_id, read_seq, read_at_ms FROM participant WHERE conversation = ? AND user_id = ?", (num, user_id)
    )
    return [ReadMark(*row) for row in rows]


def _int64(number: int) -> int:
    """A cursor as SQLite can hold it; beyond that range there is nothing to tell apart."""
    return max(-_INT64_MAX, min(number, _INT64_MAX))


def _many(sql: sqlite3.Connection, template: str, rows: Sequence[_Row]) -> None:
    for chunk in _chunks(rows):
        sql.execute(_statement(template, len(chunk), len(chunk[0])), _flat(chunk))


def _packed(sql: sqlite3.Connection, template: str, rows: Sequence[_Row]) -> Iterator[tuple[int, ...]]:
    """The rows of integers that a statement packed into one text: '0 7 12,1 8 3'."""
    for chunk in _chunks(rows):
        (text,) = sql.execute(_statement(template, len(chunk), len(chunk[0])), _flat(chunk)).fetchone()
        if text is not None:
            for part in text.split(","):
                yield tuple(map(int, part.split()))


def _chunks(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Cut rows into powers of two, so that a few prepared statements serve every number of rows."""
    start = 0
    while start < len(rows):
        size = min(_ROWS_PER_STATEMENT, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size


@functools.lru_cache(maxsize=256)
def _statement(template: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return template.format(values=", ".join([row] * rows))


def _flat(rows: Sequence[_Row]) -> list[_Value]:
    return [value for row in rows for value in row]
