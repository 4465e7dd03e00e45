"""How long the event loop keeps others waiting, in CPU time of its thread, so that a busy machine does not matter.

A thread asks the loop for a sign again and again, and reads the clock of the loop's thread: what the loop computes
between the question and the answer, nobody else got. That is what it has left of one turn and the beginning of the
next. This works with any loop; uvloop has no other place to measure at. Where the thread itself has to wait for the
processor it asks later, and what it measures is too short, never too long.

When a turn is long, the stack of the loop's thread is kept: the answer to what was running.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import __file__ as package
from typing import Final, Literal

LIMIT_S: Final = 0.1
# From here on a turn that goes on leaves its stack.
SUSPECT_S: Final = 0.8 * LIMIT_S
_PERIOD_S: Final = 0.02
_MOST_STACKS: Final = 50
_PACKAGE: Final = str(Path(package).parent)

Phase = Literal["start", "stop"]


@dataclass
class Turn:
    """One that was too long.

    Attributes:
        seconds: of CPU time.
        stacks: what was running, each time somebody looked; the innermost call last.
        blamed: in how many of these stacks the package is.
    """

    seconds: float
    stacks: list[str] = field(default_factory=list)
    blamed: int = 0

    def __str__(self) -> str:
        # The first: the last may show what came after the long part.
        seen = self.stacks[0] if self.stacks else "(it was over before somebody could look)"
        return f"the event loop computed for {self.seconds * 1000:.0f} ms of CPU in one turn:\n{seen}"


class Recorder:
    """Watches one loop.

    Args:
        limit_s: turns longer than that are told.
        tell: called with each of them, in the recorder's thread.
        with_garbage: whether the collection of garbage counts. In a process of tests it does not: the heap is theirs.

    Attributes:
        longest_s: the longest turn so far, CPU seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit_s: float,
        tell: Callable[[Turn], None],
        *,
        with_garbage: bool = True,
    ) -> None:
        self.longest_s = 0.0
        self._loop = loop
        self._limit_s = limit_s * (2 if sys.gettrace() else 1)  # measuring coverage costs as much again
        self._tell = tell
        self._with_garbage = with_garbage
        self._garbage_s = 0.0
        self._garbage_since_s = 0.0
        self._answered_s: float | None = None
        self._answer = threading.Event()
        self._ended = threading.Event()
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def start(self) -> None:
        """Watch the loop that runs in this thread, from now on."""
        if not self._with_garbage:
            gc.callbacks.append(self._collecting)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; in the loop's thread. What was measured is told when this returns."""
        self._ended.set()
        self._thread.join()
        if not self._with_garbage:
            gc.callbacks.remove(self._collecting)

    def _collecting(self, phase: Phase, info: object) -> None:
        if threading.get_ident() == self._loop_thread:
            if phase == "start":
                self._garbage_since_s = time.thread_time()
            else:
                self._garbage_s += time.thread_time() - self._garbage_since_s

    def _now_s(self) -> float:
        """CPU seconds of the loop's thread; asked in it."""
        return time.thread_time() - self._garbage_s

    def _sign(self) -> None:
        self._answered_s = self._now_s()
        self._answer.set()

    def _run(self) -> None:
        clock = time.pthread_getcpuclockid(self._loop_thread)
        while not self._ended.wait(_PERIOD_S):
            self._answered_s = None
            self._answer.clear()
            try:
                self._loop.call_soon_threadsafe(self._sign)
            except RuntimeError:  # it is closed
                return
            # After the question, not before: this thread may have to wait for the processor in between.
            asked_s = time.clock_gettime(clock) - self._garbage_s
            turn = Turn(0.0)
            while not self._answer.wait(_PERIOD_S / 2):
                now_s = time.clock_gettime(clock) - self._garbage_s
                if self._ended.is_set():  # the loop waits for this thread, and will not answer
                    self._answered_s = now_s
                    break
                if now_s - asked_s > SUSPECT_S and len(turn.stacks) < _MOST_STACKS:
                    self._look(turn)
            turn.seconds = (self._answered_s or 0.0) - asked_s
            self.longest_s = max(self.longest_s, turn.seconds)
            if turn.seconds > self._limit_s:
                self._tell(turn)

    def _look(self, turn: Turn) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is not None and not self._answer.is_set():
            stack = traceback.extract_stack(frame)
            turn.stacks.append("".join(traceback.format_list(stack)))
            turn.blamed += any(each.filename.startswith(_PACKAGE) for each in stack)


# In a process of tests the clients compute on the same loop. So the limit is wider, and the package must have been
# running most of the times that somebody looked.
SHARED_LIMIT_S: Final = 0.25


@contextlib.contextmanager
def watched_turns() -> Iterator[None]:
    """Fails if the server, which shares this loop with its test, computes for long in one turn.

    Raises: AssertionError with the stack.
    """
    if not hasattr(time, "pthread_getcpuclockid"):  # Linux has it
        yield
        return
    turns: list[Turn] = []
    recorder = Recorder(asyncio.get_running_loop(), SHARED_LIMIT_S, turns.append, with_garbage=False)
    recorder.start()
    try:
        yield
    finally:
        recorder.stop()
    long = [turn for turn in turns if 2 * turn.blamed > len(turn.stacks)]
    assert not long, "\n".join(map(str, long))
