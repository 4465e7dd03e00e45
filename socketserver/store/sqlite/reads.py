"""What the SQLite store reads: functions over one connection, inside a transaction of their caller.

Each answers the method of `Store` (store/base.py) that has its name.
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ...chat.domain import Conversation, ConversationDraft, ConversationId, Gap, Message, ReadMark, UserId
from ...chat.identity import Profile
from ...chat.own_settings import UNSETTLED, OwnSettings
from ..encoding import INT64_MAX, conversation_draft, int64
from ..numbering import page_of_changes
from ..results import ChangePage, Counts, MessagePage, ReadMarkPage, Snapshot
from ..writes import Part
from .rows import (
    CONVERSATION,
    MESSAGE,
    SETTINGS,
    chunks,
    conversation_columns,
    flat,
    load_conversation,
    load_message,
    load_settings,
    load_special,
    packed,
    statement,
)

_NEWEST_MESSAGES: Final = 1000  # among which the newest activity is found
_LOOKED_AT: Final = 300  # messages among which a page of changes is looked for, so that it costs little whatever moved


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
    uncounted = unread_mentions = 0
    settings = UNSETTLED
    if own := _part(sql, num, reader):
        mark, uncounted, unread_mentions, settings = own
        if reader not in conversation.participant_ids:
            marks.append(mark)
            conversation = _with_special(sql, num, conversation, mark.user_id)
    gap = through = None
    updates: list[Message] = []
    if after is None or after > last_change:
        messages = _newest(sql, conversation_id, num, INT64_MAX, limit)
    else:
        after = max(after, 0)
        known = _created_up_to(sql, num, after, last_seq, last_change)
        messages = _load(
            sql,
            conversation_id,
            f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? ORDER BY m.seq DESC LIMIT ?",
            (num, known, limit + 1),
        )
        if len(messages) > limit:
            gap = Gap(known + 1, messages.pop().seq)
        messages.reverse()
        if last_change > last_seq:
            updates, through = _updates(sql, conversation_id, num, after, known, limit)
    return Snapshot(
        conversation,
        tuple(marks),
        tuple(messages),
        last_seq,
        last_change,
        gap,
        tuple(updates),
        through,
        uncounted,
        unread_mentions,
        settings,
    )


def list_changes(sql: sqlite3.Connection, conversation_id: ConversationId, after: int, limit: int) -> ChangePage:
    row = sql.execute("SELECT num, last_seq, last_change FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None or after >= row[2]:
        return ChangePage((), 0 if row is None else row[2], has_more=False)
    num, last_seq, last_change = row
    after = max(after, 0)
    known = _created_up_to(sql, num, after, last_seq, last_change)
    last = known + _LOOKED_AT
    through = last_change if last >= last_seq else _born(sql, num, last)
    found = _load(
        sql,
        conversation_id,
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? AND m.seq <= ? AND m.born IS NULL"
        " ORDER BY m.seq LIMIT ?",
        (num, known, last, limit + 1),
    )
    if last_change > last_seq:
        found += _load(
            sql,
            conversation_id,
            f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.change > ? AND m.change <= ?"
            " AND m.born IS NOT NULL ORDER BY m.change LIMIT ?",
            (num, after, through, limit + 1),
        )
    return page_of_changes(found, through, last_change, limit)


def newest_changes(sql: sqlite3.Connection, ids: Sequence[ConversationId]) -> dict[ConversationId, int]:
    ordered = list(dict.fromkeys(ids))
    return {
        ordered[place]: change
        for place, change in packed(
            sql,
            "SELECT group_concat(v.column1 || ' ' || c.last_change) FROM (VALUES {values}) v"
            " CROSS JOIN conversation c ON c.id = v.column2",
            list(enumerate(ordered)),
        )
    }


def get_messages(sql: sqlite3.Connection, conversation_id: ConversationId, seqs: Sequence[int]) -> tuple[Message, ...]:
    row = sql.execute("SELECT num FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        return ()
    found: list[Message] = []
    for chunk in chunks([(row[0], int64(seq)) for seq in sorted(set(seqs))]):
        look_up = statement(
            f"SELECT {MESSAGE} FROM (VALUES {{values}}) v CROSS JOIN message m"
            " ON m.conversation = v.column1 AND m.seq = v.column2",
            len(chunk),
            2,
        )
        found += _load(sql, conversation_id, look_up, flat(chunk))
    return tuple(found)


def get_last_message(sql: sqlite3.Connection, conversation_id: ConversationId) -> Message | None:
    found = _load(
        sql,
        conversation_id,
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = (SELECT num FROM conversation WHERE id = ?)"
        " AND m.uncounted IS NULL ORDER BY m.seq DESC LIMIT 1",
        (conversation_id,),
    )
    return found[0] if found else None


def _updates(
    sql: sqlite3.Connection, conversation_id: ConversationId, num: int, after: int, known: int, limit: int
) -> tuple[list[Message], int | None]:
    """Messages up to the seq `known` that changed after `after`, and how far that goes if it is not all of them."""
    horizon = sql.execute(
        "SELECT change FROM message WHERE conversation = ? AND change > ? AND born IS NOT NULL ORDER BY change"
        f" LIMIT 2 OFFSET {_LOOKED_AT - 1}",
        (num, after),
    ).fetchall()
    through = horizon[0][0] if len(horizon) == 2 else None
    found = _load(
        sql,
        conversation_id,
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.change > ? AND m.change <= ?"
        " AND m.born IS NOT NULL AND m.seq <= ? ORDER BY m.change LIMIT ?",
        (num, after, INT64_MAX if through is None else through, known, limit + 1),
    )
    return (found, through) if len(found) <= limit else (found[:limit], found[limit - 1].change)


def _created_up_to(sql: sqlite3.Connection, num: int, change: int, last_seq: int, last_change: int) -> int:
    """The newest seq that was created up to a change number of the conversation; 0 if there is none.

    Messages are created in the order of seq, and a creation number is ahead of its seq by the number of changes before
    it. So it is found in as many looks as that number has binary digits; without changes it needs none.
    """
    low, high = max(0, change - (last_change - last_seq)), min(change, last_seq)
    while low < high:
        middle = (low + high + 1) // 2
        if _born(sql, num, middle) <= change:
            low = middle
        else:
            high = middle - 1
    return low


def _born(sql: sqlite3.Connection, num: int, seq: int) -> int:
    born: int
    (born,) = sql.execute(
        "SELECT ifnull(born, change) FROM message WHERE conversation = ? AND seq = ?", (num, seq)
    ).fetchone()
    return born


def list_read_marks(
    sql: sqlite3.Connection, conversation_id: ConversationId, after: UserId | None, limit: int
) -> ReadMarkPage:
    row = sql.execute("SELECT num FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    marks = [] if row is None else _marks(sql, row[0], after, limit + 1)
    return ReadMarkPage(tuple(marks[:limit]), has_more=len(marks) > limit)


def list_readers(sql: sqlite3.Connection, parts: Sequence[Part]) -> frozenset[Part]:
    found: set[Part] = set()
    for chunk in chunks(parts):
        wanted = statement(
            "SELECT v.column1, v.column2 FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column1"
            " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column2"
            " WHERE p.read_seq >= p.since_seq",
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
    messages = _load(
        sql,
        conversation_id,
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq > ? ORDER BY m.seq LIMIT ?",
        (row[0], int64(after_seq), limit + 1),
    )
    return MessagePage(tuple(messages[:limit]), has_more=len(messages) > limit)


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
    return [
        conversation_draft(load_conversation(row), dedupe_key, activity_at_ms)
        for dedupe_key, activity_at_ms, *row in rows
    ]


def _newest(
    sql: sqlite3.Connection, conversation_id: ConversationId, num: int, below: int, limit: int
) -> list[Message]:
    found = _load(
        sql,
        conversation_id,
        f"SELECT {MESSAGE} FROM message m WHERE m.conversation = ? AND m.seq < ? ORDER BY m.seq DESC LIMIT ?",
        (num, below, limit),
    )
    return found[::-1]


def _load(
    sql: sqlite3.Connection, conversation_id: ConversationId, query: str, parameters: Sequence[str | int | None]
) -> list[Message]:
    return [load_message(conversation_id, row) for row in sql.execute(query, parameters)]


def _marks(sql: sqlite3.Connection, num: int, after: UserId | None, limit: int) -> list[ReadMark]:
    rows = sql.execute(
        "SELECT user_id, read_seq, read_at_ms FROM participant WHERE conversation = ?"
        f" {'' if after is None else 'AND user_id > ?'} ORDER BY user_id LIMIT ?",
        (num, limit) if after is None else (num, after, limit),
    )
    return [ReadMark(*row) for row in rows]


def _part(sql: sqlite3.Connection, num: int, user_id: UserId | None) -> tuple[ReadMark, int, int, OwnSettings] | None:
    """A participant's mark, how many messages after it do not count, how many mention the participant, and the own
    settings; None for somebody who does not take part."""
    row = sql.execute(
        "SELECT p.read_seq, p.read_at_ms, (SELECT count(*) FROM message x"
        " WHERE x.conversation = p.conversation AND x.seq > p.read_seq AND x.uncounted IS NOT NULL),"
        " (SELECT count(*) FROM mention x"
        " WHERE x.conversation = p.conversation AND x.user_id = p.user_id AND x.seq > p.read_seq),"
        f" {SETTINGS} FROM participant p WHERE p.conversation = ? AND p.user_id = ?",
        (num, user_id),
    ).fetchone()
    if row is None or user_id is None:
        return None
    read_seq, read_at_ms, uncounted, unread_mentions, bits = row
    return ReadMark(user_id, read_seq, read_at_ms), uncounted, unread_mentions, load_settings(bits)


def _with_special(sql: sqlite3.Connection, num: int, conversation: Conversation, user_id: UserId) -> Conversation:
    """With the role and the entry of a participant who is not among the first."""
    rows = sql.execute(
        "SELECT user_id, role, since_seq, first_seq FROM participant WHERE conversation = ? AND user_id = ?",
        (num, user_id),
    )
    roles, entries = load_special(rows.fetchall())
    return replace(conversation, roles={**conversation.roles, **roles}, entries={**conversation.entries, **entries})
