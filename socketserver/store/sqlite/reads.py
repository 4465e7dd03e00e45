"""What the SQLite store reads: functions over one connection, inside a transaction of their caller.

Each answers the method of `Store` (store/base.py) that has its name.
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from ...chat.domain import (
    Conversation,
    ConversationDraft,
    ConversationId,
    ConversationSummary,
    Gap,
    Message,
    Profile,
    ReadMark,
    UserId,
)
from ..base import ConversationPage, Counts, MessagePage, ReadMarkPage, Snapshot
from ..encoding import INT64_MAX, int64
from ..writes import Part
from .rows import (
    CONVERSATION,
    CONVERSATION_WIDTH,
    MESSAGE,
    chunks,
    conversation_columns,
    flat,
    load_conversation,
    load_message,
    statement,
)

_NEWEST_MESSAGES: Final = 1000  # among which the newest activity is found


def newest_activity(sql: sqlite3.Connection) -> int:
    # Of those that were written last: there is no index by activity, which every message would have to change.
    rows = sql.execute(
        "SELECT activity_at_ms FROM conversation WHERE num = (SELECT max(num) FROM conversation) OR num IN"
        " (SELECT conversation FROM (SELECT conversation FROM message ORDER BY rowid DESC LIMIT ?))",
        (_NEWEST_MESSAGES,),
    )
    return max((activity_at_ms for (activity_at_ms,) in rows), default=0)


def get_conversation(sql: sqlite3.Connection, conversation_id: ConversationId) -> Conversation | None:
    row = sql.execute(f"SELECT {CONVERSATION} FROM conversation c WHERE c.id = ?", (conversation_id,)).fetchone()
    return None if row is None else load_conversation(row)


def get_snapshot(
    sql: sqlite3.Connection,
    conversation_id: ConversationId,
    after: int | None,
    limit: int,
    reader: UserId | None,
    participants: int | None,
) -> Snapshot | None:
    columns = conversation_columns(-1 if participants is None else participants)
    row = sql.execute(
        f"SELECT c.last_seq, c.last_change, {columns} FROM conversation c WHERE c.id = ?", (conversation_id,)
    ).fetchone()
    if row is None:
        return None
    last_seq, last_change, *rest = row
    num = rest[0]
    conversation = load_conversation(rest)
    marks = _marks(sql, num, None, -1 if participants is None else participants)
    if reader is not None and reader not in conversation.participant_ids:
        marks += _marks_of(sql, num, reader)
    gap = None
    if after is None or after > last_change:
        messages = _newest(sql, conversation_id, num, INT64_MAX, limit)
    else:
        after = max(after, 0)  # a change, which is the seq of its message: the schema sees to that
        messages = [
            load_message(conversation_id, message)
            for message in sql.execute(
                f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? ORDER BY m.seq DESC LIMIT ?",
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
        f" {conversation_columns(-1 if participants is None else participants)}, {MESSAGE} FROM ("
        "SELECT c.num FROM participant p CROSS JOIN conversation c ON c.num = p.conversation WHERE p.user_id = ?"
        f" {'' if before is None else 'AND (c.activity_at_ms, c.id) < (?, ?)'}"
        " ORDER BY c.activity_at_ms DESC, c.id DESC LIMIT ?) v CROSS JOIN conversation c ON c.num = v.num"
        " CROSS JOIN participant p ON p.conversation = v.num AND p.user_id = ?"
        " LEFT JOIN message m ON m.conversation = c.num AND m.seq = c.last_seq"
        " ORDER BY c.activity_at_ms DESC, c.id DESC",
        (user_id, *(() if before is None else (int64(before[0]), before[1])), limit + 1, user_id),
    ).fetchall()
    summaries = []
    for last_seq, last_change, activity_at_ms, read_seq, *row in rows[:limit]:
        conversation = load_conversation(row[:CONVERSATION_WIDTH])
        message = None if last_seq == 0 else load_message(conversation.id, row[CONVERSATION_WIDTH:])
        summaries.append(ConversationSummary(conversation, message, last_seq, last_change, read_seq, activity_at_ms))
    unread = None
    if before is None:
        (unread,) = sql.execute(
            "SELECT count(*) FROM participant p CROSS JOIN conversation c ON c.num = p.conversation"
            " WHERE p.user_id = ? AND p.read_seq < c.last_seq",
            (user_id,),
        ).fetchone()
    return ConversationPage(tuple(summaries), len(rows) > limit, unread)


def list_readers(sql: sqlite3.Connection, parts: Sequence[Part]) -> frozenset[Part]:
    found: set[Part] = set()
    for chunk in chunks(parts):
        wanted = statement(
            "SELECT v.column1, v.column2 FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column1"
            " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column2 WHERE p.read_seq > 0",
            len(chunk),
            2,
        )
        found.update(sql.execute(wanted, flat(chunk)))
    return frozenset(found)


def list_messages(
    sql: sqlite3.Connection, conversation_id: ConversationId, before_seq: int | None, after_seq: int | None, limit: int
) -> MessagePage:
    row = sql.execute("SELECT num FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        return MessagePage((), has_more=False)
    if after_seq is None:
        below = INT64_MAX if before_seq is None else int64(before_seq)
        messages = _newest(sql, conversation_id, row[0], below, limit + 1)
        return MessagePage(tuple(messages[-limit:] if limit else ()), has_more=len(messages) > limit)
    found = sql.execute(
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? ORDER BY m.seq LIMIT ?",
        (row[0], int64(after_seq), limit + 1),
    ).fetchall()
    messages = [load_message(conversation_id, message) for message in found[:limit]]
    return MessagePage(tuple(messages), has_more=len(found) > limit)


def get_profiles(sql: sqlite3.Connection, user_ids: Sequence[UserId]) -> list[Profile]:
    wanted = list(dict.fromkeys(user_ids))
    profiles = []
    for chunk in chunks([(place, user_id) for place, user_id in enumerate(wanted)]):
        look_up = statement(
            "SELECT json_group_array(json_array(v.column1, p.name, p.avatar)) FROM (VALUES {values}) v"
            " CROSS JOIN profile p ON p.user_id = v.column2",
            len(chunk),
            2,
        )
        (text,) = sql.execute(look_up, flat(chunk)).fetchone()
        profiles += [Profile(wanted[place], name, avatar) for place, name, avatar in json.loads(text)]
    return profiles


def list_profiles(sql: sqlite3.Connection, after: UserId | None, limit: int) -> list[Profile]:
    rows = sql.execute(
        f"SELECT user_id, name, avatar FROM profile {'' if after is None else 'WHERE user_id > ?'}"
        " ORDER BY user_id LIMIT ?",
        (limit,) if after is None else (after, limit),
    )
    return [Profile(*row) for row in rows]


def count(sql: sqlite3.Connection) -> Counts:
    row = sql.execute(
        "SELECT count(*), ifnull(sum(last_seq), 0), (SELECT count(*) FROM profile) FROM conversation"
    ).fetchone()
    return Counts(*row)


def list_drafts(sql: sqlite3.Connection, after: ConversationId | None, limit: int) -> list[ConversationDraft]:
    rows = sql.execute(
        f"SELECT c.dedupe_key, c.activity_at_ms, {CONVERSATION} FROM conversation c"
        f" {'' if after is None else 'WHERE c.id > ?'} ORDER BY c.id LIMIT ?",
        (limit,) if after is None else (after, limit),
    ).fetchall()
    drafts = []
    for dedupe_key, activity_at_ms, *row in rows:
        each = load_conversation(row)
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
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq < ? ORDER BY m.seq DESC LIMIT ?",
        (num, below, limit),
    ).fetchall()
    return [load_message(conversation_id, row) for row in reversed(rows)]


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
