"""socketserver.door.rates: events other than new messages, and who does not listen to refusals."""

from __future__ import annotations

from socketserver.chat.domain import UserId
from socketserver.chat.identity import Identity
from socketserver.door.rates import REFUSALS_BURST, Rates
from socketserver.errors import RateLimited
from socketserver.live.connections import Connection
from socketserver.settings import Settings

import pytest


def rates_of(
    events_per_second: float, events_burst: int, *, rows_per_event: int = 0, bytes_per_event: int = 0
) -> Rates:
    return Rates(
        Settings(
            events_per_second=events_per_second,
            events_burst=events_burst,
            rows_per_event=rows_per_event,
            bytes_per_event=bytes_per_event,
        )
    )


def sweep(rates: Rates, now_s: float) -> None:
    for each in rates.sweeps():
        each(now_s)


def socket(sid: str, user: str | None = None) -> Connection:
    return Connection(sid, 0.0, identity=Identity(UserId(user), user) if user else None)


def test_at_and_over_the_limit() -> None:
    """The burst, then no more until there is room again; the refusal says when."""
    rates = rates_of(10, 5)
    ann = socket("a", "ann")
    for _ in range(5):
        rates.take(ann, 0)
    with pytest.raises(RateLimited) as refused:
        rates.take(ann, 0)
    assert refused.value.retry_after_ms == 100
    with pytest.raises(RateLimited):
        rates.take(ann, 0.09)
    rates.take(ann, 0.1)


def test_a_user_has_one_bucket_for_all_sockets_and_others_have_their_own() -> None:
    """A second socket is no second chance; without a user each socket is for itself."""
    rates = rates_of(1, 1)
    rates.take(socket("a", "ann"), 0)
    with pytest.raises(RateLimited):
        rates.take(socket("b", "ann"), 0)
    rates.take(socket("c", "bob"), 0)
    rates.take(socket("d"), 0)
    rates.take(socket("e"), 0)
    with pytest.raises(RateLimited):
        rates.take(socket("e"), 0)


def test_no_limit() -> None:
    """With 0 events per second nothing is refused."""
    rates = rates_of(0, 1)
    for _ in range(1000):
        rates.take(socket("a", "ann"), 0)


def test_who_does_not_wait_has_to_go() -> None:
    """So many refusals are borne, one more is not; later there is patience again."""
    rates = rates_of(1, 1)
    ann = socket("a", "ann")
    stays = [rates.may_stay_after(RateLimited(), ann, 0, message=False) for _ in range(REFUSALS_BURST + 1)]
    assert stays == [True] * REFUSALS_BURST + [False]
    assert rates.may_stay_after(RateLimited(), socket("b", "bob"), 0, message=False)
    assert rates.may_stay_after(RateLimited(), ann, 2, message=False)


def test_repeats_are_charged_but_not_refused() -> None:
    """Repeats come out of the events' bucket; past it they count like refusals."""
    rates = rates_of(1, 2)
    ann = socket("a", "ann")
    stays = [rates.may_stay_after_repeat(ann, 0) for _ in range(2 + REFUSALS_BURST + 1)]
    assert stays == [True] * (2 + REFUSALS_BURST) + [False]
    with pytest.raises(RateLimited):
        rates.take(ann, 0)


def test_sweep() -> None:
    """What is as good as new is forgotten."""
    rates = rates_of(1, 2)
    rates.take(socket("a", "ann"), 0)
    rates.may_stay_after(RateLimited(), socket("a", "ann"), 0, message=False)
    assert len(rates) == 2
    sweep(rates, 10)
    assert len(rates) == 0


def refused_for(rates: Rates, connection: Connection, now_s: float) -> float | None:
    try:
        rates.take(connection, now_s)
    except RateLimited as error:
        return error.retry_after_ms
    return None


@pytest.mark.parametrize(
    ("rows", "size_bytes", "left"),
    [(0, 0, 9), (50, 0, 9), (100, 0, 9), (200, 0, 8), (0, 1000, 9), (0, 3000, 7), (100, 1000, 8), (800, 0, 2)],
)
def test_an_answer_is_charged_by_what_it_cost(rows: int, size_bytes: int, left: int) -> None:
    """A page of 200 with bodies was one event like a sign of typing. Up to one token's worth it still is."""
    rates = rates_of(1, 10, rows_per_event=100, bytes_per_event=1000)
    ann = socket("a", "ann")
    rates.take(ann, 0)
    rates.answered(ann, 0, rows=rows, size_bytes=size_bytes)
    assert [refused_for(rates, ann, 0) is None for _ in range(left + 1)] == [True] * left + [False]


def test_who_has_overdrawn_waits_until_it_is_paid() -> None:
    """The refusal says when: not before, and then at once; it is the user who waits, on each socket."""
    rates = rates_of(2, 5, rows_per_event=100)
    ann, other = socket("a", "ann"), socket("b", "ann")
    rates.take(ann, 0)
    rates.answered(ann, 0, rows=1000, size_bytes=10**9)
    assert refused_for(rates, other, 0) == 3000  # 5 - 10 tokens, and one for the next event, at 2 per second
    assert refused_for(rates, other, 2.99) is not None
    assert refused_for(rates, other, 3.0) is None
    assert refused_for(rates, socket("c", "bob"), 0) is None


def test_what_is_read_beside_the_answer_is_charged_to_the_user() -> None:
    """A thousand participants that had to be looked up."""
    rates = rates_of(1, 10, rows_per_event=100)
    rates.looked_up(UserId("ann"), 0, rows=900)
    assert refused_for(rates, socket("a", "ann"), 0) is None
    assert refused_for(rates, socket("a", "ann"), 0) is not None


def test_rows_and_bytes_may_cost_nothing() -> None:
    """0 means that they are free; so is everything without a rate."""
    ann = socket("a", "ann")
    for rates in (rates_of(1, 10), rates_of(0, 1, rows_per_event=1, bytes_per_event=1)):
        rates.take(ann, 0)
        rates.answered(ann, 0, rows=10**6, size_bytes=10**9)
        assert refused_for(rates, ann, 0) is None


def test_a_debt_is_not_forgotten_by_the_sweep() -> None:
    """A bucket in debt is not as good as new."""
    rates = rates_of(1, 2, rows_per_event=1)
    ann = socket("a", "ann")
    rates.take(ann, 0)
    rates.answered(ann, 0, rows=50, size_bytes=0)
    sweep(rates, 10)
    assert refused_for(rates, ann, 10) is not None
