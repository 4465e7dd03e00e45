"""The signals that are no SIGTERM: a terminal that is closed, and those that other programs send."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from pathlib import Path
from typing import Final

from support.muted import assert_stops, hanging, muted, visit, visitor

NOWHERE: Final = asyncio.subprocess.DEVNULL, asyncio.subprocess.DEVNULL


async def test_hangup(tmp_path: Path) -> None:
    """SIGHUP killed the server without a word to its clients: it is a stop like SIGTERM."""
    async with muted(tmp_path, *NOWHERE) as server:
        await assert_stops(server, signal.SIGHUP)


async def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """The server died with its terminal: now its clients are told, although nothing can be printed any more."""
    screen, terminal = pty.openpty()
    command = ("setsid", "--ctty")
    async with muted(tmp_path, terminal, terminal, stdin=terminal, command=command, log_format="auto") as server:
        os.close(terminal)
        async with visitor(server) as bob:
            os.close(screen)
            assert (await bob.end())[0]["code"] == "restart"
            assert await server.ended() == 0


async def test_nohup(tmp_path: Path) -> None:
    """What nohup has the server ignore it ignores."""
    async with muted(tmp_path, *NOWHERE, command=("nohup",)) as server:
        server.process.send_signal(signal.SIGHUP)
        await visit(server, 1)
        await assert_stops(server)


async def test_signals_that_mean_something_else(tmp_path: Path) -> None:
    """SIGUSR1 and SIGUSR2 killed the server without a word to its clients: they, like others, change nothing."""
    async with muted(tmp_path, *NOWHERE) as server:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGCONT, signal.SIGWINCH):
            server.process.send_signal(number)
        await visit(server, 1)
        await assert_stops(server)


async def test_quit(tmp_path: Path) -> None:
    """SIGQUIT (Ctrl-\\) ends the process at once, as the system has it: for one that hangs."""
    async with muted(tmp_path, *NOWHERE, command=("prlimit", "--core=0")) as server:
        server.process.send_signal(signal.SIGQUIT)
        assert await server.ended() == -signal.SIGQUIT


async def test_hangups_are_no_second_signals(tmp_path: Path) -> None:
    """A terminal that is closed sends SIGHUP more than once, a session that ends SIGTERM with it: the stop goes on.
    Two who ask in earnest end it at once."""
    async with hanging(tmp_path, *NOWHERE) as (server, stopping):
        server.process.send_signal(signal.SIGHUP)
        await stopping()
        server.process.send_signal(signal.SIGHUP)
        await stopping()
        server.process.send_signal(signal.SIGTERM)
        await stopping()
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 128 + signal.SIGTERM


async def test_a_hangup_after_another_signal(tmp_path: Path) -> None:
    """systemd sends SIGHUP after SIGTERM where it is told so: the stop goes on, to its deadline here."""
    async with hanging(tmp_path, *NOWHERE) as (server, stopping):
        server.process.send_signal(signal.SIGTERM)
        await stopping()
        server.process.send_signal(signal.SIGHUP)
        assert await server.ended() == 0
