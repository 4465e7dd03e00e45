"""socketserver.limits"""

from __future__ import annotations

from socketserver.limits import Buckets, TokenBucket

import pytest
from hypothesis import given
from hypothesis import strategies as st

PAUSES = st.lists(st.floats(0, 10), min_size=1, max_size=60)


def test_burst_then_rate() -> None:
    """A full bucket gives its burst at once, then as much as the rate brings."""
    bucket = TokenBucket(rate=5, burst=3, tokens=3, updated_s=0)
    assert [bucket.take(0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.2)]
    assert bucket.take(0.1) == pytest.approx(0.1)
    assert bucket.take(0.2) == 0
    assert bucket.take(0.2) > 0


def test_refused_take_costs_nothing() -> None:
    """Asking again and again does not put off the moment at which there is a token."""
    bucket = TokenBucket(rate=1, burst=1, tokens=0, updated_s=0)
    for tenth in range(10):
        assert bucket.take(tenth / 10) > 0
    assert bucket.take(1.0) == 0


def test_rate_zero_is_no_limit() -> None:
    """With rate 0 every take succeeds, and the bucket always counts as full."""
    bucket = TokenBucket(rate=0, burst=1, tokens=1, updated_s=0)
    assert {bucket.take(0) for _ in range(1000)} == {0.0}
    assert bucket.full(0)


def test_give_back() -> None:
    """What is given back can be taken again, but never makes more than a full bucket."""
    bucket = TokenBucket(rate=1, burst=2, tokens=2, updated_s=0)
    bucket.take(0)
    bucket.take(0)
    bucket.give_back()
    assert bucket.take(0) == 0
    for _ in range(9):
        bucket.give_back()
    assert [bucket.take(0) > 0 for _ in range(3)] == [False, False, True]


@given(PAUSES, st.floats(0.1, 50), st.integers(1, 20))
def test_never_more_than_burst_and_rate(pauses: list[float], rate: float, burst: int) -> None:
    """In no stretch of time does a bucket give more than its burst and what the rate brought."""
    bucket = TokenBucket(rate, burst, burst, 0)
    now = 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        while bucket.take(now) == 0:
            taken.append(now)
            assert len(taken) <= burst + rate * now + 1e-6
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first]) + 1e-6


@given(PAUSES, st.floats(0.1, 50), st.integers(1, 20))
def test_the_wait_is_enough(pauses: list[float], rate: float, burst: int) -> None:
    """Whoever waits as long as a refusal says, and a millisecond, gets a token."""
    bucket = TokenBucket(rate, burst, burst, 0)
    now = 0.0
    for pause in pauses:
        now += pause
        wait_s = bucket.take(now)
        if wait_s:
            now += wait_s + 0.001
            assert bucket.take(now) == 0
        assert 0 <= bucket.tokens <= burst


def test_one_bucket_per_key() -> None:
    """One key's requests cost another key nothing."""
    buckets: Buckets[str] = Buckets(rate=1, burst=1)
    assert buckets.get("ann", 0).take(0) == 0
    assert buckets.get("ann", 0).take(0) > 0
    assert buckets.get("bob", 0).take(0) == 0


def test_sweep_forgets_full_buckets_only() -> None:
    """A bucket that is full again is forgotten; one that is not keeps its count."""
    buckets: Buckets[str] = Buckets(rate=1, burst=2)
    buckets.get("ann", 0).take(0)
    buckets.get("bob", 1.5).take(1.5)
    buckets.sweep(1.6)
    assert len(buckets) == 1
    bob = buckets.get("bob", 1.6)
    assert [bob.take(1.6) > 0, bob.take(1.6) > 0] == [False, True]


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 3), st.booleans()), max_size=100))
def test_bounded(steps: list[tuple[int, float, bool]]) -> None:
    """There are never more buckets than `most`, and the one used last is always kept."""
    buckets: Buckets[int] = Buckets(rate=1, burst=2, most=5)
    now = 0.0
    for key, pause, sweep in steps:
        now += pause
        bucket = buckets.get(key, now)
        assert buckets.get(key, now) is bucket
        assert len(buckets) <= 5
        bucket.take(now)
        if sweep:
            buckets.sweep(now)
            assert buckets.get(key, now) is bucket  # not full: a token is missing


def test_sweeping_changes_no_answer() -> None:
    """With and without sweeps the same requests are let through."""
    swept: Buckets[str] = Buckets(rate=2, burst=3)
    kept: Buckets[str] = Buckets(rate=2, burst=3)
    for tick in range(200):
        now = tick * 0.17
        assert swept.get("ann", now).take(now) == pytest.approx(kept.get("ann", now).take(now))
        if tick % 7 == 0:
            swept.sweep(now)
