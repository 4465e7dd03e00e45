"""The server with a store that can be made to hang: its writer waits before it stores a message while a file exists.
For its signals the time stands still while there is a file `still` beside that.

usage: python tests/support/gated_server.py GATE [arguments of python -m socketserver]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from socketserver import cli, stopping  # noqa: E402
from socketserver.store.sqlite.database import DatabaseFile, SqliteConnection  # noqa: E402

from support import watched_server  # noqa: E402

open_writer = DatabaseFile.writer
gate = Path(sys.argv[1])


def wait_at_the_gate(statement: str) -> None:
    """The writer's thread is held up, as it is by a disk that does not answer."""
    if statement.startswith("INSERT INTO message"):
        while gate.exists():
            time.sleep(0.005)


def gated_writer(file: DatabaseFile, *, create: bool) -> SqliteConnection:
    connection = open_writer(file, create=create)
    connection.sql.set_trace_callback(wait_at_the_gate)
    return connection


class Clock:
    """The clock between two signals."""

    @staticmethod
    def monotonic() -> float:
        return 0.0 if gate.with_name("still").exists() else time.monotonic()


stopping.time = Clock  # type: ignore[assignment,attr-defined]
DatabaseFile.writer = gated_writer  # type: ignore[assignment,method-assign]
watched_server.watch()
sys.exit(cli.main(sys.argv[2:]))
