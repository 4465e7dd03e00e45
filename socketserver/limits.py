"""Rates: token buckets, windows that count what happened lately, and who comes back at once. Pure; the time is passed
in, as seconds of a monotonic clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar


def in_ms(seconds: float) -> int:
    """Seconds as whole milliseconds, rounded up: who waits so long has waited long enough."""
    return math.ceil(seconds * 1000)


@dataclass(slots=True)
class TokenBucket:
    """`burst` requests at once and `rate` per second in the long run.

    Attributes:
        rate: tokens per second; 0 means that there is no limit.
        burst: tokens that a full bucket holds.
        tokens, updated_s: how many there were at which moment.
    """

    rate: float
    burst: float
    tokens: float
    updated_s: float

    def take(self, now_s: float, cost: float = 1) -> float:
        """Take a request's tokens if they are there.

        Args:
            cost: how many; `burst` at most.
        Returns: 0.0 when they were taken, else after how many seconds they will be there (nothing was taken).
        """
        if self.rate <= 0:
            return 0.0
        self._refill(now_s)
        if self.tokens >= cost:
            self.tokens -= cost
            return 0.0
        return (cost - self.tokens) / self.rate

    def spend(self, now_s: float, cost: float) -> None:
        """Take the tokens of what is done already. Those that are not there yet are a debt: what comes next waits."""
        if self.rate > 0:
            self._refill(now_s)
            self.tokens -= cost

    def give_back(self, cost: float = 1) -> None:
        """Undo one `take`, for a request that turned out to cost nothing."""
        self.tokens = min(self.burst, self.tokens + cost)

    def full(self, now_s: float) -> bool:
        """Whether it is as good as a new one."""
        self._refill(now_s)
        return self.rate <= 0 or self.tokens >= self.burst

    def _refill(self, now_s: float) -> None:
        self.tokens = min(self.burst, self.tokens + max(0.0, now_s - self.updated_s) * self.rate)
        self.updated_s = now_s


Key = TypeVar("Key")


class Buckets(Generic[Key]):
    """A bucket per key: made when needed, forgotten when full again.

    At most `most` are kept: past that the one that was used longest ago is forgotten, full or not. That lets somebody
    with very many user names send a little more than the rate; it never costs anybody else anything.
    """

    def __init__(self, rate: float, burst: float, most: int = 100_000) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[Key, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def get(self, key: Key, now_s: float) -> TokenBucket:
        """The key's bucket, a full one if it has none."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, self._burst, now_s)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket

    def sweep(self, now_s: float) -> None:
        """Forget the buckets that are full again."""
        for key in [key for key, bucket in self._buckets.items() if bucket.full(now_s)]:
            del self._buckets[key]


class Windows(Generic[Key]):
    """How often something happened within the last `span_s` seconds, per key, and whether that is too often.

    Counted in slots of a twelfth of the span, so a key costs the same however high its limit is. What happened counts
    for the span and up to one slot more: there are never more than `limit` within any stretch of `span_s`.

    At most `most` keys are kept: past that the one that was counted longest ago is forgotten.

    Args:
        limit: how often is still allowed; 0 for no limit, and then nothing is kept.
    """

    SLOTS: Final = 12

    def __init__(self, limit: int, span_s: float = 60.0, most: int = 50_000) -> None:
        self.limit = limit
        self.span_s = span_s
        self._slot_s = span_s / self.SLOTS
        self._most = most
        # (slot number, count), oldest first
        self._windows: OrderedDict[Key, deque[tuple[int, int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, key: Key, now_s: float) -> None:
        """Count one more."""
        if self.limit <= 0:
            return
        slots = self._windows.get(key)
        if slots is None:
            slots = self._windows[key] = deque()
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        number = int(now_s // self._slot_s)
        self._forget(slots, number)
        if slots and slots[-1][0] >= number:
            slots[-1] = (slots[-1][0], slots[-1][1] + 1)
        else:
            slots.append((number, 1))

    def count(self, key: Key, now_s: float) -> int:
        """How often it happened lately."""
        slots = self._windows.get(key)
        if slots is None:
            return 0
        self._forget(slots, int(now_s // self._slot_s))
        return sum(count for _, count in slots)

    def wait_s(self, key: Key, now_s: float) -> float:
        """0.0 while one more is allowed, else after how many seconds it will be."""
        excess = self.count(key, now_s) - self.limit
        if self.limit <= 0 or excess < 0:
            return 0.0
        for number, count in self._windows[key]:
            excess -= count
            if excess < 0:
                return max((number + self.SLOTS + 1) * self._slot_s - now_s, 0.001)
        raise AssertionError("a limit above 0 leaves room once everything is forgotten")

    def take(self, key: Key, now_s: float) -> float:
        """Count one more if it is allowed.

        Returns: 0.0 when it was, else after how many seconds it will be (nothing was counted).
        """
        wait_s = self.wait_s(key, now_s)
        if not wait_s:
            self.add(key, now_s)
        return wait_s

    def give_back(self, key: Key, now_s: float) -> None:
        """Count one less, of the latest; nothing where nothing counts any more."""
        if self.count(key, now_s):
            slots = self._windows[key]
            number, count = slots.pop()
            if count > 1:
                slots.append((number, count - 1))

    def sweep(self, now_s: float) -> None:
        """Forget the keys of which nothing counts any more."""
        number = int(now_s // self._slot_s)
        for key, slots in list(self._windows.items()):
            self._forget(slots, number)
            if not slots:
                del self._windows[key]

    def _forget(self, slots: deque[tuple[int, int]], number: int) -> None:
        while slots and slots[0][0] + self.SLOTS < number:
            slots.popleft()


class Returns(Generic[Key]):
    """Whether somebody who comes has just been sent away: what tells a loop from people who are sent away once each.

    Every end makes room for one return within `within_s`. Of at most `most` keys, the ones that ended last.
    """

    ENDS_PER_KEY: Final = 64

    def __init__(self, within_s: float, most: int = 50_000) -> None:
        self._within_s = within_s
        self._most = most
        self._ends: OrderedDict[Key, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def ended(self, key: Key, now_s: float) -> None:
        """Somebody was sent away."""
        self._ends.setdefault(key, deque(maxlen=self.ENDS_PER_KEY)).append(now_s)
        self._ends.move_to_end(key)
        if len(self._ends) > self._most:
            self._ends.popitem(last=False)

    def came(self, key: Key, now_s: float) -> bool:
        """Somebody is there. Returns: whether that is a return; each end counts for one."""
        ends = self._ends.get(key)
        if not ends:
            return False
        return now_s - ends.pop() <= self._within_s

    def sweep(self, now_s: float) -> None:
        """Forget the ends after which nobody can return any more."""
        for key, ends in list(self._ends.items()):
            if not ends or now_s - ends[-1] > self._within_s:
                del self._ends[key]
