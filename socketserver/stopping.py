"""Signals and the clock of a stop: the first signal asks for one, and from then on nothing can hold the process.

Knows nothing of what is stopped. Source: docs/decisions/0014-how-it-stops.md, docs/operations.md#signals
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from types import FrameType
from typing import Final

from . import stdio
from .logs import get_logger

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# The terminal is gone, or the session ends. Not on Windows, nor are those below.
HANGUP: Final = getattr(signal, "SIGHUP", None)
# They would end the process without a word, and those who send them mean something else: "open your log anew".
IGNORED: Final = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))
# Seconds within which a SIGINT after the first one is the same: a terminal sends it to all that run in it, and whoever
# has started the server there (npm, concurrently) sends it on.
SAME_S: Final = 1.0
# Seconds for which a process that is ended at once waits for its last lines to be written.
LAST_LINES_S: Final = 0.2

log = get_logger(__name__)


class Stop:
    """A stop that SIGTERM, SIGINT or SIGHUP asks for.

    The first signal sets `asked`. A second SIGTERM or SIGINT ends the process at once, with the status 128 + its
    number; but a SIGINT within a second after the first is the same one. So does the deadline, with status 0: a store
    or a driver's thread that hangs loses nothing that was acknowledged, and whoever asked for the stop gets it.

    SIGHUP is never the second one, and is not counted as the first: whoever closes a terminal sends it more than once,
    and others with it. Where it is ignored at the start (`nohup`) it stays ignored.

    Args:
        within_s: how long after the first signal the process may live.
    """

    def __init__(self, within_s: float) -> None:
        self.asked = asyncio.Event()
        self._within_s = within_s
        self._counted = False
        self._same_until_s = 0.0

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the signals from now on. Where the loop cannot (Windows), Ctrl-C ends the process as ever."""
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._first, loop, number)
        if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
            loop.add_signal_handler(HANGUP, self._first, loop, HANGUP)

    def _first(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        self._count(number)
        # Handlers that are not the loop's: it may be blocked from now on, or closed already.
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, self._next)
        if HANGUP is not None:
            loop.remove_signal_handler(HANGUP)
            signal.signal(HANGUP, signal.SIG_IGN)
        # A thread of its own, for the same reason; and the interpreter waits for drivers' threads after the loop's end.
        clock = threading.Timer(self._within_s, self._late)
        clock.daemon = True
        clock.start()
        self.asked.set()
        log.info("stopping", signal=number.name, within_s=self._within_s)

    def _count(self, number: int) -> None:
        self._counted = number != HANGUP
        self._same_until_s = time.monotonic() + SAME_S if number == signal.SIGINT else 0.0

    def _next(self, number: int, frame: FrameType | None) -> None:
        if not self._counted:
            self._count(number)
        elif number != signal.SIGINT or time.monotonic() >= self._same_until_s:
            _at_once(number)

    def _late(self) -> None:
        try:
            log.error("stopped_late", why="ending without having closed everything", within_s=self._within_s)
        finally:
            _end(0)


def _at_once(number: int) -> None:
    try:
        log.warning("stopped_at_once", why="a second signal", signal=signal.Signals(number).name)
    finally:
        _end(128 + number)


def _end(status: int) -> None:
    try:
        stdio.drain(LAST_LINES_S)
    finally:
        os._exit(status)
