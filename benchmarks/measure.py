"""What the kernel knows: a server process's CPU time and memory, the cores, and which versions were measured."""

from __future__ import annotations

import json
import os
import platform
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
NODE_MODULES: Final = HERE / "node_modules"

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PYTHON_PACKAGES: Final = ("aiohttp", "marshmallow", "orjson", "PyJWT", "python-engineio", "python-socketio", "uvloop")
_NPM_PACKAGES: Final = ("@socket.io/bun-engine", "bun", "bufferutil", "engine.io", "jsonwebtoken", "socket.io", "ws")


@dataclass(frozen=True)
class Cores:
    """Which core the server and which the load generator runs on; None where they cannot be told apart."""

    server: int | None
    generator: int | None

    @classmethod
    def choose(cls) -> Cores:
        """The highest core for the server (interrupts prefer the lowest), the lowest for the load generator."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[-1], allowed[0]) if len(allowed) > 1 else cls(None, None)


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run a block, and the processes started in it with all their threads, on one core; None changes nothing."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Usage:
    """CPU seconds (user and system) used so far by the server and by the load generator, at a monotonic time in s."""

    at_s: float
    server_s: float
    generator_s: float

    @classmethod
    def now(cls, pid: int) -> Usage:
        return cls(time.monotonic(), cpu_s(pid), time.process_time())


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and its descendants: all threads, also those that have ended."""
    return sum(_own_cpu_s(one) for one in _family(pid))


def resident_kib(pid: int) -> float:
    """Resident memory in KiB of a process and its descendants."""
    return sum(_own_resident_kib(one) for one in _family(pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text()
        except OSError:  # a thread that has just ended, or a kernel that does not list children
            continue
        for child in children.split():
            yield from _family(int(child))


def _own_cpu_s(pid: int) -> float:
    # The process's CPU clock counts the same as utime + stime in /proc/PID/stat, in nanoseconds instead of ticks.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S


def _own_resident_kib(pid: int) -> float:
    for name, key in (("smaps_rollup", "Rss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(key):
                return float(line.split()[1])
    raise ProcessLookupError(f"process {pid} has no readable memory figures")


def raise_open_files(least: int) -> None:
    """Let this process and its children open at least `least` files.

    Raises: RuntimeError if the machine does not allow that many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= least:
        return
    if hard != resource.RLIM_INFINITY and hard < least:
        raise RuntimeError(f"needs {least} open files, but the limit (ulimit -Hn) is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))


def facts(cores: Cores) -> dict[str, Any]:
    """The machine and the versions of everything that is measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "pinned": {"server": cores.server, "generator": cores.generator},
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "loadAverage": [round(load, 2) for load in os.getloadavg()],
        "takenAt": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _output(["git", "rev-parse", "--short", "HEAD"]),
        "changedFiles": len((_output(["git", "status", "--porcelain", "--untracked-files=no"]) or "").splitlines()),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "node": _output(["node", "--version"]),
        "packages": {name: _python_version(name) for name in _PYTHON_PACKAGES},
        "npm": {name: _npm_version(name) for name in _NPM_PACKAGES},
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _output(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _python_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _npm_version(package: str) -> str | None:
    try:
        return str(json.loads((NODE_MODULES / package / "package.json").read_text())["version"])
    except OSError:
        return None
