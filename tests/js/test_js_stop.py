"""A server that is told to stop while clients are in the middle of something: real signals, real clients."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from support import database as db
from support.node import Node
from support.servers import ROOT, ServerProcess
from support.stage import Person, Stage
from support.waiting import DEADLINE_S, eventually

MESSAGES: Final = 5


class Gated:
    """A server whose store hangs while `gate` exists."""

    def __init__(self, database: Path, shutdown_s: float) -> None:
        self.gate = database.with_name("gate")
        self.still = database.with_name("still")
        self.server = ServerProcess(database, shutdown_s=shutdown_s, messages_per_second=0)
        self.server.program = (str(ROOT / "tests" / "support" / "gated_server.py"), str(self.gate))

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.server.url}{path}") as response:
            return response.status, await response.json()

    async def draining(self) -> None:
        """Wait until it is stopping; before, /readyz would wait for the store."""
        await eventually("it stops", lambda: any('"stopping"' in line for line in self.server.output))
        status, answer = await self.get("/readyz")
        assert status == 503
        assert (answer["error"]["code"], answer["error"]["retryable"]) == ("draining", True)


@pytest.fixture
async def gated(database: Path, request: pytest.FixtureRequest) -> AsyncIterator[Gated]:
    """Parametrize it with the deadline of a stop."""
    gated = Gated(database, getattr(request, "param", 60))
    await gated.server.start()
    yield gated
    gated.gate.unlink(missing_ok=True)
    if gated.server.running:
        await gated.server.kill()
    assert not [line for line in gated.server.output if "Traceback" in line], "\n".join(gated.server.output[-80:])


async def sending(gated: Gated, stage: Stage, *users: str) -> tuple[str, list[Person], list[asyncio.Task[Any]]]:
    """People with messages under way that the store holds up: one of each in the store, the others behind it."""
    people = await stage.people(*users, "watcher")
    *senders, watcher = people
    chat = await watcher.create(*users, title="All")
    for person in people:
        await person.join(chat)
    gated.gate.touch()
    tasks = []
    for person in senders:
        emits: list[list[Any]] = [["set_typing", {"conversationId": chat, "typing": True}]]
        emits += [["send_message", payload(person, chat, number)] for number in range(MESSAGES)]
        tasks.append(asyncio.create_task(person.client.burst(emits, deadline_s=4 * DEADLINE_S)))
    # All clients are in one Node process: when one hears of the typing, all that was sent with it is in the server's
    # socket.
    await watcher.client.wait_count("user_typing", len(senders))
    return chat, senders, tasks


def payload(person: Person, chat: str, number: int) -> dict[str, str]:
    return {"conversationId": chat, "idempotencyKey": f"{person.id}-{number}", "body": f"{number} of {person.id}"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_is_under_way_is_acked(gated: Gated, node: Node, number: signal.Signals) -> None:
    """Every message that had reached the server is stored and acked before its sender is ended; meanwhile the server
    says that it is draining and lets nobody in."""
    chat, senders, tasks = await sending(gated, Stage(gated.server, node), "ana", "ben")
    gated.server.send_signal(number)
    await gated.draining()
    status, refusal = await gated.get("/socket.io/?EIO=4&transport=polling")
    assert (status, refusal["error"]["code"], refusal["error"]["retryAfterMs"]) == (503, "draining", 2000)
    assert (await gated.get("/healthz"))[0] == 200
    assert not any(person.client.seen("session_ended") for person in senders)
    gated.gate.unlink()
    for task in tasks:
        acks, order = await task
        assert all(ack["ok"] for ack in acks)
        assert order == list(range(1 + MESSAGES))
    for person in senders:
        ended = await person.client.wait("session_ended")
        assert (ended["code"], ended["reconnect"]) == ("restart", True)
        await person.client.wait("disconnect")
        order_of_events = [seen.event for seen in person.client.log]
        assert order_of_events.index("session_ended") < order_of_events.index("disconnect")
    assert await gated.server.ended() == 0
    rows = db.messages(gated.server.database)
    assert sorted(row.body for row in rows) == sorted(
        payload(person, chat, number)["body"] for person in senders for number in range(MESSAGES)
    )
    assert (db.holes(rows), db.doubles(rows)) == ([], [])


async def test_a_ctrl_c_that_is_sent_on_is_the_same_one(gated: Gated, node: Node) -> None:
    """Started by npm or concurrently, the server got SIGINT from the terminal and from them a moment later, took that
    for a second one and ended at once: nobody was told `restart`, and what was under way got no ack."""
    _, (ana,), tasks = await sending(gated, Stage(gated.server, node), "ana")
    gated.still.touch()
    gated.server.send_signal(signal.SIGINT)
    await gated.draining()
    gated.server.send_signal(signal.SIGINT)
    assert (await gated.get("/healthz"))[0] == 200
    gated.gate.unlink()
    acks, _ = await tasks[0]
    assert all(ack["ok"] for ack in acks)
    assert (await ana.client.wait("session_ended"))["code"] == "restart"
    assert await gated.server.ended() == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
    ],
)
async def test_a_second_signal_ends_it_at_once(
    gated: Gated, node: Node, first: signal.Signals, second: signal.Signals
) -> None:
    """Even while the store hangs: status 128 + the signal, as a shell has it. SIGINT again counts after a second, any
    other at once."""
    _, _, tasks = await sending(gated, Stage(gated.server, node), "ana")
    gated.still.touch()
    gated.server.send_signal(first)
    await gated.draining()
    if first == second:
        gated.still.unlink()
    gated.server.send_signal(second)
    assert await gated.server.ended() == 128 + second
    acks, _ = await tasks[0]
    assert acks[1:] == [None] * MESSAGES


@pytest.mark.parametrize("gated", [4], indirect=True)
async def test_a_store_that_hangs_does_not_hold_the_stop(gated: Gated, node: Node) -> None:
    """At the deadline the process ends, with status 0; the clients were told before, and get no ack for what is not
    stored. Sent again with the same keys it is stored once."""
    chat, (ana,), tasks = await sending(gated, Stage(gated.server, node), "ana")
    mark = ana.client.mark()
    gated.server.send_signal(signal.SIGTERM)
    ended = await ana.client.wait("session_ended")
    assert (ended["code"], ended["reconnect"]) == ("restart", True)
    acks, _ = await tasks[0]
    assert acks == [{"ok": True}, *[None] * MESSAGES]
    assert await gated.server.ended() == 0
    assert any("stopped_late" in line for line in gated.server.output)
    assert db.messages(gated.server.database) == []
    gated.gate.unlink()
    await gated.server.start()
    await ana.client.wait("welcome", after=mark)
    for number in range(MESSAGES):
        assert (await ana.client.ok("send_message", payload(ana, chat, number)))["message"]["seq"] == number + 1
    assert await gated.server.terminate() == 0
    rows = db.messages(gated.server.database)
    assert [row.idempotency_key for row in rows] == [f"ana-{number}" for number in range(MESSAGES)]


async def test_the_port_is_free_when_the_process_has_ended(gated: Gated, node: Node) -> None:
    """A server that starts after it on the same port serves whoever comes back."""
    ana = await Stage(gated.server, node).person("ana")
    for _ in range(3):
        mark = ana.client.mark()
        assert await gated.server.terminate() == 0
        await gated.server.start()
        await ana.client.wait("welcome", after=mark)
