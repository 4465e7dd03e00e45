"""A MongoDB for the tests: the one that WEBSOCKET_TEST_MONGO_URL names, else a wire-compatible server started here.

SecantusDB is GPL and meant for tests: it is a process of its own, and never a dependency of the package.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ports import held_port

DEADLINE_S = 30.0


class MongoServer:
    """A server of the tests' own, on one port and one directory, that can be stopped and started again."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = Path(sys.executable).with_name("secantusd-py")
        self._process = subprocess.Popen(
            [command, "--port", str(self.port), "--storage-path", self._directory, "--log-level", "ERROR"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._directory.parent,
        )
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self._process.poll() is None, "the MongoDB wire server ended at its start"
            assert time.monotonic() < deadline, "the MongoDB wire server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def skip_or_fail(*, own: bool = False) -> None:
    """Skip the test if there is no MongoDB (of the tests' own); fail it where nothing may be missing."""
    if not own and os.environ.get("WEBSOCKET_TEST_MONGO_URL"):
        return
    if Path(sys.executable).with_name("secantusd-py").exists():
        return
    reason = "no MongoDB for the tests: install '.[test]' on Linux, or set WEBSOCKET_TEST_MONGO_URL to a real one"
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def own_server() -> Iterator[MongoServer]:
    """A fresh server that ends with the block."""
    directory = Path(tempfile.mkdtemp(prefix="mongo-"))
    with held_port() as port:
        server = MongoServer(directory / "data", port)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """The address of a MongoDB, without a database."""
    skip_or_fail()
    url = os.environ.get("WEBSOCKET_TEST_MONGO_URL")
    if url:
        yield url
        return
    with own_server() as server:
        yield server.url


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    address, _, options = url.partition("?")
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{name}{'?' + options if options else ''}"
