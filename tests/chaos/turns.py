"""An event loop that knows how much CPU time its longest turn took: while one turn lasts, nobody else is served."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class TurnLoop(asyncio.SelectorEventLoop):
    """Counts CPU time of its own thread, so that what other processes do makes no turn longer.

    Attributes:
        longest_s: the CPU time of the longest turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest_s = 0.0
        self._forgiven = False

    def forgive(self) -> None:
        """The test itself has work to do in this turn, which says nothing about the server."""
        self._forgiven = True

    def _run_once(self) -> None:
        began_s = time.thread_time()
        self._forgiven = False
        super()._run_once()  # type: ignore[misc]  # asyncio's own way of doing one turn
        if not self._forgiven:
            self.longest_s = max(self.longest_s, time.thread_time() - began_s)


def in_turns(main: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Run a test's coroutine. Returns: what it returns, and the CPU time of the longest turn, s."""
    gc.collect()
    gc.freeze()  # as the server does at its start: no collection looks at what was there before
    try:
        with asyncio.Runner(loop_factory=TurnLoop) as runner:
            result = runner.run(main)
            loop = runner.get_loop()
            assert isinstance(loop, TurnLoop)
            return result, loop.longest_s
    finally:
        gc.unfreeze()
