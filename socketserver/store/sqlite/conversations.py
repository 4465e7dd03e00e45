"""What the SQLite store writes of conversations: new ones, and what has changed of their people and titles.

Functions over one connection, inside a transaction of their caller.
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from ...chat.domain import Conversation, ConversationDraft, ConversationId, UserId
from ...errors import IdempotencyConflict
from ..encoding import dump_metadata, may_become
from ..writes import Reform
from .rows import CONVERSATION, Row, execute_many, load_conversation


def insert_conversation(sql: sqlite3.Connection, draft: ConversationDraft) -> None:
    """Store a conversation that is new, with its people."""
    made = draft.made()
    cursor = sql.execute(
        "INSERT INTO conversation (id, kind, title, created_by, created_at_ms, dedupe_key, activity_at_ms,"
        " participant_count, metadata, rev) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            draft.id,
            draft.kind,
            draft.title,
            draft.created_by,
            draft.created_at_ms,
            draft.dedupe_key,
            draft.place_ms,
            made.participant_count,
            dump_metadata(draft.metadata),
            draft.rev,
        ),
    )
    assert cursor.lastrowid is not None
    _insert_people(sql, cursor.lastrowid, made, made.participant_ids)


def load_conversations(
    sql: sqlite3.Connection, nums: Mapping[ConversationId, int], reforms: Iterable[Reform]
) -> dict[ConversationId, Conversation]:
    """The conversations that are to be changed, with everybody. Few, and rarely more than one in a batch."""
    found = {}
    for conversation_id in dict.fromkeys(reform.draft.conversation_id for reform in reforms):
        num = nums[conversation_id]
        row = sql.execute(f"SELECT {CONVERSATION} FROM conversation c WHERE c.num = ?", (num,)).fetchone()
        found[conversation_id] = load_conversation(row)
    return found


def store_changes(sql: sqlite3.Connection, num: int, before: Conversation, after: Conversation) -> None:
    """Make of a conversation that is stored what has become of it. Who stays keeps the read mark."""
    if after is before:
        return
    sql.execute(
        "UPDATE conversation SET title = ?, metadata = ?, rev = ?, participant_count = ? WHERE num = ?",
        (after.title, dump_metadata(after.metadata), after.rev, after.participant_count, num),
    )
    here, there = set(before.participant_ids), set(after.participant_ids)
    # One who was removed and added again in one batch starts anew.
    again = {user_id for user_id in here & there if before.entry(user_id) != after.entry(user_id)}
    execute_many(
        sql,
        "DELETE FROM participant WHERE (conversation, user_id) IN (VALUES {values})",
        [(num, user_id) for user_id in (here - there) | again],
    )
    _insert_people(sql, num, after, sorted((there - here) | again))
    execute_many(
        sql,
        "UPDATE participant SET role = v.column3 FROM (VALUES {values}) v"
        " WHERE conversation = v.column1 AND user_id = v.column2",
        [
            (num, user_id, after.roles.get(user_id))
            for user_id in before.roles.keys() | after.roles.keys()
            if user_id in there and before.roles.get(user_id) != after.roles.get(user_id)
        ],
    )


def copy_conversation(sql: sqlite3.Connection, draft: ConversationDraft) -> None:
    """The method of `Copyable`, in the transaction that is open."""
    row = sql.execute(f"SELECT {CONVERSATION} FROM conversation c WHERE c.id = ?", (draft.id,)).fetchone()
    if row is None:
        try:
            insert_conversation(sql, draft)
        except sqlite3.IntegrityError as error:
            raise IdempotencyConflict from error
        return
    stored = load_conversation(row)
    if not may_become(stored, draft):
        raise IdempotencyConflict
    if stored.rev < draft.rev:
        store_changes(sql, row[0], stored, draft.made())


def _insert_people(sql: sqlite3.Connection, num: int, conversation: Conversation, user_ids: Iterable[UserId]) -> None:
    rows: list[Row] = []
    for user_id in user_ids:
        entry = conversation.entry(user_id)
        rows.append((num, user_id, entry.since - 1, conversation.roles.get(user_id), entry.since, entry.first_seq))
    execute_many(
        sql,
        "INSERT INTO participant (conversation, user_id, read_seq, role, since_seq, first_seq) VALUES {values}",
        rows,
    )
