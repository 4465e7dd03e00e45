"""A log that nobody reads, or that cannot be written, costs lines and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.muted import (
    BUFFER_BYTES,
    VISIT,
    Reader,
    assert_stops,
    hanging,
    muted,
    nobody_reads,
    small_pipe,
    visit,
)
from support.waiting import eventually


@pytest.mark.thorough
async def test_a_log_that_nobody_reads(tmp_path: Path) -> None:
    """The server stood in `write` for ever after 144 connects: no answer, no stop, and two SIGTERMs did nothing."""
    reading, writing = os.pipe()
    async with muted(tmp_path, asyncio.subprocess.DEVNULL, writing) as server:
        os.close(writing)
        await visit(server, 2000)
        assert await server.get("/healthz")
        assert await server.dropped() > 0
        await assert_stops(server)
    os.close(reading)


@pytest.mark.thorough
async def test_a_log_that_is_read_again(tmp_path: Path) -> None:
    """The log stopped for ever. Now what had waited comes in its order, and a line stands for those that are missing,
    where they are missing: no line is lost uncounted, and none is torn."""
    reading, writing = small_pipe()
    async with muted(tmp_path, writing, writing, log_buffer_bytes=BUFFER_BYTES) as server:
        os.close(writing)
        await visit(server, 100)
        dropped = await server.dropped()
        reader = Reader(reading)
        await reader.until("log_lines_dropped")
        await visit(server, 1)
        await assert_stops(server)
        lines = await reader.lines()
    os.close(reading)
    events = [line["event"] for line in lines]
    holes = [(at, line["lines"]) for at, line in enumerate(lines) if line["event"] == "log_lines_dropped"]
    assert sum(count for _, count in holes) >= dropped > 0
    assert sum(events.count(each) for each in VISIT) + sum(count for _, count in holes) == 3 * 102
    assert [line["level"] for line in lines if line["event"] == "log_lines_dropped"] == ["warning"] * len(holes)
    assert set(events[holes[-1][0] + 1 :]) >= {*VISIT, "stopping", "stopped"}
    times = [line["time"] for line in lines if line["event"] != "log_lines_dropped"]
    assert times == sorted(times)


@contextlib.contextmanager
def only_output_is_not_read() -> Iterator[tuple[int, int]]:
    """Standard output is a pipe that was full before the server came."""
    reading, writing = small_pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 100)
    os.set_blocking(writing, True)
    yield writing, asyncio.subprocess.DEVNULL
    os.close(reading)
    os.close(writing)


@contextlib.contextmanager
def full_and_not_blocking() -> Iterator[tuple[int, int]]:
    """A pipe that somebody who shares it has set to fail rather than wait."""
    with nobody_reads(both=True) as (writing, _):
        os.set_blocking(writing, False)
        yield writing, writing


@contextlib.contextmanager
def nobody_is_there() -> Iterator[tuple[int, int]]:
    """A pipe whose other end is closed: EPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing, writing
    os.close(writing)


@contextlib.contextmanager
def full_disk() -> Iterator[tuple[int, int]]:
    """A file that takes nothing: ENOSPC."""
    full = os.open("/dev/full", os.O_WRONLY)
    yield full, full
    os.close(full)


@contextlib.contextmanager
def stopped_terminal() -> Iterator[tuple[int, int]]:
    """A terminal that shows nothing any more, as after Ctrl-S."""
    screen, terminal = pty.openpty()
    yield terminal, terminal
    os.close(screen)
    os.close(terminal)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "output",
    [
        lambda: nobody_reads(both=True),
        lambda: nobody_reads(both=False),
        only_output_is_not_read,
        full_and_not_blocking,
        nobody_is_there,
        full_disk,
        stopped_terminal,
    ],
    ids=["one-pipe", "two-pipes", "output", "non-blocking", "closed", "full-disk", "terminal"],
)
async def test_output_that_cannot_be_written(
    tmp_path: Path, output: Callable[[], contextlib.AbstractContextManager[tuple[int, int]]]
) -> None:
    """Whatever is wrong with standard output and standard error, clients are served and a stop ends in time."""
    with output() as (stdout, stderr):
        async with muted(tmp_path, stdout, stderr, log_buffer_bytes=BUFFER_BYTES) as server:
            await visit(server, 60)
            assert await server.get("/healthz")
            if stderr != asyncio.subprocess.DEVNULL:
                assert await server.dropped() > 0
            await assert_stops(server)


async def test_output_that_is_closed(tmp_path: Path) -> None:
    """`2>&-` ended the start with a traceback; and the first file that was opened would have got the log's number."""
    shell = ("/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh")
    async with muted(tmp_path, asyncio.subprocess.DEVNULL, asyncio.subprocess.DEVNULL, command=shell) as server:
        for number in (1, 2):
            assert os.readlink(f"/proc/{server.process.pid}/fd/{number}") == os.devnull
        await visit(server, 3)
        await assert_stops(server)


async def test_a_disk_that_has_room_again(tmp_path: Path) -> None:
    """Lines that found no room on the disk were gone, one of them in two. Now they wait, and come whole."""
    log = tmp_path / "log"
    with log.open("ab") as file:
        async with muted(tmp_path, asyncio.subprocess.DEVNULL, file.fileno()) as server:
            await visit(server, 1)
            await eventually("its lines are there", lambda: "disconnected" in log.read_text())
            limit_bytes = log.stat().st_size + 50
            _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit_bytes, most))
            await visit(server, 2)
            await eventually("the disk is full", lambda: log.stat().st_size == limit_bytes)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most, most))
            await eventually("all are there", lambda: log.read_text().count('"disconnected"') == 3)
            await assert_stops(server)
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert [events.count(each) for each in (*VISIT, "log_lines_dropped", "stopped")] == [4, 4, 4, 0, 1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_when_nobody_reads(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """It wrote a line first, and stood there. Now it ends the process at once, with the store hanging too."""
    with nobody_reads(both=True) as output:
        async with hanging(tmp_path, *output) as (server, stopping):
            await visit(server, 60)
            (still := tmp_path / "still").touch()  # SIGINT again is the same one within a second
            server.process.send_signal(number)
            await stopping()
            still.unlink()
            server.process.send_signal(number)
            assert await server.ended() == status


async def test_the_deadline_when_nobody_reads(tmp_path: Path) -> None:
    """The deadline wrote a line first, and stood there. Now it ends the process, with status 0."""
    with nobody_reads(both=True) as output:
        async with hanging(tmp_path, *output) as (server, _):
            await visit(server, 60)
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0
