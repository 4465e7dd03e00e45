"""Random histories of messages, their changes and changes of people, by several callers, stores and processes at once.

What must hold whatever happens: the numbers given out are 1, 2, 3, … without a hole, each for one message; and who
pages through what changed, from any cursor, in the middle of it or after it, ends with the messages as they are.
LIFE_STEPS sets how many writes each caller makes (25 without it).
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import closing
from socketserver.chat.domain import UserId

import pytest
from support import history_child
from support.histories import PEOPLE, Caller, Reader, check_counts, check_state, present
from support.stores import Backend, group, message_draft

STEPS = int(os.environ.get("LIFE_STEPS", "25"))


def check_numbers(given: set[tuple[int, int]]) -> int:
    """Each number is given out once, and none is left out. Returns the newest."""
    numbers = sorted(change for change, _ in given)
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


@pytest.mark.parametrize("seed", range(3))
async def test_any_history_leaves_dense_numbers_and_everybody_with_the_same_messages(
    shared_backend: Backend, seed: int
) -> None:
    stores = [await shared_backend.open() for _ in range(2)]
    where = await group(stores[0])
    dice = random.Random(seed)
    callers = [
        Caller(stores[number % 2], where, UserId(f"u{number % 3}"), random.Random(dice.random())) for number in range(5)
    ]
    readers = [Reader() for _ in range(4)]
    old: list[Reader] = []
    writing = True

    async def read(number: int, reader: Reader) -> None:
        store = stores[number % 2]
        while writing:
            if dice.random() < 0.5:
                await reader.join(store, where, limit=dice.randint(1, 9))
            else:
                await reader.catch_up(store, where, limit=dice.randint(1, 9))
            old.append(Reader(reader.cursor, reader.known.values()))

    reading = [asyncio.ensure_future(read(number, reader)) for number, reader in enumerate(readers)]
    try:
        await asyncio.gather(*(caller.run(STEPS) for caller in callers))
    finally:
        writing = False
    await asyncio.gather(*reading)
    newest = check_numbers(set().union(*(caller.given for caller in callers)))
    dice.shuffle(old)
    await check_state(stores[0], where, newest, [*readers, *old[:20], Reader(), Reader()])


async def test_two_processes_change_the_same_messages(shared_backend: Backend) -> None:
    store = await shared_backend.open()
    where = await group(store, *PEOPLE)
    children = [history_child.start(shared_backend.url, where, callers=3, count=STEPS, seed=seed) for seed in (1, 2)]
    readers = [Reader(), Reader()]
    given: set[tuple[int, int]] = set()
    try:
        for child in children:
            assert child.stdout
            assert await asyncio.to_thread(child.stdout.readline) == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write("\n")
            child.stdin.flush()
        running = [asyncio.ensure_future(asyncio.to_thread(child.communicate, timeout=90)) for child in children]
        while not all(task.done() for task in running):
            await readers[0].catch_up(store, where)
            await readers[1].join(store, where)
        for output, _ in await asyncio.gather(*running):
            lines = output.splitlines()
            assert lines[-1] == "done"
            given |= {(int(line.split()[1]), int(line.split()[2])) for line in lines if line.startswith("told")}
    finally:
        for child in children:
            child.kill()
            child.wait()
    await check_state(store, where, check_numbers(given), [*readers, Reader(), Reader()], began=PEOPLE)
    await check_counts(store, where, PEOPLE)


@pytest.mark.parametrize("shared_backend", ["sqlite-file"], indirect=True)
async def test_a_killed_process_leaves_no_hole_and_no_half_change(shared_backend: Backend) -> None:
    """Killed at random moments. What was acknowledged is there; and the next process goes on at the next number."""
    store = await shared_backend.open()
    where = await group(store, *PEOPLE)
    reader = Reader()
    dice = random.Random(5)
    told: dict[int, int] = {}
    for turn in range(4):
        child = history_child.start(shared_backend.url, where, callers=8, count=100_000, seed=turn)
        lines: list[str] = []
        try:
            lines = await asyncio.to_thread(_read_until_killed, child, dice.randint(1, 400))
        finally:
            child.kill()
            child.wait()
        for line in lines:
            if not line.startswith("told"):
                continue
            _, change, seq = line.split()
            told[int(seq)] = max(told.get(int(seq), 0), int(change))
        messages = await present(store, where)
        newest = max((each.change for each in messages), default=0)
        assert all(messages[seq - 1].change >= change for seq, change in told.items())
        await check_state(store, where, newest, [reader, Reader(), Reader()], began=PEOPLE)
        await check_counts(store, where, PEOPLE)
        appended = await store.append_message(message_draft(where))
        assert appended.message.change == newest + 1


def _read_until_killed(child: history_child.Child, lines: int) -> list[str]:
    assert child.stdin
    assert child.stdout
    with closing(child.stdin), closing(child.stdout):
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("\n")
        child.stdin.flush()
        found = []
        for line in child.stdout:
            if not line.endswith("\n"):
                break
            found.append(line)
            if len(found) == lines:
                child.kill()  # and go on reading what it had said
        return found
