"""A deploy in the middle of the day: the server stops and a new one starts, again and again, while people chat.

`make attack` does it five times under 200 clients that send 100 messages a second; otherwise it is a part of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from support import database as db
from support.node import missing_node, require
from support.servers import ROOT, ServerProcess, running, token
from support.waiting import DEADLINE_S

FULL: Final = os.environ.get("WEBSOCKET_TEST_ATTACK") == "full"
CLIENTS: Final = 200 if FULL else 40
RESTARTS: Final = 5 if FULL else 2
PER_SECOND: Final = 100 if FULL else 40
ROOM: Final = 10
# How long people talk before a restart, once all are back.
TALK_S: Final = 5.0 if FULL else 1.0
# Three attempts, the last after up to 15 s; a busy machine takes longer.
BACK_S: Final = 90.0
DRIVER: Final = Path(__file__).parent / "rolling.js"


class People:
    """The clients, all in one Node process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        async with asyncio.timeout(3 * DEADLINE_S):
            line = await self._process.stdout.readline()
        assert line, "the Node process ended"
        return json.loads(line)

    async def until(self, what: str, condition: Any, deadline_s: float = BACK_S) -> Any:
        """The first state of which `condition` holds."""
        end_s = time.monotonic() + deadline_s
        while not condition(state := await self.ask("state")):
            assert time.monotonic() < end_s, f"not within {deadline_s:g} s: {what}; {state}"
            await asyncio.sleep(0.05)
        return state


@contextlib.asynccontextmanager
async def chatting(url: str) -> AsyncIterator[People]:
    """Clients that talk in rooms of ROOM."""
    users = [f"user{number}" for number in range(CLIENTS)]
    people = [{"user": user, "token": token(user)} for user in users]
    rooms = [people[first : first + ROOM] for first in range(0, CLIENTS, ROOM)]
    process = await asyncio.create_subprocess_exec(
        "node",
        str(DRIVER),
        json.dumps({"url": url, "rooms": rooms, "perSecond": PER_SECOND}),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    try:
        yield People(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@dataclass
class Restarts:
    """What was seen of them: milliseconds."""

    stopped_ms: list[float] = field(default_factory=list)
    listening_ms: list[float] = field(default_factory=list)
    began_ms: list[float] = field(default_factory=list)

    async def restart(self, server: ServerProcess) -> None:
        """SIGTERM, and a new server on the same port."""
        self.began_ms.append(time.time() * 1000)
        started_s = time.monotonic()
        assert await server.terminate() == 0
        self.stopped_ms.append((time.monotonic() - started_s) * 1000)
        await server.start()
        self.listening_ms.append((time.monotonic() - started_s) * 1000)


@pytest.mark.timeout(600 if FULL else 180)
async def test_restarts_under_load(tmp_path: Path) -> None:
    """Every message is stored and acked once in effect; everybody comes back, resumes, and has rebuilt the conversation
    without a hole, in order, and nothing twice."""
    require(missing_node())
    restarts = Restarts()
    async with running(tmp_path / "chat.db") as server, chatting(server.url) as people:
        await people.until("all are there", lambda state: state["ready"] == CLIENTS)
        for number in range(RESTARTS):
            await asyncio.sleep(TALK_S)  # so much of a conversation between two restarts
            joins = (await people.ask("state"))["joins"]
            await restarts.restart(server)
            await people.until(
                f"all are back after restart {number + 1}",
                lambda state, joins=joins: (
                    state["ready"] == CLIENTS
                    and all(now > before for now, before in zip(state["joins"], joins, strict=True))
                ),
            )
        await people.ask("stop")
        await people.until("everything is acked", lambda state: state["unacked"] == 0)
        rows = db.messages(server.database)
        stored: dict[str, list[list[Any]]] = {}
        for row in rows:
            stored.setdefault(row.conversation_id, []).append([row.seq, row.id, row.sender_id, row.idempotency_key])

        def complete(report: Any) -> bool:
            return all(len(person["messages"]) == len(stored[person["conversation"]]) for person in report["people"])

        end_s = time.monotonic() + BACK_S
        while not complete(report := await people.ask("report")) and time.monotonic() < end_s:
            await asyncio.sleep(0.05)
        state = await people.ask("state")

    by_key = {(row.sender_id, row.idempotency_key): [row.seq, row.id] for row in rows}
    acked = {(person["user"], key): ack for person in report["people"] for key, ack in person["acks"]}
    back_ms = [
        [next(at for at, _ in person["resumes"] if at > began_ms) - began_ms for person in report["people"]]
        for began_ms in restarts.began_ms
    ]
    figures = {
        "clients": CLIENTS,
        "restarts": RESTARTS,
        "messages": len(rows),
        "acked": state["acked"],
        "resent": state["resent"],
        "answered as a duplicate": state["duplicates"],
        "lost": len(acked.keys() - by_key.keys()),
        "doubled": len(db.doubles(rows)),
        "holes": len(db.holes(rows)),
        "missed and got by resuming": sum(missed for person in report["people"] for _, missed in person["resumes"]),
        "told why": sum(state["ended"].values()),
        "gave up and pressed the button": state["gaveUp"],
        "SIGTERM to exit, ms": spread(restarts.stopped_ms),
        "SIGTERM to the new server, ms": spread(restarts.listening_ms),
        "SIGTERM to back, a client, ms": spread([ms for each in back_ms for ms in each]),
        "SIGTERM to all back, ms": spread([max(each) for each in back_ms]),
    }
    print()
    for name, value in figures.items():
        print(f"  {name}: {value}")
    assert set(state["ended"]) == {"restart"}
    assert state["refused"] == []
    assert state["sent"] == state["acked"] == len(rows) == len(acked)
    assert acked == by_key
    assert db.doubles(rows) == []
    assert db.holes(rows) == []
    assert state["holes"] == 0
    for person in report["people"]:
        assert person["messages"] == stored[person["conversation"]], person["user"]


def spread(values: list[float]) -> str:
    return f"median {statistics.median(values):.0f}, max {max(values):.0f}"
