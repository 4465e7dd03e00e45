"""Signals and the clock of a stop: the first signal asks for one, and from then on nothing can hold the process.

Knows nothing of what is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Final

from .logs import get_logger

log = get_logger(__name__)

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A stop that SIGTERM or SIGINT asks for.

    The first signal sets `asked`. A second one ends the process at once, with the status 128 + its number. So does the
    deadline, with status 0: a store or a driver's thread that hangs loses nothing that was acknowledged, and whoever
    asked for the stop gets it.

    Args:
        within_s: how long after the first signal the process may live.
    """

    def __init__(self, within_s: float) -> None:
        self.asked = asyncio.Event()
        self._within_s = within_s

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals from now on. Where the loop cannot (Windows), Ctrl-C ends the process as ever."""
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._first, loop, number)

    def _first(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        log.info("stopping", signal=number.name, within_s=self._within_s)
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, _second)  # not the loop's: it may be blocked, or closed already
        # A thread of its own, for the same reason; and the interpreter waits for drivers' threads after the loop's end.
        clock = threading.Timer(self._within_s, self._late)
        clock.daemon = True
        clock.start()
        self.asked.set()

    def _late(self) -> None:
        log.error("stopped_late", why="ending without having closed everything", within_s=self._within_s)
        _end(0)


def _second(number: int, frame: FrameType | None) -> None:
    log.warning("stopped_at_once", why="a second signal", signal=signal.Signals(number).name)
    _end(128 + number)


def _end(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
