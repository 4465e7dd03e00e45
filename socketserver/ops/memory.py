"""The memory of the process, as the system tells it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def resident_bytes() -> int:
    """The memory that the process has now, in bytes; where the system does not tell, the most that it ever had."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak_bytes()


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
