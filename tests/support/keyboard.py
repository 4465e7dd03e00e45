"""Processes that heed Ctrl-C, Ctrl-\\ and the end of their terminal, wherever the tests run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def heeding_the_keyboard() -> Iterator[None]:
    """A process that is started meanwhile has the defaults of SIGINT, SIGQUIT and SIGHUP.

    A shell has what it runs in the background ignore the first two, `nohup` the third, and processes inherit that.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGQUIT: signal.signal(signal.SIGQUIT, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
