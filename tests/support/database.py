"""A look into the SQLite file of a server under test, past the server."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table; equal if and only if nothing was written."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as sql:
        tables = [name for (name,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {table: sorted(sql.execute(f'SELECT * FROM "{table}"'), key=repr) for table in tables}


@dataclass(frozen=True, slots=True)
class Row:
    """A stored message."""

    conversation_id: str
    seq: int
    change: int
    id: str
    sender_id: str
    idempotency_key: str
    body: str


def messages(path: Path) -> list[Row]:
    """All messages, by conversation and seq."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as sql:
        return [
            Row(*row)
            for row in sql.execute(
                "SELECT c.id, m.seq, m.change, m.id, m.sender_id, m.idempotency_key, m.body"
                " FROM message m JOIN conversation c ON c.num = m.conversation ORDER BY c.id, m.seq"
            )
        ]


def holes(rows: list[Row]) -> list[str]:
    """Where the numbers of a conversation are not 1, 2, 3, …; a sentence for each."""
    found = []
    for conversation_id in sorted({row.conversation_id for row in rows}):
        own = [row for row in rows if row.conversation_id == conversation_id]
        expected = list(range(1, len(own) + 1))
        for name, numbers in (("seq", [row.seq for row in own]), ("change", sorted(row.change for row in own))):
            if numbers != expected:
                missing = sorted(set(expected) - set(numbers))
                found.append(f"{conversation_id}: {name} misses {missing[:10]} of {len(own)}")
    return found


def doubles(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Messages stored more than once: the same conversation, sender and key."""
    count = Counter((row.conversation_id, row.sender_id, row.idempotency_key) for row in rows)
    return [key for key, number in count.items() if number > 1]
