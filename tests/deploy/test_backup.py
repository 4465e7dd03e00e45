"""The backup of docs/operations.md, made while the server writes, and the server that is started on it."""

from __future__ import annotations

import asyncio
import re
import shlex
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from socketserver.store.sqlite.schema import APPLICATION_ID, MIGRATIONS

from support import database as db
from support.servers import running
from support.waiting import eventually
from support.wire import WirePerson, wire_to

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
WRITERS = 4
ACKED_BEFORE = 200
DEADLINE_S = 60.0


def command_of_the_page(start: str, end: str, paths: dict[str, Path]) -> list[str]:
    """The only command that begins and ends like this, without sudo, for other paths."""
    page = OPERATIONS.read_text(encoding="utf-8")
    [line] = re.findall(rf"^    sudo ({re.escape(start)}.*{re.escape(end)})$", page, flags=re.M)
    program, option, script = shlex.split(line)
    for shipped, here in paths.items():
        assert script.count(shipped) == 1
        script = script.replace(shipped, str(here))
    return [sys.executable if program == "python3" else program, option, script]


def backup_command(database: Path, copy: Path) -> list[str]:
    paths = {"/var/lib/socketserver/chat.db": database, "/var/backups/chat.db": copy}
    return command_of_the_page('python3 -c "import sqlite3;', '"', paths)


def restore_command(database: Path, copy: Path) -> list[str]:
    assert database.name == "chat.db"
    return command_of_the_page(
        "sh -c", "chat.db'", {"/var/lib/socketserver": database.parent, "/var/backups/chat.db": copy}
    )


async def run(command: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_backup_under_load(database: Path, tmp_path: Path) -> None:
    """The copy has every message that was acked before it was begun, without a hole. Restored in the place of what a
    killed server left, it is served, takes new messages, and knows those that are sent again."""
    acked: dict[str, str] = {}  # key → body
    copy = tmp_path / "copy.db"

    async def write(person: WirePerson, chat: str, number: int) -> None:
        count = 0
        while not enough.is_set():
            key = body = f"{number}-{count}"
            await person.send(chat, body, key=key)
            acked[key] = body
            count += 1

    unlimited = {"messages_per_second": 0, "sockets_per_user": 0}
    async with running(database, **unlimited) as server, wire_to(server.url) as wire:
        people = await wire.people(*(f"user-{number}" for number in range(WRITERS)))
        chat = await people[0].create(*(person.id for person in people[1:]))
        enough = asyncio.Event()
        writing = [asyncio.create_task(write(person, chat, number)) for number, person in enumerate(people)]
        try:
            await eventually("enough is acked", lambda: len(acked) > ACKED_BEFORE, deadline_s=DEADLINE_S)
            before = dict(acked)
            assert await run(backup_command(database, copy)) == (0, "")
            during = len(acked)
            await eventually("writing goes on", lambda: len(acked) > during, deadline_s=DEADLINE_S)
        finally:
            enough.set()
            await asyncio.gather(*writing)
        await server.kill()
    assert database.with_name("chat.db-wal").stat().st_size > 0

    with closing(sqlite3.connect(copy)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert sql.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert sql.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    rows = db.messages(copy)
    assert before.items() <= {row.idempotency_key: row.body for row in rows}.items()
    assert (db.holes(rows), db.doubles(rows)) == ([], [])

    assert await run(restore_command(database, copy)) == (0, "")
    async with running(database, **unlimited) as server, wire_to(server.url) as wire:
        [person] = await wire.people("user-0")
        newest = (await person.join(chat, limit=1))["messages"]
        assert [message["seq"] for message in newest] == [len(rows)]
        [again] = await wire.people(rows[0].sender_id)
        ack = await again.send(chat, rows[0].body, key=rows[0].idempotency_key)
        assert (ack["duplicate"], ack["message"]["seq"]) == (True, 1)
        assert (await person.send(chat, "after"))["message"]["seq"] == len(rows) + 1
    assert db.messages(database)[:-1] == rows


async def test_a_backup_of_nothing_is_refused(tmp_path: Path) -> None:
    """A mistyped path does not make an empty backup, and an older backup is not written over."""
    status, output = await run(backup_command(tmp_path / "missing.db", tmp_path / "copy.db"))
    assert status != 0
    assert "unable to open database file" in output
    assert list(tmp_path.iterdir()) == []

    with closing(sqlite3.connect(tmp_path / "chat.db")) as sql:
        sql.execute("CREATE TABLE t (x)")
    assert await run(backup_command(tmp_path / "chat.db", tmp_path / "copy.db")) == (0, "")
    yesterday = (tmp_path / "copy.db").read_bytes()
    status, output = await run(backup_command(tmp_path / "chat.db", tmp_path / "copy.db"))
    assert status != 0
    assert "already exists" in output
    assert (tmp_path / "copy.db").read_bytes() == yesterday
