"""socketserver.stdio"""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from socketserver import stdio
from socketserver.stdio import LINE_BYTES, Outlet

import pytest
from support.muted import small_pipe
from support.servers import ROOT
from support.waiting import DEADLINE_S


class Pipe:
    """A pipe that takes nothing until it is read."""

    def __init__(self) -> None:
        self.reading, self.writing = small_pipe()
        os.set_blocking(self.writing, False)
        self.stuffing = 0
        try:
            while True:
                self.stuffing += os.write(self.writing, b"-" * 64)
        except BlockingIOError:
            os.set_blocking(self.writing, True)

    def read(self, end: str) -> str:
        """Read until the text ends so; what the pipe was full of is left out."""
        data = b""
        while not (text := data[self.stuffing :].decode()).endswith(end):
            assert select.select([self.reading], [], [], DEADLINE_S)[0], text
            data += os.read(self.reading, 65536)
        self.stuffing = 0
        return text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)  # the outlet's thread has the other end for as long as the process lives


def hold(pipe: Pipe, limit_bytes: int) -> Outlet:
    """An outlet whose thread stands in a write of one line, which is still held."""
    outlet = Outlet(pipe.writing, limit_bytes)
    outlet.notice = "<{}>\n".format
    outlet.write("first\n")
    return outlet


def test_the_bound(pipe: Pipe) -> None:
    """Lines are taken as long as they fit, what is being written included; then one that does not is dropped, and
    there is one notice in the place of all that are."""
    size_bytes = len("first\n") + LINE_BYTES
    outlet = hold(pipe, 3 * size_bytes)
    outlet.write("secon\n")
    outlet.write("third!\n")  # a byte too long
    outlet.write("third\n")
    for _ in range(5):
        outlet.write("\n")
    assert outlet.dropped == 6
    assert pipe.read("<5>\n") == "first\nsecon\n<1>\nthird\n<5>\n"
    outlet.drain(DEADLINE_S)  # what has just been read may still count as held
    outlet.write("again\n")
    assert pipe.read("again\n") == "again\n"


def test_no_bound(pipe: Pipe) -> None:
    """0 is no limit."""
    outlet = hold(pipe, 0)
    for _ in range(10_000):
        outlet.write("line\n")
    assert outlet.dropped == 0
    outlet.write("last\n")
    assert pipe.read("last\n") == "first\n" + "line\n" * 10_000 + "last\n"


def test_lines_stay_whole(pipe: Pipe) -> None:
    """A line that comes in pieces is written in one; a piece that nothing follows is written when it is flushed."""
    outlet = hold(pipe, 10_000)
    for piece in ("a", "b\nc", "\n", "d\ne", "f"):
        outlet.write(piece)
    outlet.flush()
    outlet.write("\ud800\n")
    assert pipe.read("\\ud800\n") == "first\nab\nc\nd\nef\\ud800\n"


def test_a_drain_waits_no_longer_than_told(pipe: Pipe) -> None:
    """It comes back although nobody reads; and when somebody does, everything is written when it comes back."""
    outlet = hold(pipe, 10_000)
    outlet.drain(0.01)
    assert pipe.read("first\n")
    outlet.write("second")
    outlet.drain(DEADLINE_S)
    assert os.read(pipe.reading, 100) == b"second"


def test_whoever_prints_while_printing(pipe: Pipe) -> None:
    """A signal's handler that prints at any moment of a print of the same thread neither waits nor spoils a count."""
    outlet = hold(pipe, 2_000)
    before = signal.signal(signal.SIGALRM, lambda *_: outlet.write("from the handler\n") and None)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        for _ in range(20_000):
            outlet.write("x\n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    reader = threading.Thread(target=lambda: pipe.read("last\n"), daemon=True)
    reader.start()
    outlet.drain(DEADLINE_S)
    dropped = outlet.dropped
    outlet.write("x" * (2_000 - LINE_BYTES - 1) + "\n")  # all that ever fits
    outlet.drain(DEADLINE_S)
    outlet.write("last\n")
    reader.join(DEADLINE_S)
    assert not reader.is_alive()
    assert outlet.dropped == dropped


CRASH = """
import sys, warnings
from socketserver import stdio
stdio.take_over(100_000)
print("printed")
print("no end", end="")
warnings.warn("of a library")
sys.stderr.write("x" * {chars} + "\\n")
raise RuntimeError("the end")
"""


@pytest.mark.parametrize("read", [True, False], ids=["read", "not-read"])
def test_an_uncaught_error(read: bool) -> None:
    """What the interpreter prints of it at its end is written; where nobody reads, the process ends all the same."""
    program = [sys.executable, "-c", CRASH.format(chars=10 if read else 80_000)]
    process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    status = process.wait(DEADLINE_S)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read().decode(), process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert (status, out) == (1, "printed\nno end")
    assert "of a library" in err
    assert err.endswith("RuntimeError: the end\n") is read


def test_a_stream_that_was_replaced_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever captures the output of this process goes on getting it."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    stdio.take_over(1000)
    assert (sys.stdout, sys.stderr) == (out, err)
