"""Two processes write at random to one conversation, are killed, and lose their database for a while: whatever happens,
nothing is lost, doubled or left out, and who reads along ends with what the store has.

HISTORY_OPERATIONS sets how many writes are answered, on both stores together; 400 without it, 100 000 in `make attack`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from socketserver.chat.domain import ConversationId, new_id
from socketserver.store import Copyable, open_store
from typing import Any, Final

import pytest
from pymongo import MongoClient
from pymongo.uri_parser import parse_uri
from support import history_child
from support.histories import PEOPLE, Reader, check_counts, check_state, present
from support.mongo import with_database
from support.stores import group
from support.tcp_proxy import Proxy, proxy_to
from support.waiting import eventually

FULL: Final = os.environ.get("WEBSOCKET_TEST_ATTACK") == "full"
OPERATIONS: Final = int(os.environ.get("HISTORY_OPERATIONS", "100_000" if FULL else "400")) // 2  # on each store
READ_EVERY: Final = max(50, OPERATIONS // 200)  # writes, at most, until a reader looks again
CALLERS: Final = 20  # in each process
TROUBLES: Final = min(60, max(4, OPERATIONS // 500))  # kills and faults, evenly spread
OPTIONS: Final = "directConnection=true&timeoutMS=20000&serverSelectionTimeoutMS=2000&connectTimeoutMS=2000"


@dataclass
class Writers:
    """Two processes that write, and what they have said.

    Attributes:
        told: the change and the seq of every write that was answered.
        unsure: how many writes there may be of which nobody was told.
    """

    url: str
    where: ConversationId
    dice: random.Random
    told: list[tuple[int, int]] = field(default_factory=list)
    unsure: int = 0
    kills: int = 0
    _children: list[history_child.Child] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start one process more."""
        seed = self.dice.randrange(2**32)
        child = history_child.start(self.url, self.where, callers=CALLERS, count=10**9, seed=seed)
        thread = threading.Thread(target=self._listen, args=(child,), daemon=True)
        self._children.append(child)
        self._threads.append(thread)
        thread.start()

    def _listen(self, child: history_child.Child) -> None:
        assert child.stdin
        assert child.stdout
        with child.stdin, child.stdout:
            if child.stdout.readline() != "ready\n":
                return
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write("\n")
                child.stdin.flush()
            for line in child.stdout:
                if line.startswith("told") and line.endswith("\n"):
                    _, change, seq = line.split()
                    self.told.append((int(change), int(seq)))
                elif line == "unsure\n":
                    self.unsure += 1

    def kill(self) -> None:
        """End a process in the middle of what it does: each of its callers may have written something."""
        child = self._children.pop(self.dice.randrange(len(self._children)))
        child.kill()
        child.wait()
        self.kills += 1
        self.unsure += CALLERS

    def end(self) -> None:
        """End all, and hear what they had said."""
        while self._children:
            self.kill()
        for thread in self._threads:
            thread.join()


Fault = Callable[[random.Random], Awaitable[None]]


@dataclass
class Bench:
    """A database: how the writers reach it, a store beside them, and what can befall it."""

    name: str
    url: str
    store: Copyable
    fault: Fault


@contextlib.asynccontextmanager
async def sqlite_bench(directory: Path) -> AsyncIterator[Bench]:
    path = directory / "chat.db"
    store = open_store(f"sqlite:///{path}")
    await store.open()

    def lock(seconds: float) -> None:
        """Somebody else has the database: longer than writers wait for it, or not."""
        with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            other.execute("ROLLBACK")

    async def fault(dice: random.Random) -> None:
        await asyncio.to_thread(lock, dice.choice((0.3, 2.5)))

    yield Bench("SQLite", f"sqlite:///{path}", store, fault)
    await store.close()


@contextlib.asynccontextmanager
async def mongo_bench(mongo_url: str) -> AsyncIterator[Bench]:
    name = f"test_{new_id()}"
    ((host, port), *_) = parse_uri(mongo_url)["nodelist"]
    store = open_store(with_database(mongo_url, name))
    await store.open()
    async with proxy_to(host, port) as proxy:
        url = f"mongodb://127.0.0.1:{proxy.port}/{name}?{OPTIONS}"
        yield Bench("MongoDB", url, store, lambda dice: _trouble(proxy, dice))
    await store.close()
    with MongoClient[dict[str, Any]](with_database(mongo_url, name)) as client:
        client.drop_database(name)


