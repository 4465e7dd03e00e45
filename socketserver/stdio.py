"""Standard output and standard error that make nobody wait.

A pipe that nobody reads, a terminal stopped with Ctrl-S or a disk that hangs holds whoever writes to it, for ever: on
the event loop that is every client, and the stop too. So what is printed waits in a bounded buffer for a thread that
writes. What finds no room is dropped and counted, and a notice stands in its place. Knows nothing of logging.
Source: docs/decisions/0018-the-log-never-waits.md
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO, cast

# What a line costs in memory beyond its own bytes. It counts with them, so that empty lines are bounded too.
LINE_BYTES: Final = 64
# What the thread writes at a time, unless a line is longer.
CHUNK_BYTES: Final = 32_768
# How long lines are gathered before they are written together: waking a thread costs more than a line.
GATHER_S: Final = 0.02
# How long the thread waits after a write that failed. The lines stay: a disk that was full has room again.
RETRY_S: Final = 0.5
# How long a process that ends waits for its last lines to be written.
LAST_LINES_S: Final = 1.0

_STANDARD: Final = 0, 1, 2


class _Dropped:
    """Stands in the buffer where lines are missing."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines = 1


class Outlet(io.TextIOBase):
    """A text stream that takes whole lines and writes them later. Any thread may use it, signal handlers too.

    Nothing here waits except `drain`, and `drain` not longer than it is told. `flush` only ends an unfinished line.

    Args:
        descriptor: where to write.
        limit_bytes: what may wait to be written; 0 for any number.

    Attributes:
        notice: makes the line that says how many were dropped.
        dropped: how many lines were, all in all.
    """

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        self.notice: Callable[[int], str] = "{} lines were dropped: nobody read them\n".format
        self.dropped = 0
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        self._held_bytes = 0  # what is being written included
        self._unfinished = ""
        self._lines: deque[bytes | _Dropped] = deque()
        self._writing = False
        self._failing = False
        # Reentrant: a signal handler, or what the garbage collector ends, may print while the same thread prints.
        self._changed = threading.Condition(threading.RLock())
        threading.Thread(target=self._run, name=f"writes-{descriptor}", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """Take text; what is after its last line end waits for the rest of its line, or for `flush`."""
        with self._changed:
            lines, end, rest = (self._unfinished + text).rpartition("\n")
            self._unfinished = rest
            if end:
                self._put(lines + end)
        return len(text)

    def flush(self) -> None:
        if (
            not self._unfinished
        ):  # the interpreter's last flush must not want the lock: its owner may be stopped already
            return
        with self._changed:
            text, self._unfinished = self._unfinished, ""
            self._put(text)

    def drain(self, within_s: float) -> None:
        """Wait until all is written, but not for longer, and not for what cannot be written at the moment."""
        self.flush()
        end_s = time.monotonic() + within_s
        with self._changed:
            while (self._lines or self._writing) and not self._failing and (left_s := end_s - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _put(self, text: str) -> None:
        line = text.encode("utf-8", "backslashreplace")
        size_bytes = len(line) + LINE_BYTES
        if self._limit_bytes and self._held_bytes + size_bytes > self._limit_bytes:
            self.dropped += 1
            last = self._lines[-1] if self._lines else None
            if isinstance(last, _Dropped):
                last.lines += 1
            else:
                self._lines.append(_Dropped())
        else:
            self._held_bytes += size_bytes
            self._lines.append(line)
        if not self._writing:
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()  # who drains
                while not self._lines:
                    self._changed.wait()
                self._writing = True  # so that those that come now need not wake this thread
            time.sleep(GATHER_S)
            with self._changed:
                chunk, held_bytes = self._take()
            self._write(b"".join(chunk))
            with self._changed:
                self._held_bytes -= held_bytes

    def _take(self) -> tuple[list[bytes], int]:
        chunk: list[bytes] = []
        held_bytes = 0
        while self._lines and held_bytes < CHUNK_BYTES:
            line = self._lines.popleft()
            if isinstance(line, _Dropped):
                chunk.append(self.notice(line.lines).encode("utf-8", "backslashreplace"))
            else:
                chunk.append(line)
                held_bytes += len(line) + LINE_BYTES
        return chunk, held_bytes

    def _write(self, data: bytes) -> None:
        """Write all of it, whatever goes wrong meanwhile, so that no line is ever torn."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
                self._failing = False
            except BlockingIOError:  # another process that has the same terminal has set it so
                select.select((), (self._descriptor,), (), RETRY_S)
            except OSError:  # nobody has the other end, the disk is full, the terminal is gone
                with self._changed:
                    self._failing = True
                    self._changed.notify_all()
                time.sleep(RETRY_S)


_outlets: list[Outlet] = []


def take_over(limit_bytes: int) -> None:
    """From now on whatever this process prints goes through an outlet: logs, tracebacks, warnings, `print`.

    Streams that somebody has replaced already stay as they are. A descriptor that is closed is opened on nothing, so
    that no file of ours gets its number and with it what is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) in _STANDARD:
        pass
    os.close(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = cast("TextIO", _outlet(1, sys.stdout, limit_bytes))
    if sys.stderr is sys.__stderr__:
        sys.stderr = cast("TextIO", _outlet(2, sys.stderr, limit_bytes))


def _outlet(descriptor: int, stream: TextIO | None, limit_bytes: int) -> Outlet:
    if stream is not None:
        stream.flush()
    if not _outlets:
        atexit.register(drain)  # after the interpreter has printed what ends it
    _outlets.append(Outlet(descriptor, limit_bytes))
    return _outlets[-1]


def drain(within_s: float = LAST_LINES_S) -> None:
    """Wait until everything that was printed is written, `within_s` at most."""
    end_s = time.monotonic() + within_s
    for outlet in _outlets:
        outlet.drain(end_s - time.monotonic())


def dropped_lines() -> int:
    """How many lines were dropped since the start of the process."""
    return sum(outlet.dropped for outlet in _outlets)
