"""socketserver.ops.memory"""

from __future__ import annotations

from pathlib import Path
from socketserver.ops.memory import resident_bytes
from typing import NoReturn

import pytest


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What /proc says now, and elsewhere the peak; a Python process takes megabytes."""
    now = resident_bytes()

    def missing(self: Path) -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", missing)
    peak = resident_bytes()
    assert 5_000_000 < now <= 1.1 * peak
