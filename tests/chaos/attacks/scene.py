"""One attack from the first process to the last: server, proxy, bystander, attacker, and what was measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import jwt
from deploy.proxies import KINDS, proxying
from support.servers import ServerProcess

from benchmarks.measure import cpu_s

from .bystander import Order
from .connection import Tally, Target
from .outcome import Acks, Outcome

Mode = Literal["direct", "nginx", "caddy"]
Loop = Literal["uvloop", "asyncio"]
MODES: Final[tuple[Mode, ...]] = ("direct", *KINDS)
LOOPS: Final[tuple[Loop, ...]] = ("uvloop", "asyncio")

ROOT: Final = Path(__file__).resolve().parents[3]
SECRET: Final = "attack-secret-attack-secret-attack-secret"
ORIGIN: Final = "http://localhost:3000"
# What an attack may take beside its own time: a server that stands still answers no handshake for a while.
GRACE_S: Final = 60.0
# A server whose interpreter finds no uvloop.
WITHOUT_UVLOOP: Final = (
    "-c",
    "import runpy, sys; sys.modules['uvloop'] = None; sys.argv[0] = 'socketserver'; "
    "runpy.run_module('socketserver', run_name='__main__')",
)


def plain_token(user: str) -> str:
    """A token that servers with SECRET believe."""
    claims = {"sub": user, "name": user, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@dataclass
class Stage:
    """What an attack finds set up beside the server.

    Attributes:
        flags: settings of the server.
        token: makes a user's token.
        begin: called right before the attack.
        target: further fields of the attacker's Target.
    """

    flags: dict[str, object] = field(default_factory=lambda: {"jwt_secret": SECRET})
    token: Callable[[str], str] = plain_token
    begin: Callable[[], None] = lambda: None
    target: dict[str, Any] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def bare(folder: Path) -> AsyncIterator[Stage]:
    """Nothing beside the server."""
    yield Stage()


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        run: what the attacker's process does.
        hostile: among how many connections the server's CPU time is shared out.
        settings: of the server, other than the defaults.
        proxied: whether it says something new behind a proxy.
        stage: what is set up around it; given the folder of the server's database.
        ready: makes what takes long to make, before the attack.
        note: looks into the server's log for what has to be there; returns what to remark.
        waits: bystanders' acks may take as long as the store's own deadline, because the store is held up.
    """

    name: str
    family: str
    title: str
    run: Callable[[Target], Tally]
    hostile: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    proxied: bool = False
    stage: Callable[[Path], AbstractAsyncContextManager[Stage]] = bare
    ready: Callable[[], object] = lambda: None
    note: Callable[[list[str]], list[str]] = lambda lines: []
    waits: bool = False


@dataclass(frozen=True)
class Size:
    """How much of an attack.

    Attributes:
        seconds: its length, s.
        scale: what numbers of connections are multiplied with.
        quiet_s: how long is looked before and after it, s.
    """

    seconds: float = 5.0
    scale: float = 1.0
    quiet_s: float = 1.0


async def play(attack: Attack, folder: Path, size: Size, *, mode: Mode = "direct", loop: Loop = "uvloop") -> Outcome:
    """Run an attack. Raises: AssertionError if the scene itself cannot be set."""
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(attack.stage(folder))
        flags = {**stage.flags, **attack.settings, "trusted_proxies": "127.0.0.1", "allowed_origins": ORIGIN}
        server = ServerProcess(folder / "chat.db", **flags)
        if loop == "asyncio":
            server.program = WITHOUT_UVLOOP
        await server.start()
        stack.push_async_callback(_kill, server)
        url, port = server.url, server.port
        if mode != "direct":
            proxy = await stack.enter_async_context(proxying(mode, server.port, folder / mode))
            url, port = proxy.url, int(proxy.url.rpartition(":")[2])
        bystander = await _bystander(stack, url, stage)
        target = Target(port, url.startswith("https"), size.seconds, size.scale, **stage.target)
        return await _watch(attack, server, bystander, stage, target, size, mode, loop)


