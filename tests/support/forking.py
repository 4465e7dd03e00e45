"""Servers' processes that are forked from one that has imported the package already.

To import the package takes a server most of its start, 0.7 s of CPU, and tests start hundreds of servers. So a process
of each test run imports it once and is forked: what comes of that is the program that Python would have run, as a
process of its own with its own arguments, variables, directory and standard streams, which dies of every signal that
the other would die of, and says its exit status. Where there is no fork to rely on, the program is started as usual.

usage, by this module alone: python tests/support/forking.py DESCRIPTOR
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_LONGEST_REQUEST: Final = 1 << 17


class Process(Protocol):
    """What asyncio's processes and those here have in common."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """What it writes on standard output."""

    @property
    def returncode(self) -> int | None:
        """The exit status, the negative number of a signal that ended it; None while it runs."""

    def send_signal(self, signal: int, /) -> None:
        """Send it a signal. Raises: ProcessLookupError if it has ended."""

    def kill(self) -> None:
        """kill -9. Raises: ProcessLookupError if it has ended."""

    async def wait(self) -> int:
        """Wait until it has ended. Returns the exit status."""


async def start(
    program: Sequence[str], *arguments: str, environment: Mapping[str, str], stderr: int | None = None
) -> Process:
    """Run a Python program in the checkout's directory.

    Args:
        program: what stands after `python`: `-m` and a module, or a file. A text after `-c` runs in a new Python,
            because it may want to be there before the package is.
        environment: all of its variables.
        stderr: a descriptor for its standard error; where its standard output goes if there is none.
    """
    if program[0] == "-c" or sys.platform != "linux":
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *program, *arguments),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if stderr is None else stderr,
        )
    return await _fork({"command": [*program, *arguments], "environment": dict(environment)}, stderr)


class _Life(asyncio.Protocol):
    """What the forked process' parent says of it: a line with its process id, and one with its exit status."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.began: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._said = b""

    def data_received(self, data: bytes) -> None:
        self._said += data
        if b"\n" in self._said and not self.began.done():
            self.began.set_result(int(self._said.split(b"\n")[0]))

    def connection_lost(self, error: Exception | None) -> None:
        lines = self._said.splitlines()
        if not lines:
            self.began.set_exception(AssertionError("the process that is to be forked has ended"))
        elif len(lines) > 1:  # not before: whoever waits for the end wants nothing left open
            self.ended.set_result(int(lines[1]))
        else:
            self.ended.set_exception(AssertionError("the parent of the process has ended"))


class _Forked:
    """A process that was forked, as asyncio shows others."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, life: _Life) -> None:
        self.pid = pid
        self.stdout = stdout
        self._life = life

    @property
    def returncode(self) -> int | None:
        return self._life.ended.result() if self._life.ended.done() else None

    def send_signal(self, signal: int, /) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._life.ended)


class _Parent:
    """The process that is forked. One for a test run, or for each of its workers; it ends with them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def ask(self, request: object, descriptors: Sequence[int]) -> None:
        """Have it forked. The descriptors are copied: standard output, standard error, and where to tell of it."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(theirs.fileno())],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        assert self._requests is not None
        socket.send_fds(self._requests, [json.dumps(request).encode()], list(descriptors))

    def stop(self) -> None:
        """End it; those that were forked go on. Idempotent."""
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.wait()


_PARENT: Final = _Parent()
atexit.register(_PARENT.stop)


async def _fork(request: object, stderr: int | None) -> Process:
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    listening, telling = os.pipe()
    try:
        _PARENT.ask(request, [writing, writing if stderr is None else stderr, telling])
    except BaseException:
        os.close(reading)
        os.close(listening)
        raise
    finally:
        os.close(writing)
        os.close(telling)
    stdout = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reading, "rb", 0))
    _, life = await loop.connect_read_pipe(_Life, os.fdopen(listening, "rb", 0))
    return _Forked(await life.began, stdout, life)


def _await_requests(requests: socket.socket) -> list[str] | None:
    """Fork for each request. Returns: in the process that was forked what it is to run; here None, after the last."""
    tellings: dict[int, int] = {}

    def reap(*_: object) -> None:
        for pid in list(tellings):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                    os.write(tellings[pid], b"%d\n" % os.waitstatus_to_exitcode(status))
                os.close(tellings.pop(pid))

    signal.signal(signal.SIGCHLD, reap)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # those who are forked heed it
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 3)
        if not text:
            return None
        request = json.loads(text)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, interrupt)
            os.dup2(descriptors[0], 1)
            os.dup2(descriptors[1], 2)
            for descriptor in (*descriptors, *tellings.values()):
                os.close(descriptor)
            os.environ.clear()
            os.environ.update(request["environment"])
            command: list[str] = request["command"]
            return command
        with contextlib.suppress(BrokenPipeError):
            os.write(descriptors[2], b"%d\n" % pid)
        os.close(descriptors[0])
        os.close(descriptors[1])
        tellings[pid] = descriptors[2]
        reap()  # it may have ended before it was known here


def _run(command: list[str]) -> None:
    """Run what stands after `python`."""
    if command[0] == "-m":
        sys.path[:2] = [str(ROOT)]
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:2] = [str(Path(command[0]).parent)]
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    sys.path[:1] = [str(ROOT), str(ROOT / "tests")]
    import socketserver.store.sqlite.sqlite_store  # noqa: F401

    import support.watched_server  # noqa: F401  (and with it the command line)

    with socket.socket(fileno=int(sys.argv[1])) as asked:
        command = _await_requests(asked)
    if command is not None:
        _run(command)
