"""What the SQLite store writes: functions over one connection, inside a transaction of their caller.

Many calls need a constant number of statements, whatever their number (rows.py says why).
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...chat.domain import UNTOUCHED, ConversationId, Message, ReadMark, UserId
from ...chat.own_settings import OwnSettings
from ...errors import ConversationNotFound, IdempotencyConflict
from ..encoding import dump_extra, dump_later, dump_metadata, int64
from ..numbering import Standing, plan
from ..results import Created
from ..writes import (
    Advance,
    Alter,
    Append,
    Create,
    Key,
    Numbered,
    Part,
    Place,
    Reform,
    SetProfile,
    SetSettings,
    Write,
    plan_advances,
    plan_profiles,
)
from .conversations import insert_conversation, load_conversations, store_changes
from .reads import get_profiles
from .rows import (
    CONVERSATION,
    KEPT_BITS,
    MESSAGE,
    SETTINGS,
    Row,
    chunks,
    dump_settings,
    execute_many,
    flat,
    load_conversation,
    load_message,
    load_settings,
    packed,
    statement,
)

_PLAIN: Final = 9  # columns of a message to which nothing has happened and that has nothing special

_Marks = dict[tuple[int, UserId], tuple[int, int | None]]
"""Read marks to be raised: seq and time, by conversation number and user."""


def apply(sql: sqlite3.Connection, writes: Iterable[Write]) -> None:
    """Do all these writes, in the transaction that is open, and leave in each its result or its ChatError.

    The calls are all under way at once, so that conversations may be made first and read marks moved last. What takes
    numbers keeps the order of the calls, of whatever kind they are: announcements follow the numbers.
    Raises: sqlite3.Error, ValueError or OverflowError; then nothing counts, and the transaction must be rolled back.
    """
    creates: list[Create] = []
    numbered: list[Numbered] = []
    advances: list[Advance] = []
    profiles: list[SetProfile] = []
    settings: list[SetSettings] = []
    for write in writes:
        write.result = write.error = None  # of a first try that was rolled back
        if isinstance(write, Append | Alter | Reform):
            numbered.append(write)
        elif isinstance(write, Create):
            creates.append(write)
        elif isinstance(write, Advance):
            advances.append(write)
        elif isinstance(write, SetSettings):
            settings.append(write)
        else:
            profiles.append(write)
    for create in creates:
        _create(sql, create)
    if numbered:
        _write_messages(sql, numbered)
    if advances:
        _advance(sql, advances)
    if settings:
        _set_settings(sql, settings)
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
    insert_conversation(sql, draft)
    create.result = Created(draft.made(), duplicate=False)


def _write_messages(sql: sqlite3.Connection, calls: Sequence[Numbered]) -> None:
    nums, standings = _load_standings(sql, {call.draft.conversation_id for call in calls})
    appends = [call for call in calls if isinstance(call, Append) and call.draft.conversation_id in nums]
    alters = [call for call in calls if isinstance(call, Alter) and call.draft.conversation_id in nums]
    reforms = [call for call in calls if isinstance(call, Reform) and call.draft.conversation_id in nums]
    keyed: list[Append | Reform] = [*appends, *reforms]
    originals = _load_originals(sql, nums, keyed) if keyed else {}
    before = load_conversations(sql, nums, reforms) if reforms else {}
    after = dict(before)
    steps = plan(calls, standings, originals, _load_stored(sql, nums, alters) if alters else {}, after)
    for conversation_id, conversation in after.items():
        store_changes(sql, nums[conversation_id], before[conversation_id], conversation)
    if not steps:
        return
    marks: _Marks = {}
    new: list[Row] = []
    moved: list[Row] = []
    for step in steps:
        message = step.message
        num = nums[message.conversation_id]
        if step.before is not None:
            moved.append(_moved_row(num, message, step.metadata))
        else:
            new.append(_row(num, message, step.metadata))
            marks[num, message.sender_id] = (message.seq, message.created_at_ms)
    _insert(sql, new)
    execute_many(
        sql,
        "UPDATE message SET change = v.column3, body = v.column4, metadata = v.column5, extra = v.column6,"
        " born = v.column7, later = v.column8, uncounted = v.column9 FROM (VALUES {values}) v"
        " WHERE conversation = v.column1 AND seq = v.column2",
        moved,
    )
    _change_mentions(sql, [(nums[step.message.conversation_id], step.before, step.message) for step in steps])
    _raise_conversations(sql, [(nums[each], at) for each, at in standings.items()])
    _raise_marks(sql, marks)
    for step in steps:
        step.settle()


def copy_messages(sql: sqlite3.Connection, messages: Sequence[Message], activity_at_ms: int) -> None:
    """The method of `Copyable`, in the transaction that is open."""
    conversation_id = messages[0].conversation_id
    nums, standings = _load_standings(sql, {conversation_id})
    if conversation_id not in nums:
        raise ConversationNotFound
    num, at = nums[conversation_id], standings[conversation_id]
    try:
        _insert(sql, [_row(num, message, dump_metadata(message.metadata)) for message in messages])
    except sqlite3.IntegrityError as error:
        raise IdempotencyConflict from error
    _change_mentions(sql, [(num, None, message) for message in messages])
    at.seq = messages[-1].seq
    at.change = max(at.change, *(message.change for message in messages))
    at.activity_at_ms = max(at.activity_at_ms, activity_at_ms)
    _raise_conversations(sql, [(num, at)])


def _insert(sql: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Insert messages, in order: those that are plain, as nearly all are, without the columns that are empty then."""
    start = 0
    while start < len(rows):
        width = len(rows[start])
        end = start + 1
        while end < len(rows) and len(rows[end]) == width:
            end += 1
        execute_many(
            sql,
            "INSERT INTO message (conversation, seq, change, id, sender_id, idempotency_key, body, metadata,"
            f" created_at_ms{', extra, born, later, uncounted' if width > _PLAIN else ''}) VALUES {{values}}",
            rows[start:end],
        )
        start = end


