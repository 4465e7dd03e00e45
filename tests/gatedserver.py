"""The server with a store that can be made to hang: its writer waits before it stores a message while a file exists.

usage: python tests/gatedserver.py GATE [arguments of python -m socketserver]
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from socketserver import cli  # noqa: E402
from socketserver.store.sqlite import statements as sqlite_sql  # noqa: E402

import watchedserver  # noqa: E402

apply = sqlite_sql.apply
gate = Path(sys.argv[1])


def apply_when_open(sql: sqlite3.Connection, writes: Iterable[sqlite_sql.Write]) -> None:
    """As the store's own; the writer's thread is held up, as it is by a disk that does not answer."""
    writes = list(writes)
    if any(isinstance(write, sqlite_sql.Append) for write in writes):
        while gate.exists():
            time.sleep(0.005)
    apply(sql, writes)


sqlite_sql.apply = apply_when_open
watchedserver.watch()
sys.exit(cli.main(sys.argv[2:]))
