"""The servers that are compared: how each is started, and when it can be reached."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .client import ORIGIN
from .measure import HERE, NODE_MODULES, on_core

SECRET: Final = "benchmark-secret-benchmark-secret-benchmark"
START_S: Final = 30.0
STOP_S: Final = 10.0
OPEN_FILES: Final = 8192

ROOT: Final = HERE.parent

# Limits that would end a load from one address, or slow it down. Those that this version has are lifted.
_LIFTED: Final = (
    "messages_per_second",
    "events_per_second",
    "connects_per_minute_user",
    "connects_per_minute_address",
    "failed_connects_per_minute_address",
    "max_connections_address",
    "max_connections_origin",
    "max_tcp_connections_address",
    "http_bytes_per_second",
    "user_bytes_per_second",
    "guest_bytes_per_second",
    "intake_turn_ms",
)


class PeerError(Exception):
    """A peer cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A server to measure.

    Attributes:
        name: for the command line.
        title: for tables and the chart.
        command: makes the command line for a port and a directory of the run's own.
        stores: whether conversations have to be created before they are joined; elsewhere joining creates them.
        database: whether it needs a MongoDB; its address is `mongodb://127.0.0.1:PORT/chat` in BENCH_MONGO_URL.
    """

    name: str
    title: str
    command: Callable[[int, Path], list[str]]
    stores: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    database: bool = False


def _socketserver(port: int, directory: Path) -> list[str]:
    return [*_socketserver_on_mongo(port, directory), "--store-url", f"sqlite:///{(directory / 'chat.db').as_posix()}"]


def _socketserver_on_mongo(port: int, directory: Path) -> list[str]:
    from socketserver.settings import Settings, flag

    lifted = [part for name in _LIFTED if name in Settings.model_fields for part in (flag(name), "0")]
    return [sys.executable, "-m", "socketserver", "--port", str(port), *lifted]


def _python(engine: str) -> Callable[[int, Path], list[str]]:
    return lambda port, directory: [sys.executable, "-m", "benchmarks.servers.python_chat", engine, str(port)]


def _node(port: int, directory: Path) -> list[str]:
    return [_program("node"), str(HERE / "servers" / "node.mjs"), str(port)]


def _node_on_mongo(port: int, directory: Path) -> list[str]:
    return [_program("node"), str(HERE / "servers" / "node_mongo.mjs"), str(port)]


def _bun(port: int, directory: Path) -> list[str]:
    return [_bun_program(), str(HERE / "servers" / "bun.mjs"), str(port)]


def _program(name: str) -> str:
    if not (NODE_MODULES / "socket.io").is_dir():
        raise PeerError("benchmarks/node_modules is missing: run `make bench`, or `npm ci` in benchmarks/")
    path = shutil.which(name)
    if path is None:
        raise PeerError(f"{name} is not installed")
    return path


def _bun_program() -> str:
    _program("node")
    # The package's install script moves the program of the platform's own package into place; without install scripts
    # it is still where it came.
    for pattern in ("bun/bin/bun.exe", "@oven/bun-*/bin/bun"):
        for path in sorted(NODE_MODULES.glob(pattern)):
            if path.stat().st_size > 1_000_000 and os.access(path, os.X_OK):
                return str(path)
    raise PeerError("the npm package bun has no program for this machine")


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            "socketserver",
            "socketserver, everything on",
            _socketserver,
            stores=True,
            environment={"WEBSOCKET_JWT_SECRET": SECRET},
        ),
        Peer("realtime", "its delivery engine alone", _python("realtime")),
        Peer("stock", "python-socketio", _python("stock")),
        Peer("node", "socket.io on Node", _node),
        Peer("bun", "socket.io on Bun", _bun),
        Peer(
            "socketserver-mongo",
            "socketserver on MongoDB",
            _socketserver_on_mongo,
            stores=True,
            environment={"WEBSOCKET_JWT_SECRET": SECRET},
            database=True,
        ),
        Peer("node-mongo", "socket.io on Node, insertOne", _node_on_mongo, database=True),
    )
}


class Server:
    """A running peer. Use as a context manager: it is stopped, and its directory can be deleted, afterwards.

    Args:
        peer: what to run.
        core: the core to keep it on, with all its threads; None for any.
        directory: for its files and its log.

    Attributes:
        pid: its process.
        port: its port on the loopback address.
    """

    def __init__(self, peer: Peer, core: int | None, directory: Path) -> None:
        self.peer = peer
        self.port = _free_port()
        self._log = directory / "server.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKET_")}
        environment |= {"BENCH_JWT_SECRET": SECRET, "BENCH_ORIGIN": ORIGIN, "NODE_ENV": "production"}
        command = peer.command(self.port, directory)
        self._database: subprocess.Popen[bytes] | None = None
        if peer.database:
            self._database, url = _start_database(directory)
            environment |= {"BENCH_MONGO_URL": url, "WEBSOCKET_STORE_URL": url}
        with on_core(core), self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment | dict(peer.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Server:
        try:
            self._wait_until_reachable()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end; after a while, end it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)
        if self._database is not None:
            self._database.kill()
            self._database.wait(STOP_S)

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1000:]

    def _wait_until_reachable(self) -> None:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise PeerError(f"{self.peer.name} ended with status {self._process.returncode}: {self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise PeerError(f"{self.peer.name} cannot be reached after {START_S:.0f} s: {self.last_words()}")


def _start_database(directory: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A MongoDB wire server of its own, on any core. Returns: its process, and the address of an empty database.

    Raises: PeerError where the tests' wire server is not installed.
    """
    program = Path(sys.executable).with_name("secantusd-py")
    if not program.exists():
        raise PeerError("SecantusDB is not installed: run `make setup` on Linux")
    port = _free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--storage-path", directory / "mongo", "--log-level", "ERROR"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=directory,
    )
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process, f"mongodb://127.0.0.1:{port}/chat"
    process.kill()
    raise PeerError("the MongoDB wire server does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
