"""How rows of SQLite become values of the chat, and how many of them go into one statement. Knows no table's meaning.

sqlite3 gives up the GIL for every step of a statement, and a thread that does so row by row waits for the event loop
row by row. Hence the lists of VALUES, of which a constant number of statements serves any number of rows, and the
answers packed into one text.
Source: docs/decisions/0010-one-statement-for-many.md
"""

# ruff: noqa: S608 - statements are put together from constants of this package; values are always parameters

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ...chat.domain import UNTOUCHED, Conversation, ConversationId, Entry, Message, MessageId, Role, UserId
from ...chat.own_settings import UNSETTLED, OwnSettings
from ..encoding import load_extra, load_later, load_metadata

Row = tuple[str | int | None, ...]

# 256 rows of thirteen columns stay far below the 32 766 parameters that a statement may have.
_ROWS_PER_STATEMENT: Final = 256

# As `load_message` reads them.
MESSAGE: Final = (
    "m.seq, m.change, m.id, m.sender_id, m.idempotency_key, m.body, m.metadata, m.created_at_ms,"
    " m.extra, m.born, m.later"
)


def conversation_columns(participants: int = -1) -> str:
    """As `load_conversation` reads them, with the first so many participants; -1 for all."""
    # Packed into one text, because every row more would be a turn of the GIL: all ids, and what few participants have.
    return (
        "c.num, c.id, c.kind, c.title, c.created_by, c.created_at_ms, c.participant_count, c.metadata, c.rev,"
        " (SELECT json_array(json_group_array(user_id),"
        " json_group_array(json_array(user_id, role, since_seq, first_seq))"
        " FILTER (WHERE role IS NOT NULL OR since_seq > 1)) FROM"
        " (SELECT user_id, role, since_seq, first_seq FROM participant WHERE conversation = c.num"
        f" ORDER BY user_id LIMIT {participants:d}))"
    )


CONVERSATION: Final = conversation_columns()
CONVERSATION_WIDTH: Final = 10


# A participant's own settings, as `load_settings` reads them. What was marked as unread is so until the mark moves.
SETTINGS: Final = "(p.settings | ((p.marked_seq IS p.read_seq) << 3))"

_BITS: Final = ("muted", "pinned", "archived", "marked_unread")
KEPT_BITS: Final = 7  # those that stay until they are taken back


def load_settings(bits: int) -> OwnSettings:
    """Of SETTINGS."""
    return OwnSettings(*(bool(bits >> place & 1) for place in range(len(_BITS)))) if bits else UNSETTLED


def dump_settings(settings: OwnSettings) -> int:
    """What `load_settings` reads."""
    return sum(getattr(settings, name) << place for place, name in enumerate(_BITS))


def load_message(conversation_id: ConversationId, row: Sequence[Any]) -> Message:
    """Of the columns of MESSAGE."""
    seq, change, message_id, sender_id, key, body, metadata, created_at_ms, extra, born, later = row
    reply_to, mentions, system = load_extra(extra)
    return Message(
        MessageId(message_id),
        conversation_id,
        seq,
        change,
        sender_id,
        key,
        body,
        load_metadata(metadata),
        created_at_ms,
        reply_to,
        mentions,
        UNTOUCHED if born is None and later is None else load_later(born, later),
        system,
    )


def load_conversation(row: Sequence[Any]) -> Conversation:
    """Of the columns that `conversation_columns` names."""
    _, conversation_id, kind, title, created_by, created_at_ms, count, metadata, rev, people = row
    user_ids, special = json.loads(people)
    roles, entries = load_special(special)
    return Conversation(
        conversation_id,
        kind,
        title,
        created_by,
        user_ids,
        created_at_ms,
        count,
        load_metadata(metadata),
        roles,
        entries,
        rev,
    )


def load_special(special: Sequence[Sequence[Any]]) -> tuple[dict[UserId, Role], dict[UserId, Entry]]:
    """Roles and entries, of rows with user_id, role, since_seq and first_seq."""
    roles = {user_id: role for user_id, role, _, _ in special if role is not None}
    return roles, {user_id: Entry(since, first) for user_id, _, since, first in special if since > 1}


def execute_many(sql: sqlite3.Connection, template: str, rows: Sequence[Row]) -> None:
    """Execute a statement whose `{values}` are these rows."""
    for chunk in chunks(rows):
        sql.execute(statement(template, len(chunk), len(chunk[0])), flat(chunk))


def packed(sql: sqlite3.Connection, template: str, rows: Sequence[Row]) -> Iterator[tuple[int, ...]]:
    """The rows of integers that a statement packed into one text: '0 7 12,1 8 3'."""
    for chunk in chunks(rows):
        (text,) = sql.execute(statement(template, len(chunk), len(chunk[0])), flat(chunk)).fetchone()
        if text is not None:
            for part in text.split(","):
                yield tuple(map(int, part.split()))


def chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows into powers of two, so that a few prepared statements serve every number of rows."""
    start = 0
    while start < len(rows):
        size = min(_ROWS_PER_STATEMENT, 1 << ((len(rows) - start).bit_length() - 1))
        yield rows[start : start + size]
        start += size


@functools.lru_cache(maxsize=256)
def statement(template: str, rows: int, columns: int) -> str:
    """The template with its parameters; the same text every time, so that sqlite3 prepares it once."""
    row = f"({', '.join('?' * columns)})"
    return template.format(values=", ".join([row] * rows))


def flat(rows: Sequence[Row]) -> list[str | int | None]:
    """The parameters of such a statement."""
    return [value for row in rows for value in row]
