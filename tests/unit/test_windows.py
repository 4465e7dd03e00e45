"""socketserver.limits.Windows: how often something happened lately, and whether that is too often."""

from __future__ import annotations

from socketserver.limits import Windows

import pytest
from hypothesis import given
from hypothesis import strategies as st

SPAN_S = 60.0
PAUSES = st.lists(st.floats(0, 40), min_size=1, max_size=80)


def test_at_the_limit_and_over_it() -> None:
    """As many as the limit says, not one more, and what was refused does not count."""
    windows: Windows[str] = Windows(3, SPAN_S)
    assert [windows.take("ann", 0) for _ in range(3)] == [0, 0, 0]
    assert [windows.take("ann", 30) > 0 for _ in range(100)] == [True] * 100
    assert windows.count("ann", 30) == 3
    assert windows.take("bob", 30) == 0


def test_the_wait_is_a_span_and_a_slot_at_most() -> None:
    """After a span, rounded up to the next slot, there is room again; a moment before there is none."""
    windows: Windows[str] = Windows(1, SPAN_S)
    assert windows.take("ann", 7.0) == 0
    wait_s = windows.wait_s("ann", 7.0)
    assert SPAN_S <= wait_s <= SPAN_S + SPAN_S / Windows.SLOTS
    assert windows.wait_s("ann", 7.0 + wait_s - 0.01) > 0
    assert windows.wait_s("ann", 7.0 + wait_s) == 0


def test_no_limit_keeps_nothing() -> None:
    """With the limit 0 everything is allowed, and no memory is spent on it."""
    windows: Windows[str] = Windows(0, SPAN_S)
    assert {windows.take("ann", 0) for _ in range(1000)} == {0.0}
    windows.add("ann", 0)
    assert len(windows) == 0


@given(PAUSES, st.integers(1, 6))
def test_never_more_than_the_limit_in_any_span(pauses: list[float], limit: int) -> None:
    """Whatever the rhythm, no stretch of a span sees more than the limit."""
    windows: Windows[str] = Windows(limit, SPAN_S)
    now_s = 0.0
    taken: list[float] = []
    for pause in pauses:
        now_s += pause
        while windows.take("ann", now_s) == 0:
            taken.append(now_s)
    for moment in taken:
        assert sum(moment <= other < moment + SPAN_S for other in taken) <= limit


@given(PAUSES, st.integers(1, 6))
def test_who_waits_as_told_gets_in(pauses: list[float], limit: int) -> None:
    """The wait is enough, and never longer than a span and a slot."""
    windows: Windows[str] = Windows(limit, SPAN_S)
    now_s = 0.0
    for pause in pauses:
        now_s += pause
        if wait_s := windows.take("ann", now_s):
            assert wait_s <= SPAN_S * (1 + 1 / Windows.SLOTS) + 1e-6
            now_s += wait_s + 1e-6
            assert windows.take("ann", now_s) == 0


def test_sweep_forgets_what_counts_no_more() -> None:
    """A key is kept as long as it counts, and not much longer."""
    windows: Windows[str] = Windows(2, SPAN_S)
    windows.add("ann", 0)
    windows.add("bob", 50)
    windows.sweep(66)
    assert len(windows) == 1
    assert windows.count("bob", 66) == 1


def test_bounded() -> None:
    """However many keys come, `most` are kept, the latest ones, and each costs the same however often it counts."""
    windows: Windows[int] = Windows(1_000_000, SPAN_S, most=100)
    for key in range(10_000):
        windows.add(key, key / 1000)
    assert len(windows) == 100
    assert windows.count(9_999, 10) == 1
    for second in range(100_000):
        windows.add(1, second / 100)
    assert len(windows._windows[1]) <= Windows.SLOTS + 1


def test_time_that_stands_still() -> None:
    """Many at the same moment are many."""
    windows: Windows[str] = Windows(5, SPAN_S)
    assert sum(windows.take("ann", 1234.5) == 0 for _ in range(20)) == 5
    assert windows.wait_s("ann", 1234.5) == pytest.approx(60.5)