def _row(num: int, message: Message, metadata: str | None) -> Row:
    """The columns of a message, as `_insert` names them; `metadata` is the message's, as JSON text."""
    plain = (
        num,
        message.seq,
        message.change,
        message.id,
        message.sender_id,
        message.idempotency_key,
        message.body,
        metadata,
        message.created_at_ms,
    )
    if message.later is UNTOUCHED and message.reply_to is None and not message.mentions and message.system is None:
        return plain
    return *plain, dump_extra(message), *_later(message)


def _moved_row(num: int, message: Message, metadata: str | None) -> Row:
    """A message's place, and what changes with its number."""
    return num, message.seq, message.change, message.body, metadata, dump_extra(message), *_later(message)


def _later(message: Message) -> Row:
    return message.later.born or None, dump_later(message.later), None if message.counts else 1


def _change_mentions(sql: sqlite3.Connection, changed: Iterable[tuple[int, Message | None, Message]]) -> None:
    """Note whom messages mention: as they were stored, None if they are new, and as they are now."""
    added: list[Row] = []
    removed: list[Row] = []
    for num, before, message in changed:
        mentions = before.mentions if before is not None else ()
        if mentions != message.mentions:
            added += [(num, user_id, message.seq) for user_id in message.mentions if user_id not in mentions]
            removed += [(num, user_id, message.seq) for user_id in mentions if user_id not in message.mentions]
    execute_many(sql, "INSERT OR IGNORE INTO mention (conversation, user_id, seq) VALUES {values}", added)
    execute_many(sql, "DELETE FROM mention WHERE (conversation, user_id, seq) IN (VALUES {values})", removed)


def _raise_conversations(sql: sqlite3.Connection, standings: Sequence[tuple[int, Standing]]) -> None:
    execute_many(
        sql,
        "UPDATE conversation SET last_seq = v.column2, last_change = v.column3, activity_at_ms = v.column4"
        " FROM (VALUES {values}) v WHERE num = v.column1",
        [(num, at.seq, at.change, at.activity_at_ms) for num, at in standings],
    )


def _load_standings(
    sql: sqlite3.Connection, ids: Iterable[ConversationId]
) -> tuple[dict[ConversationId, int], dict[ConversationId, Standing]]:
    """The rows' numbers of those conversations that exist, and where they stand."""
    ordered = list(ids)
    nums: dict[ConversationId, int] = {}
    standings: dict[ConversationId, Standing] = {}
    for place, num, seq, change, activity_at_ms in packed(
        sql,
        "SELECT group_concat(v.column1 || ' ' || c.num || ' ' || c.last_seq || ' ' || c.last_change || ' '"
        " || c.activity_at_ms) FROM (VALUES {values}) v CROSS JOIN conversation c ON c.id = v.column2",
        [(place, conversation_id) for place, conversation_id in enumerate(ordered)],
    ):
        nums[ordered[place]] = num
        standings[ordered[place]] = Standing(seq, change, activity_at_ms)
    return nums, standings


def _load_originals(
    sql: sqlite3.Connection, nums: Mapping[ConversationId, int], appends: Sequence[Append | Reform]
) -> dict[Key, Message]:
    """The messages that are stored already. Few: most keys are new."""
    keys = [(nums[conversation_id], sender_id, key) for conversation_id, sender_id, key in (a.key for a in appends)]
    # CROSS JOIN keeps this order: for each wanted key one look into the index message_key.
    found = _load(
        sql,
        nums,
        f"SELECT m.conversation, {MESSAGE} FROM (VALUES {{values}}) v CROSS JOIN message m"
        " ON m.conversation = v.column1 AND m.sender_id = v.column2 AND m.idempotency_key = v.column3",
        keys,
    )
    return {(each.conversation_id, each.sender_id, each.idempotency_key): each for each in found}


def _load_stored(
    sql: sqlite3.Connection, nums: Mapping[ConversationId, int], alters: Sequence[Alter]
) -> dict[Place, Message]:
    """The messages that are to be changed, those that exist."""
    places = dict.fromkeys((nums[conversation_id], int64(seq)) for conversation_id, seq in (a.place for a in alters))
    found = _load(
        sql,
        nums,
        f"SELECT m.conversation, {MESSAGE} FROM (VALUES {{values}}) v CROSS JOIN message m"
        " ON m.conversation = v.column1 AND m.seq = v.column2",
        list(places),
    )
    return {(each.conversation_id, each.seq): each for each in found}


