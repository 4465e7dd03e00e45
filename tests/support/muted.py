"""A server whose output goes where a test says: a pipe that nobody reads, a terminal that is gone, a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from .guarded import Raw, http, knock, poll_handshake
from .keyboard import heeding_the_keyboard
from .ports import held_port
from .servers import ROOT, token
from .waiting import DEADLINE_S, eventually

SHUTDOWN_S: Final = 5.0
# The lines that a client's visit leaves in the log.
VISIT: Final = ("connected", "authenticated", "disconnected")
# So small that a few visits fill both.
PIPE_BYTES: Final = 4096
BUFFER_BYTES: Final = 16_384


@dataclass
class Muted:
    """A running server of which nothing is known but what it answers."""

    url: str
    process: asyncio.subprocess.Process

    async def get(self, path: str) -> str:
        async with http() as client, client.get(f"{self.url}{path}") as response:
            assert response.status == 200
            return await response.text()

    async def dropped(self) -> int:
        """How many lines it says that it has dropped."""
        found = re.search(r"^socketserver_log_lines_dropped_total (\S+)$", await self.get("/metrics"), re.MULTILINE)
        assert found
        return int(float(found[1]))

    async def ended(self) -> int:
        """Wait until it has ended, as it should within SHUTDOWN_S. Returns its exit status."""
        async with asyncio.timeout(SHUTDOWN_S + DEADLINE_S):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def muted(
    directory: Path,
    stdout: int,
    stderr: int,
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
    command: Sequence[str] = (),
    program: Sequence[str] = ("-m", "socketserver"),
    **flags: object,
) -> AsyncIterator[Muted]:
    """Run a server with these descriptors.

    Args:
        command: what starts Python; nothing for nobody.
        flags: settings other than the defaults. No client is refused for coming often.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKET_")}
    lifted = dict.fromkeys(("connects_per_minute_user", "connects_per_minute_address", "max_connections_address"), 0)
    lifted |= dict.fromkeys(("failed_connects_per_minute_address", "messages_per_second"), 0)
    with held_port() as port:
        arguments = ["--port", str(port), "--store-url", f"sqlite:///{directory / 'chat.db'}"]
        for name, value in (lifted | {"shutdown_s": SHUTDOWN_S, "log_format": "json"} | flags).items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        with heeding_the_keyboard():
            process = await asyncio.create_subprocess_exec(
                *command,
                sys.executable,
                *program,
                *arguments,
                cwd=ROOT,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        server = Muted(f"http://127.0.0.1:{port}", process)
        try:
            await _answering(server)
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _answering(server: Muted) -> None:
    def listening() -> bool:
        assert server.process.returncode is None, f"it ended with {server.process.returncode}"
        host, port = server.url.removeprefix("http://").split(":")
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
            return True
        return False

    await eventually("it listens", listening, deadline_s=2 * DEADLINE_S)


def small_pipe() -> tuple[int, int]:
    """The ends of a pipe that is full soon: where to read, where to write."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


class Reader:
    """Begins to read a pipe late."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    async def until(self, pattern: str) -> None:
        """Read until there is what the pattern says."""
        await self._read(re.compile(pattern))

    async def lines(self) -> list[dict[str, Any]]:
        """Read all that comes until the other end is closed. Returns the lines of the log so far."""
        await self._read(None)
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    async def _read(self, until: re.Pattern[str] | None) -> None:
        async with asyncio.timeout(2 * DEADLINE_S):
            while not (until and until.search(self.text)):
                data = await asyncio.to_thread(os.read, self._descriptor, 65536)
                if not data:
                    assert until is None, self.text[-500:]
                    return
                self.text += data.decode()


async def visit(server: Any, times: int) -> None:
    """Come and go, so many times."""
    user = token("ann")
    async with http() as client:
        for _ in range(times):
            raw = await knock(client, server)
            await raw.connect({"token": user})
            await raw.close()


@contextlib.asynccontextmanager
async def visitor(server: Any) -> AsyncIterator[Raw]:
    """A client that is there."""
    async with http() as client:
        raw = await knock(client, server)
        await raw.connect({"token": token("bob")})
        yield raw


async def assert_stops(server: Muted, number: signal.Signals = signal.SIGTERM) -> None:
    """It tells its clients, and ends in time with status 0."""
    async with visitor(server) as bob:
        server.process.send_signal(number)
        ended, _ = await bob.end()
        assert (ended["code"], ended["reconnect"]) == ("restart", True)
        assert await server.ended() == 0


@contextlib.contextmanager
def nobody_reads(both: bool) -> Iterator[tuple[int, int]]:
    """A pipe for standard error that nobody reads, and the same one or another for standard output."""
    ends = [*small_pipe(), *small_pipe()]
    yield (ends[1], ends[1]) if both else (ends[1], ends[3])
    for end in ends:
        os.close(end)


@contextlib.asynccontextmanager
async def hanging(
    directory: Path, stdout: int, stderr: int
) -> AsyncIterator[tuple[Muted, Callable[[], Awaitable[None]]]]:
    """A server whose store hangs with a message, so that a stop takes until its deadline; and a function that waits
    until it is stopping."""
    (gate := directory / "gate").touch()
    program = (str(ROOT / "tests" / "support" / "gated_server.py"), str(gate))
    async with (
        muted(directory, stdout, stderr, program=program, log_buffer_bytes=BUFFER_BYTES) as server,
        visitor(server) as bob,
        http() as client,
    ):
        created = await bob.ask("create_conversation", {"participantIds": ["ann"]})
        conversation_id = created["conversation"]["id"]
        await bob.emit("send_message", {"conversationId": conversation_id, "idempotencyKey": "k", "body": "hi"})
        await visit(server, 1)  # so what came before has been read

        async def stopping() -> None:
            while (await poll_handshake(client, cast("Any", server)))[0] != 503:
                pass

        yield server, stopping
