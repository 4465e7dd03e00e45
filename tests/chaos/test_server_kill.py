"""kill -9 at random moments under load: what was acked is there, once, without a hole, and nobody misses anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from support import database as db
from support.node import Node
from support.peer import NoAck
from support.servers import ServerProcess, running
from support.stage import Person, Stage
from support.waiting import eventually

ROUNDS: Final = int(os.environ.get("CHAOS_ROUNDS", "5"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "20260801"))
SENDERS: Final = ("ana", "ben", "carl")
AT_ONCE: Final = 6  # messages that each sender has under way
# A kill comes after so many acks of its round, and so many milliseconds.
ACKS: Final = 60
DELAY_MS: Final = 15


@dataclass
class Ledger:
    """What the senders know. A key is (sender, idempotency key)."""

    started: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    acked: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    open: dict[str, deque[str]] = field(default_factory=lambda: {sender: deque() for sender in SENDERS})
    acks: int = 0
    repeats: int = 0
    resent: int = 0


@dataclass
class Reader:
    """Somebody who follows one conversation over all restarts, as an application should."""

    person: Person
    chat: str
    known: dict[int, dict[str, Any]] = field(default_factory=dict)
    away: bool = False
    looked: int = 0
    resumed: int = 0
    missed: int = 0

    def look(self) -> None:
        """Take in the live events since the last look; within one connection they come in order."""
        log = self.person.client.log
        last = 0
        for seen in log[self.looked :]:
            if seen.event == "connect":
                last = 0
            elif seen.event == "message_created" and seen.payload["message"]["conversationId"] == self.chat:
                message = seen.payload["message"]
                # A repeat is announced again; what is new comes in the order of its numbers.
                assert message["seq"] > last or message["seq"] in self.known
                last = max(last, message["seq"])
                self.learn(message)
        self.looked = len(log)

    def learn(self, message: dict[str, Any]) -> None:
        assert self.known.setdefault(message["seq"], message) == message, "one place, two messages"

    @property
    def cursor(self) -> int:
        """Up to where nothing is missing."""
        cursor = 0
        while cursor + 1 in self.known:
            cursor += 1
        return cursor

    def has(self, seq: int) -> bool:
        """Whether everything up to seq has come."""
        self.look()
        return self.cursor == seq

    async def leave(self) -> None:
        """Go offline."""
        self.away = True
        await self.person.client.disconnect()

    async def come_back(self, mark: int) -> None:
        """Go online, and resume; if the server dies before that, the next time will do."""
        if self.away:
            self.away = False
            mark = self.person.client.mark()
            await self.person.client.connect()
        # Still connected since an earlier round, or about to come back.
        if not (await self.person.client.state())["connected"]:
            await self.person.client.wait("welcome", after=mark)
        with contextlib.suppress(NoAck):
            await self.resume()

    async def resume(self) -> None:
        """Join again with `after`: exactly what came since, in order, and a gap for what does not fit."""
        self.look()
        after = self.cursor
        ack = await self.person.join(self.chat, after=after, limit=200)
        messages = ack["messages"]
        if "gap" in ack:
            page = await self.person.client.ok(
                "fetch_history", {"conversationId": self.chat, "afterSeq": after, "limit": 200}
            )
            assert ack["gap"] == {"fromSeq": after + 1, "toSeq": messages[0]["seq"] - 1}
            messages = [m for m in page["messages"] if m["seq"] < messages[0]["seq"]] + messages
        assert [message["change"] for message in messages] == list(range(after + 1, ack["change"] + 1))
        for message in messages:
            self.learn(message)
        self.resumed += 1
        self.missed += len(messages)


async def send_on(person: Person, chats: list[str], ledger: Ledger, stop: asyncio.Event) -> None:
    """Send message after message, the ones without an ack first, until the connection is lost or the round is over."""
    waiting = ledger.open[person.id]
    while not stop.is_set():
        if waiting:
            key = waiting.popleft()
            ledger.resent += 1
        else:
            number = len(ledger.started)
            key = f"{person.id}-{number}"
            ledger.started[person.id, key] = {
                "conversationId": chats[number % len(chats)],
                "idempotencyKey": key,
                "body": f"message {number} 🦄",
            }
        if not await send(person, key, ledger):
            return


async def send(person: Person, key: str, ledger: Ledger) -> bool:
    """Send one message; False when there was no ack."""
    payload = ledger.started[person.id, key]
    try:
        ack = await person.client.emit("send_message", payload, deadline_s=20)
    except NoAck:
        ledger.open[person.id].append(key)
        return False
    except BaseException:
        ledger.open[person.id].append(key)
        raise
    assert ack["ok"], ack
    message = ack["message"]
    assert {name: message[name] for name in payload} == payload
    earlier = ledger.acked.setdefault((person.id, key), message)
    assert earlier == message, "one key, two messages"
    ledger.acks += 1
    ledger.repeats += ack["duplicate"]
    return True


@pytest.mark.timeout(60 + 6 * ROUNDS)
async def test_kill_9_at_random_moments(
    database: Path, node: Node, record_property: Callable[[str, object], None]
) -> None:
    """No acked message is lost, none is there twice, no number is missing, and who follows has everything."""
    chance = random.Random(SEED)
    ledger = Ledger()
    async with running(database, messages_per_second=0) as server:
        stage = Stage(server, node)
        senders = await stage.people(*SENDERS)
        chats = [await senders[0].create("ben", "carl", "dora", "emil", title=f"Chat {number}") for number in (1, 2)]
        readers = [
            Reader(await stage.person("dora"), chats[0]),
            Reader(await stage.person("emil", transport="polling"), chats[1]),
        ]
        for _ in range(ROUNDS):
            await one_round(server, senders, readers, chats, ledger, chance)
        for person in senders:
            while ledger.open[person.id]:
                ledger.resent += 1
                assert await send(person, ledger.open[person.id].popleft(), ledger)
        for reader in readers:
            await reader.come_back(0)
        rows = db.messages(database)
        for reader in readers:
            own = [row for row in rows if row.conversation_id == reader.chat]
            await eventually("the last events", partial(reader.has, len(own)))
            assert [(message["id"], message["body"]) for _, message in sorted(reader.known.items())] == [
                (row.id, row.body) for row in own
            ]
    stored = {(row.sender_id, row.idempotency_key): row for row in rows}
    lost = [
        key
        for key, message in ledger.acked.items()
        if key not in stored
        or (stored[key].id, stored[key].seq, stored[key].body) != (message["id"], message["seq"], message["body"])
    ]
    figures = {
        "rounds": ROUNDS,
        "seed": SEED,
        "messages": len(rows),
        "acks": ledger.acks,
        "resent": ledger.resent,
        "repeats": ledger.repeats,
        "resumed": sum(reader.resumed for reader in readers),
        "missed and got": sum(reader.missed for reader in readers),
        "lost": len(lost),
        "doubled": len(db.doubles(rows)),
        "holes": len(db.holes(rows)),
    }
    print("\n", figures)
    for name, value in figures.items():
        record_property(name, value)
    assert lost == []
    assert db.doubles(rows) == []
    assert db.holes(rows) == []
    assert stored.keys() == ledger.started.keys() == ledger.acked.keys()
    with closing(sqlite3.connect(database)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def one_round(
    server: ServerProcess,
    senders: list[Person],
    readers: list[Reader],
    chats: list[str],
    ledger: Ledger,
    chance: random.Random,
) -> None:
    """Send, kill, start again. The senders come back by themselves; the readers are away for every other round or so,
    and resume while the senders send on, maybe into the kill."""
    acks = ledger.acks + chance.randrange(ACKS)
    delay_s = chance.uniform(0, DELAY_MS) / 1000
    marks = [person.client.mark() for person in senders]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(send_on(person, chats, ledger, stop)) for person in senders for _ in range(AT_ONCE)]
    for reader in readers:
        if chance.random() < 0.5:
            await reader.leave()
        else:
            tasks.append(asyncio.create_task(reader.come_back(reader.person.client.mark())))
    try:
        await eventually("acks", lambda: ledger.acks >= acks)
        await asyncio.sleep(delay_s)  # the moment of the kill is the point of the test
        await server.kill()
        stop.set()  # what is emitted from now on waits in the client, and is sent to the next server
        await server.start()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for person, mark in zip(senders, marks, strict=True):
        await person.client.wait("welcome", after=mark)
