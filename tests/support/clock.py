"""A clock that stands still until a test moves it."""

from __future__ import annotations

START_MS = 1_700_000_000_000


class FakeClock:
    """A domain.Clock. Its wall clock and its monotonic one go together, from START_MS and 1000 s, until a `jump`."""

    def __init__(self) -> None:
        self._elapsed_ms = 0
        self._wrong_ms = 0

    def now_ms(self) -> int:
        return START_MS + self._elapsed_ms + self._wrong_ms

    def monotonic_s(self) -> float:
        return 1000 + self._elapsed_ms / 1000

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._wrong_ms += round(seconds * 1000)

    def advance(self, seconds: float) -> None:
        self._elapsed_ms += round(seconds * 1000)
