"""Lines about what goes on and on: said at once when it begins, then once a minute with the number of times.

Each kind of line has a budget of its own, so that a flood of one (made-up Origins) silences no other; and what is left
out is counted.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Final

from ..limits import TokenBucket
from ..logs import get_logger
from ..settings import variable

# Seconds for which a subject is not written about again.
SPAN_S: Final = 60.0
# Subjects that are being written about at a time, per kind.
MAX_SUBJECTS: Final = 1_000


class Notes:
    """Writes the lines of a module.

    Args:
        name: the logger's.
        per_minute: lines of one kind within a minute; 0 for all.

    Attributes:
        dropped: how many subjects had no line at all because of the budget, by kind; since the start.
    """

    def __init__(self, name: str, per_minute: int) -> None:
        self._log: Final = get_logger(name)
        self._per_minute: Final = per_minute
        self._kinds: dict[str, _Kind] = {}
        self.dropped: Final[Counter[str]] = Counter()

    def __len__(self) -> int:
        return sum(len(kind.subjects) for kind in self._kinds.values())

    def loop(self, subject: Hashable, now_s: float, name: str, why: str, **fields: str) -> None:
        """Connects are refused, because of a setting's limit. Each limit is a kind of its own."""
        self.say(subject, now_s, "connects_refused", kind=name, why=why, **fields, setting=variable(name))

    def say(self, subject: Hashable, now_s: float, event: str, *, kind: str = "", **fields: str | None) -> None:
        """Write that something happened to `subject`, unless that was written lately or there is no budget left."""
        notes = self._kinds.get(kind or event)
        if notes is None:
            notes = self._kinds[kind or event] = _Kind(self._per_minute)
        written_s, count = notes.subjects.get(subject, (-math.inf, 0))
        if now_s - written_s < SPAN_S:
            notes.subjects[subject] = (written_s, count + 1)
            return
        if notes.lines.take(now_s):
            notes.dropped += 1
            self.dropped[event] += 1
            return
        notes.subjects[subject] = (now_s, 0)
        notes.subjects.move_to_end(subject)
        if len(notes.subjects) > MAX_SUBJECTS:
            notes.subjects.popitem(last=False)
        dropped, notes.dropped = notes.dropped, 0
        self._log.warning(event, **fields, repeats=count or None, dropped=dropped or None)

    def sweep(self, now_s: float) -> None:
        """Forget what is over."""
        # A second span, so that a loop that still goes on is written about with its count.
        for kind in self._kinds.values():
            while kind.subjects and next(iter(kind.subjects.values()))[0] < now_s - 2 * SPAN_S:
                kind.subjects.popitem(last=False)


class _Kind:
    """What is kept of one kind of line.

    Attributes:
        subjects: subject → (when it was written about, how often it happened since); oldest first.
        lines: the budget.
        dropped: how often there was none since the last line.
    """

    __slots__ = ("dropped", "lines", "subjects")

    def __init__(self, per_minute: int) -> None:
        self.subjects: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self.lines = TokenBucket(per_minute / SPAN_S, per_minute, per_minute, 0.0)
        self.dropped = 0