async def _trouble(proxy: Proxy, dice: random.Random) -> None:
    """The database cannot be reached, or connections are cut, or a reply is lost of what was written."""
    kind = dice.choice(("away", "cut", "insert", "update"))
    before = proxy.faults
    if kind == "away":
        proxy.cut()
    elif kind == "cut":
        proxy.cut_once()
    else:
        proxy.swallow, proxy.swallow_times = b"\x02" + kind.encode() + b"\x00", dice.randint(1, 3)
    with contextlib.suppress(AssertionError):  # where nobody has a connection at this moment
        await eventually("somebody has noticed", lambda: proxy.faults > before, deadline_s=5)
    proxy.heal()


@pytest.mark.timeout(max(300, OPERATIONS // 10))
@pytest.mark.parametrize("kind", ["sqlite", "mongo"])
async def test_nothing_is_lost_doubled_or_left_out(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    mongo = kind == "mongo"
    async with mongo_bench(request.getfixturevalue("mongo_url")) if mongo else sqlite_bench(tmp_path) as bench:
        await _run(bench, random.Random(OPERATIONS))


async def _run(bench: Bench, dice: random.Random) -> None:
    store = bench.store
    where = await group(store, *PEOPLE)
    writers = Writers(bench.url, where, dice)
    following = [Reader() for _ in range(4)]
    left: list[Reader] = []  # who went away at some moment, and comes back at the end
    writing = True

    async def follow(number: int, reader: Reader) -> None:
        while writing:
            if number % 2:
                await reader.join(store, where, limit=dice.randint(1, 50))
            else:
                await reader.catch_up(store, where, limit=dice.randint(1, 50))
            if len(left) < 10:
                left.append(Reader(reader.cursor, reader.known.values()))
            due = len(writers.told) + dice.randint(1, READ_EVERY)
            while writing and len(writers.told) < due:
                await asyncio.sleep(0.05)

    started_s = time.monotonic()
    reading = [asyncio.ensure_future(follow(number, reader)) for number, reader in enumerate(following)]
    faults = 0
    try:
        for _ in range(2):
            writers.start()
        for turn in range(1, TROUBLES + 1):
            due = OPERATIONS * turn // (TROUBLES + 1)
            await eventually(f"{due} writes are answered", lambda: len(writers.told) >= due, deadline_s=OPERATIONS)  # noqa: B023
            if turn % 2:
                await asyncio.to_thread(writers.kill)
                writers.start()
            else:
                faults += 1
                await bench.fault(dice)
        await eventually("all are answered", lambda: len(writers.told) >= OPERATIONS, deadline_s=OPERATIONS)
    finally:
        await asyncio.to_thread(writers.end)
        writing = False
    await asyncio.gather(*reading)
    took_s = time.monotonic() - started_s

    messages = await present(store, where)
    newest = max(each.change for each in messages)
    lost = sum(messages[seq - 1].change < change for change, seq in writers.told if seq <= len(messages))
    lost += sum(seq > len(messages) for _, seq in writers.told)
    keys = Counter(each.idempotency_key for each in messages)
    numbers = {change for change, _ in writers.told}
    doubled = sum(keys.values()) - len(keys) + len(set(writers.told)) - len(numbers)
    # A number of which nobody was told is that of a write that was cut off, or it was never given out.
    untold = newest - len(numbers)
    holes = max(0, untold - writers.unsure)
    print(
        f"\n{bench.name}: {len(writers.told)} writes answered in {took_s:.0f} s, {writers.kills} processes killed,"
        f" {faults} faults; {len(messages)} messages, {newest} numbers, {untold} of them told to nobody (at most"
        f" {writers.unsure} may be); lost {lost}, doubled {doubled}, holes {holes};"
        f" {len(following) + len(left)} readers compared"
    )
    assert (lost, doubled, holes) == (0, 0, 0)
    await check_state(store, where, newest, [*following, *left, Reader(), Reader()], limit=200, began=PEOPLE)
    await check_counts(store, where, PEOPLE)
