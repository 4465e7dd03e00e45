"""Says when the process has no file descriptors left: then new connections are reset, and no event loop tells anybody.

uvloop accepts and closes them without a word (libuv), asyncio logs a traceback a second. So it is tried out, once in
a while, whether there is one left.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from ..logs import get_logger

log = get_logger(__name__)

PROBE_S: Final = 1.0
# How long nothing is said after a line.
QUIET_S: Final = 60.0


class Descriptors:
    """The probe.

    Attributes:
        shortages: how often there was none left, since the start.
    """

    def __init__(self) -> None:
        self.shortages = 0
        self._next_s = 0.0
        self._quiet_until_s = 0.0

    def probe(self, now_s: float) -> None:
        """Try whether there is a descriptor left, once in PROBE_S; `now_s` is monotonic seconds."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + PROBE_S
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                return
            self.shortages += 1
            if now_s >= self._quiet_until_s:
                self._quiet_until_s = now_s + QUIET_S
                log.warning(
                    "out_of_descriptors",
                    limit=_limit(),
                    help="clients are reset: raise the limit (ulimit -n; LimitNOFILE in systemd; --ulimit in Docker)",
                )


def _limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