async def _watch(
    attack: Attack,
    server: ServerProcess,
    bystander: asyncio.subprocess.Process,
    stage: Stage,
    target: Target,
    size: Size,
    mode: str,
    loop: str,
) -> Outcome:
    pid = server.pid
    quiet = Window(pid)
    await asyncio.sleep(size.quiet_s)
    quiet.end()
    async with _ready(attack, target) as attacker:
        stage.begin()
        during = Window(pid)
        tally, errors = await _finished(attacker, target)
        during.end()
    await asyncio.sleep(size.quiet_s)
    ended = server._process is None or server._process.returncode is not None
    rss_after_mib = 0.0 if ended else rss_mib(pid)
    assert bystander.stdin is not None
    bystander.stdin.close()
    output = await asyncio.wait_for(_last_line(bystander), GRACE_S)
    log = json.loads(output)
    if ended:
        errors.append("the server ended by itself")
    try:
        await server.stop()
    except AssertionError as error:
        errors.append(_one_line(server.output) or str(error).splitlines()[0])
    visits = [visit for visit in log["visits"] if during.began_s <= visit[0] <= during.ended_s]
    return Outcome(
        attack.name,
        attack.family,
        attack.title,
        mode,
        loop,
        target.of(attack.hostile),
        Acks.of(quiet.of(log["sent"])),
        Acks.of(during.of(log["sent"])),
        len(visits),
        sum(1 for visit in visits if visit[2] != "in"),
        max((visit[1] for visit in visits), default=0.0),
        during.core_share,
        quiet.core_share,
        during.waited_share,
        (during.rss_mib, max(during.peak_mib, during.rss_mib), rss_after_mib),
        tally,
        log["ends"],
        errors,
        attack.note(server.output),
        attack.waits,
    )


def _one_line(output: list[str]) -> str:
    """The exceptions that a server logged, by their last lines; '' if there were none."""
    if not any("Traceback" in line for line in output):
        return ""
    kinds = Counter(
        found[1] for line in output for found in re.finditer(r"(?:^|\\n)([\w.]+(?:Error|Exception))\b", line)
    )
    return "tracebacks: " + ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common(3))


async def _kill(server: ServerProcess) -> None:
    if server.running:
        await server.kill()


class Window:
    """The server's CPU time and memory between now and `end`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the highest resident set starts anew
        self.rss_mib = rss_mib(pid)
        self.began_s = time.monotonic()
        self._cpu_s, self._waited_s = cpu_s(pid), _waited_s(pid)
        self.core_share = self.waited_share = self.peak_mib = self.ended_s = 0.0

    def end(self) -> None:
        self.ended_s = time.monotonic()
        seconds = self.ended_s - self.began_s
        with contextlib.suppress(OSError):
            self.core_share = (cpu_s(self._pid) - self._cpu_s) / seconds
            self.waited_share = (_waited_s(self._pid) - self._waited_s) / seconds
            self.peak_mib = _status_mib(self._pid, "VmHWM:")

    def of(self, sent: list[list[Any]]) -> list[list[Any]]:
        """The entries that began within."""
        return [entry for entry in sent if self.began_s <= entry[0] <= self.ended_s]


def rss_mib(pid: int) -> float:
    """Resident memory."""
    return _status_mib(pid, "VmRSS:")


def _status_mib(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return float(line.split()[1]) / 1024
    return 0.0


def _waited_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


async def _bystander(stack: contextlib.AsyncExitStack, url: str, stage: Stage) -> asyncio.subprocess.Process:
    users = [f"bystander{number}" for number in range(5)]
    visitors = [stage.token(f"visitor{number}") for number in range(100)]
    order = Order(url, [stage.token(user) for user in users], users, origin=ORIGIN, visitors=visitors)
    process = await _python("chaos.attacks.bystander", json.dumps(asdict(order)))
    stack.push_async_callback(_end, process)
    assert process.stdout is not None
    assert (await asyncio.wait_for(process.stdout.readline(), GRACE_S)).strip() == b"ready"
    return process


@contextlib.asynccontextmanager
async def _ready(attack: Attack, target: Target) -> AsyncIterator[asyncio.subprocess.Process]:
    """An attacker that has everything it needs, and waits."""
    process = await _python("chaos.attacks.attacker", attack.name, json.dumps(asdict(target)))
    try:
        assert process.stdout is not None
        async with asyncio.timeout(GRACE_S):
            assert (await process.stdout.readline()).strip() == b"ready"
        yield process
    finally:
        await _end(process)


async def _finished(attacker: asyncio.subprocess.Process, target: Target) -> tuple[dict[str, Any], list[str]]:
    """Let it attack. Returns: its tally, and what went wrong."""
    assert attacker.stdin is not None
    attacker.stdin.write(b"\n")
    line = await asyncio.wait_for(_last_line(attacker), target.seconds + GRACE_S)
    if not line:
        return Tally().as_dict(), ["the attacker failed"]
    result: dict[str, Any] = json.loads(line)
    return result, []


async def _last_line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return (await process.stdout.read()).strip().rpartition(b"\n")[2]


async def _python(module: str, *arguments: str) -> asyncio.subprocess.Process:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 << 20,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