def _load(
    sql: sqlite3.Connection, nums: Mapping[ConversationId, int], template: str, wanted: Sequence[Row]
) -> Iterator[Message]:
    ids = {num: conversation_id for conversation_id, num in nums.items()}
    for chunk in chunks(wanted):
        for num, *row in sql.execute(statement(template, len(chunk), len(chunk[0])), flat(chunk)):
            yield load_message(ids[num], row)


def _advance(sql: sqlite3.Connection, advances: Sequence[Advance]) -> None:
    wanted = list(dict.fromkeys((advance.conversation_id, advance.user_id) for advance in advances))
    marks: dict[Part, ReadMark] = {}
    nums: dict[ConversationId, int] = {}
    last_seqs: dict[ConversationId, int] = {}
    own: dict[Part, OwnSettings] = {}
    for place, num, last_seq, read_seq, bits, *read_at_ms in packed(
        sql,
        "SELECT group_concat(v.column1 || ' ' || c.num || ' ' || c.last_seq || ' ' || p.read_seq || ' '"
        f" || {SETTINGS} || ' ' || ifnull(p.read_at_ms, '')) FROM (VALUES {{values}}) v"
        " CROSS JOIN conversation c ON c.id = v.column2"
        " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column3",
        [(place, *part) for place, part in enumerate(wanted)],
    ):
        conversation_id, user_id = wanted[place]
        marks[conversation_id, user_id] = ReadMark(user_id, read_seq, read_at_ms[0] if read_at_ms else None)
        nums[conversation_id], last_seqs[conversation_id] = num, last_seq
        if bits:
            own[wanted[place]] = load_settings(bits)
    moves = plan_advances(advances, marks, last_seqs)
    _raise_marks(
        sql,
        {
            (nums[conversation_id], user_id): (mark.read_seq, mark.read_at_ms)
            for (conversation_id, user_id), mark in moves.moved.items()
        },
    )
    ended = moves.ended({part: marks[part].read_seq for part, settings in own.items() if settings.marked_unread})
    unmarked = {part: replace(own[part], marked_unread=False) for part in ended}
    _store_settings(sql, [(nums[part[0]], part[1], settings) for part, settings in unmarked.items()])
    above = list(dict.fromkeys(moves.above()))
    uncounted = {
        above[place]: count
        for place, count in packed(
            sql,
            "SELECT group_concat(v.column1 || ' ' || (SELECT count(*) FROM message WHERE conversation = v.column2"
            " AND seq > v.column3 AND uncounted IS NOT NULL)) FROM (VALUES {values}) v",
            [(place, nums[conversation_id], seq) for place, (conversation_id, seq) in enumerate(above)],
        )
    }
    moves.settle(uncounted, unmarked)


def _raise_marks(sql: sqlite3.Connection, marks: _Marks) -> None:
    execute_many(
        sql,
        "UPDATE participant SET read_seq = v.column3, read_at_ms = v.column4 FROM (VALUES {values}) v"
        " WHERE conversation = v.column1 AND user_id = v.column2 AND read_seq < v.column3",
        [(num, user_id, seq, at_ms) for (num, user_id), (seq, at_ms) in marks.items()],
    )


def _set_settings(sql: sqlite3.Connection, calls: Sequence[SetSettings]) -> None:
    wanted = list(dict.fromkeys(call.part for call in calls))
    nums: dict[Part, int] = {}
    own: dict[Part, OwnSettings] = {}
    for place, num, bits in packed(
        sql,
        f"SELECT group_concat(v.column1 || ' ' || c.num || ' ' || {SETTINGS}) FROM (VALUES {{values}}) v"
        " CROSS JOIN conversation c ON c.id = v.column2"
        " CROSS JOIN participant p ON p.conversation = c.num AND p.user_id = v.column3",
        [(place, *part) for place, part in enumerate(wanted)],
    ):
        nums[wanted[place]], own[wanted[place]] = num, load_settings(bits)
    before = dict(own)
    for call in calls:
        if call.part in own:
            own[call.part] = call.update.onto(own[call.part])
    changed = [(nums[part], part[1], settings) for part, settings in own.items() if settings != before[part]]
    _store_settings(sql, changed)
    for call in calls:
        if call.part in own:
            call.result = own[call.part]
        else:
            call.error = ConversationNotFound()


def _store_settings(sql: sqlite3.Connection, changed: Sequence[tuple[int, UserId, OwnSettings]]) -> None:
    execute_many(
        sql,
        "UPDATE participant SET settings = v.column3, marked_seq = CASE v.column4 WHEN 1 THEN read_seq END"
        " FROM (VALUES {values}) v WHERE conversation = v.column1 AND user_id = v.column2",
        [
            (num, user_id, dump_settings(settings) & KEPT_BITS, int(settings.marked_unread))
            for num, user_id, settings in changed
        ],
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
