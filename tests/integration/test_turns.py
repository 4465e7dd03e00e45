"""The instruments: the recorder of long turns of the event loop, and what fails a test that waits on it."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from socketserver.chat.domain import SystemClock
from socketserver.ops.figures import Reading
from socketserver.ops.metrics import Metrics
from typing import Any

import pytest
from blockbuster import BlockingError
from support.guarded import http, knock
from support.servers import ROOT, ServerProcess, token
from support.turns import LIMIT_S, SHARED_LIMIT_S, Recorder, Turn, watched_turns

# Where coverage is measured, a turn may be twice as long.
pytestmark = pytest.mark.alone  # a thread that gets no processor sees nothing

TRACED = 2 if sys.gettrace() else 1


def burn(seconds: float) -> None:
    """Compute for so much CPU time."""
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        sum(range(1000))


async def recorded(seconds: float, wait_s: float = 0.0) -> tuple[list[Turn], float]:
    """What a recorder tells of a turn that computes and waits so long, and the longest that it has seen."""
    turns: list[Turn] = []
    recorder = Recorder(asyncio.get_running_loop(), LIMIT_S, turns.append)
    recorder.start()
    for _ in range(3):  # each time the recorder has its chance to ask first
        await asyncio.sleep(0.05)
        burn(seconds)
        time.sleep(wait_s)
    await asyncio.sleep(0.05)
    recorder.stop()
    return turns, recorder.longest_s


async def test_a_long_turn_is_told_with_its_stack() -> None:
    """A turn over the limit is told, with what was running."""
    turns, longest_s = await recorded(3 * LIMIT_S * TRACED)
    assert turns
    assert longest_s > LIMIT_S
    assert any("in burn" in str(turn) and "sum(range(1000))" in str(turn) for turn in turns)


async def test_short_turns_and_waiting_are_not_told() -> None:
    """Half of the limit is not, nor the time in which the machine did something else: only CPU time counts."""
    turns, longest_s = await recorded(0.5 * LIMIT_S, wait_s=2 * LIMIT_S)
    assert not turns
    assert 0 < longest_s < LIMIT_S


async def test_a_recorder_ends_at_any_moment() -> None:
    """One that had just asked waited for the loop, and the loop for it."""
    turns: list[Turn] = []
    for number in range(300):
        recorder = Recorder(asyncio.get_running_loop(), LIMIT_S, turns.append)
        recorder.start()
        await asyncio.sleep(number % 30 / 1000)
        recorder.stop()
    assert not turns


@pytest.mark.parametrize("whose", ["test", "server"])
async def test_a_shared_loop(whose: str) -> None:
    """Where server and test share a loop, only the server's turns fail the test."""
    metrics = Metrics(SystemClock())

    def read() -> Reading:
        burn(3 * SHARED_LIMIT_S * TRACED)
        return Reading()

    metrics.watch(read)
    work: Any = (lambda: metrics.expose("")) if whose == "server" else (lambda: burn(3 * SHARED_LIMIT_S * TRACED))

    async def turn() -> None:
        with watched_turns():
            for _ in range(3):
                await asyncio.sleep(0.05)
                work()
            await asyncio.sleep(0.05)

    if whose == "test":
        await turn()
    else:
        with pytest.raises(AssertionError, match=r"of CPU in one turn:[\s\S]*metrics\.py"):
            await turn()


PLANTED = """
import os, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from support import watched_server
from socketserver import cli
from socketserver.chat.conversations import Conversations

page = Conversations.page

async def slow(self, *arguments):
    end_s = time.thread_time() + (0.6 if sys.gettrace() else 0.3)
    while time.thread_time() < end_s:
        sum(range(1000))
    return await page(self, *arguments)

Conversations.page = slow
watched_server.watch()
sys.exit(cli.main(sys.argv[1:]))
"""


async def test_a_server_s_long_turn_fails_its_test(tmp_path: Path) -> None:
    """300 ms of computing in a handler of a server process fail the test, which says where."""
    server = ServerProcess(tmp_path / "chat.db")
    server.program = ("-c", PLANTED.format(root=str(ROOT), tests=str(ROOT / "tests")))
    await server.start()
    chat: Any = server
    async with http() as client:
        raw = await knock(client, chat)
        await raw.connect({"token": token("ann")})
        while not server.turns:
            await raw.ask("list_conversations", {})
        await raw.close()
    with pytest.raises(AssertionError, match=r"of CPU in one turn:[\s\S]*in slow"):
        await server.terminate()


async def test_a_server_tells_its_longest_turn(tmp_path: Path) -> None:
    """At its end; without a word there was no recorder."""
    server = ServerProcess(tmp_path / "chat.db")
    await server.start()
    assert await server.terminate() == 0
    assert server.turns[-1]["longest_ms"] >= 0


@pytest.mark.parametrize(
    "wait",
    [lambda path: time.sleep(0), lambda path: path.read_bytes(), lambda path: path.stat()],
    ids=["sleep", "read", "stat"],
)
async def test_what_waits_on_the_loop_fails(tmp_path: Path, wait: Any) -> None:
    """A call of the package's that sleeps or asks a disk fails; in a thread it may."""
    (path := tmp_path / "file").touch()
    metrics = Metrics(SystemClock())

    def read() -> Reading:
        wait(path)
        return Reading()

    metrics.watch(read)
    with pytest.raises(BlockingError):
        metrics.expose("")
    await asyncio.to_thread(metrics.expose, "")
