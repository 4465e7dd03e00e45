"""What the SQLite store reads for a user's list, and of what participants have settled for themselves.

As reads.py: functions over one connection, inside a transaction of their caller.
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import sqlite3

from ...chat.domain import ConversationId, ConversationSummary, UserId
from ...chat.own_settings import OwnSettings
from ..encoding import int64
from ..results import ConversationPage
from .rows import (
    CONVERSATION_WIDTH,
    MESSAGE,
    SETTINGS,
    conversation_columns,
    load_conversation,
    load_message,
    load_settings,
)


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
        "SELECT c.last_seq, c.last_change, c.activity_at_ms, p.read_seq, (SELECT count(*) FROM message x"
        " WHERE x.conversation = c.num AND x.seq > p.read_seq AND x.uncounted IS NOT NULL), (SELECT count(*)"
        f" FROM mention x WHERE x.conversation = c.num AND x.user_id = p.user_id AND x.seq > p.read_seq), {SETTINGS},"
        f" p.first_seq, {conversation_columns(-1 if participants is None else participants)}, {MESSAGE} FROM ("
        "SELECT c.num FROM participant p CROSS JOIN conversation c ON c.num = p.conversation WHERE p.user_id = ?"
        f" {'' if before is None else 'AND (c.activity_at_ms, c.id) < (?, ?)'}"
        " ORDER BY c.activity_at_ms DESC, c.id DESC LIMIT ?) v CROSS JOIN conversation c ON c.num = v.num"
        " CROSS JOIN participant p ON p.conversation = v.num AND p.user_id = ?"
        " LEFT JOIN message m ON m.conversation = c.num AND m.seq = (SELECT x.seq FROM message x"
        " WHERE x.conversation = c.num AND x.uncounted IS NULL ORDER BY x.seq DESC LIMIT 1)"
        " ORDER BY c.activity_at_ms DESC, c.id DESC",
        (user_id, *(() if before is None else (int64(before[0]), before[1])), limit + 1, user_id),
    ).fetchall()
    summaries = []
    for last_seq, last_change, activity_at_ms, read_seq, uncounted, unread_mentions, bits, first_seq, *row in rows[
        :limit
    ]:
        conversation = load_conversation(row[:CONVERSATION_WIDTH])
        last = row[CONVERSATION_WIDTH:]
        message = None if last[0] is None else load_message(conversation.id, last)
        summaries.append(
            ConversationSummary(
                conversation,
                message,
                last_seq,
                last_change,
                read_seq,
                activity_at_ms,
                uncounted,
                unread_mentions,
                load_settings(bits),
                first_seq,
            )
        )
    unread = None
    if before is None:
        (unread,) = sql.execute(
            "SELECT count(*) FROM participant p CROSS JOIN conversation c ON c.num = p.conversation"
            " WHERE p.user_id = ? AND p.read_seq < c.last_seq AND c.last_seq - p.read_seq > (SELECT count(*)"
            " FROM message x WHERE x.conversation = c.num AND x.seq > p.read_seq AND x.uncounted IS NOT NULL)",
            (user_id,),
        ).fetchone()
    return ConversationPage(tuple(summaries), len(rows) > limit, unread)


def list_settings(sql: sqlite3.Connection, conversation_id: ConversationId) -> dict[UserId, OwnSettings]:
    rows = sql.execute(
        f"SELECT p.user_id, {SETTINGS} FROM conversation c CROSS JOIN participant p ON p.conversation = c.num"
        f" WHERE c.id = ? AND {SETTINGS} > 0",
        (conversation_id,),
    )
    return {user_id: load_settings(bits) for user_id, bits in rows}
