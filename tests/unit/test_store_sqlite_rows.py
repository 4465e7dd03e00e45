"""Lists of rows in a few statements: how they are cut, filled and packed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from socketserver.store.sqlite.rows import chunks, execute_many, flat, packed, statement

import pytest


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (7, [4, 2, 1]), (256, [256]), (600, [256, 256, 64, 16, 8])]
)
def test_rows_are_cut_into_powers_of_two_in_their_order(count: int, sizes: list[int]) -> None:
    """So that nine prepared statements serve every number of rows."""
    rows = [(number, str(number)) for number in range(count)]
    cut = list(chunks(rows))
    assert [len(each) for each in cut] == sizes
    assert [row for each in cut for row in each] == rows


def test_a_statement_has_a_parameter_for_each_value() -> None:
    assert statement("VALUES {values}", 2, 3) == "VALUES (?, ?, ?), (?, ?, ?)"
    assert flat([(1, "a", None), (2, "b", 3)]) == [1, "a", None, 2, "b", 3]


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_what_is_written_for_many_rows_is_read_packed(count: int) -> None:
    rows = [(number, 10 * number) for number in range(count)]
    with closing(sqlite3.connect(":memory:")) as sql:
        sql.execute("CREATE TABLE t (a, b)")
        execute_many(sql, "INSERT INTO t VALUES {values}", rows)
        found = packed(
            sql,
            "SELECT group_concat(v.column1 || ' ' || t.b) FROM (VALUES {values}) v CROSS JOIN t ON t.a = v.column1",
            [(number,) for number in range(count + 5)],
        )
        assert list(found) == rows
