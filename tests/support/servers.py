"""Servers to test: one in this process, whose clock and store a test can reach, and one in a process of its own, which
a test can kill."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socketserver.app import SESSIONS, SIO, create_app
from socketserver.chat.domain import SystemClock
from socketserver.door.auth import Authenticator
from socketserver.live.connections import Sessions
from socketserver.realtime import AsyncServer
from socketserver.settings import Settings
from socketserver.store.base import Store
from typing import Any, Final

from aiohttp import web

from .forking import Process, start
from .stopping import stop
from .turns import watched_turns
from .waiting import DEADLINE_S

ROOT: Final = Path(__file__).resolve().parent.parent.parent
TOKEN_LIFETIME_S: Final = 3600
# A busy machine takes its time to start Python.
START_S: Final = 60.0
# Variables that would change what a test server does.
_OUR_VARIABLES: Final = re.compile(r"\A(WEBSOCKET_(?!TEST_)|MONGODB_URI\Z|NEXT_PUBLIC_APP_URL\Z|PORT\Z)")


class MovedClock:
    """The machine's clocks, moved on by a test: deadlines pass when the test says so."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self._ahead_s = ahead_s
        self._wrong_s = 0.0
        self._held: tuple[int, float] | None = None
        self._clock = SystemClock()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead_s += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._wrong_s += seconds

    def hold(self) -> None:
        """From now on time passes by `advance` only."""
        self._held = self._clock.now_ms(), self._clock.monotonic_s()

    def now_ms(self) -> int:
        now_ms = self._held[0] if self._held else self._clock.now_ms()
        return now_ms + int((self._ahead_s + self._wrong_s) * 1000)

    def monotonic_s(self) -> float:
        return (self._held[1] if self._held else self._clock.monotonic_s()) + self._ahead_s


def token(
    user: str,
    *,
    name: str | None = None,
    picture: str | None = None,
    lifetime_s: int = TOKEN_LIFETIME_S,
    ahead_s: float = 0.0,
) -> str:
    """A token of the development login, made `ahead_s` seconds from now."""
    return Authenticator(_defaults(), MovedClock(ahead_s)).issue_token(user, name, picture, lifetime_s=lifetime_s)


@functools.cache
def _defaults() -> Settings:
    return Settings()


class _Errors(logging.Handler):
    """Collects what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass(eq=False)
class LocalServer:
    """A server in this process.

    Attributes:
        errors: what it logged as errors, tracebacks included. A test that means to cause some clears the list; what
            is left at the end fails the test.
    """

    url: str
    app: web.Application
    clock: MovedClock
    database: Path
    errors: list[str] = field(default_factory=list)

    @property
    def sessions(self) -> Sessions:
        return self.app[SESSIONS]

    @property
    def sio(self) -> AsyncServer:
        return self.app[SIO]


@contextlib.asynccontextmanager
async def serving(database: Path, *, store: Store | None = None, **options: object) -> AsyncIterator[LocalServer]:
    """Run a server in this process on a free port.

    Args:
        store: instead of the SQLite file `database`.
        options: settings other than the defaults.
    """
    clock = MovedClock()
    errors = _Errors()
    settings = Settings(host="127.0.0.1", port=0, store_url=f"sqlite:///{database}", **options)  # type: ignore[arg-type]
    app = create_app(settings, store=store, clock=clock)
    logging.getLogger().addHandler(errors)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, 0).start()
        server = LocalServer(f"http://127.0.0.1:{runner.addresses[0][1]}", app, clock, database, errors.lines)
        with watched_turns():
            yield server
    finally:
        await stop(runner)
        logging.getLogger().removeHandler(errors)
    assert not server.errors, "the server logged errors:\n" + "\n".join(server.errors)


class ServerProcess:
    """`python -m socketserver` on a SQLite file. It keeps its port when it starts again.

    Args:
        flags: settings other than the defaults, as the flags are called: `messages_per_second="0"`.

    Attributes:
        program: what Python runs: the command line, and a recorder of the loop's longest turns.
        turns: what that recorder has written so far. A turn that was too long fails whoever waits for the end.
    """

    def __init__(self, database: Path, **flags: object) -> None:
        self.database = database
        self.program: Sequence[str] = (str(ROOT / "tests" / "support" / "watched_server.py"),)
        self.flags = flags
        self.port = 0
        self.output: list[str] = []
        self._turns = database.with_name(f"{database.name}.turns")
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def turns(self) -> list[dict[str, Any]]:
        if not self._turns.exists():
            return []
        return [json.loads(line) for line in self._turns.read_text(encoding="utf-8").splitlines()]

    @property
    def running(self) -> bool:
        """Whether it was started, and its end was not waited for yet."""
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it listens."""
        assert self._process is None
        arguments = ["--port", str(self.port), "--store-url", f"sqlite:///{self.database}"]
        for name, value in self.flags.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        environment = {name: value for name, value in os.environ.items() if not _OUR_VARIABLES.match(name)}
        environment["WEBSOCKET_TEST_TURNS"] = str(self._turns)
        self._process = await start(self.program, *arguments, environment=environment)
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process, listening))
        async with asyncio.timeout(START_S):
            self.port = await listening

    async def _read(self, process: Process, listening: asyncio.Future[int]) -> None:
        assert process.stdout is not None
        while line := (await process.stdout.readline()).decode():
            self.output.append(line.rstrip())
            found = re.search(r"listens on http://\S+:(\d+)", line)
            if found and not listening.done():
                listening.set_result(int(found[1]))
        if not listening.done():
            listening.set_exception(AssertionError("the server did not start:\n" + "\n".join(self.output)))

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """Ask it to stop. Returns its exit status."""
        return await self._end(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended. Returns its exit status."""
        return await self._end(None)

    async def stop(self) -> None:
        """End it if it runs, and check that it stopped as it should and logged no traceback."""
        if self._process is not None:
            assert await self.terminate() == 0, "\n".join(self.output[-40:])
        assert not any("Traceback" in line for line in self.output), "\n".join(self.output[-80:])

    async def _end(self, number: signal.Signals | None) -> int:
        assert self._process is not None
        assert self._reading is not None
        process, self._process = self._process, None
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        try:
            async with asyncio.timeout(2 * DEADLINE_S):
                status = await process.wait()
                await self._reading
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"the server did not end after {number.name if number else 'a signal'}") from None
        long = [turn["turn"] for turn in self.turns if "turn" in turn]
        assert not long, "\n".join(long)
        return status


@contextlib.asynccontextmanager
async def running(database: Path, **flags: object) -> AsyncIterator[ServerProcess]:
    """Run a server in a process of its own, and see that it ends well."""
    server = ServerProcess(database, **flags)
    await server.start()
    try:
        yield server
    except BaseException:
        if server._process is not None:
            await server.kill()
        raise
    await server.stop()
