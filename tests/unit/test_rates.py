"""socketserver.rates: events other than new messages, and who does not listen to refusals."""

from __future__ import annotations

from socketserver.domain import Identity, UserId
from socketserver.errors import RateLimited
from socketserver.rates import REFUSALS_BURST, Rates
from socketserver.sessions import Connection

import pytest


def socket(sid: str, user: str | None = None) -> Connection:
    return Connection(sid, 0.0, identity=Identity(UserId(user), user) if user else None)


def test_at_and_over_the_limit() -> None:
    """The burst, then no more until there is room again; the refusal says when."""
    rates = Rates(10, 5)
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
    rates = Rates(1, 1)
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
    rates = Rates(0, 1)
    for _ in range(1000):
        rates.take(socket("a", "ann"), 0)


def test_who_does_not_wait_has_to_go() -> None:
    """So many refusals are borne, one more is not; later there is patience again."""
    rates = Rates(1, 1)
    ann = socket("a", "ann")
    assert [rates.refused(ann, 0) for _ in range(REFUSALS_BURST + 1)] == [True] * REFUSALS_BURST + [False]
    assert rates.refused(socket("b", "bob"), 0)
    assert rates.refused(ann, 2)


def test_repeats_are_charged_but_not_refused() -> None:
    """Repeats come out of the events' bucket; past it they count like refusals."""
    rates = Rates(1, 2)
    ann = socket("a", "ann")
    stays = [rates.repeat(ann, 0) for _ in range(2 + REFUSALS_BURST + 1)]
    assert stays == [True] * (2 + REFUSALS_BURST) + [False]
    with pytest.raises(RateLimited):
        rates.take(ann, 0)


def test_sweep() -> None:
    """What is as good as new is forgotten."""
    rates = Rates(1, 2)
    rates.take(socket("a", "ann"), 0)
    rates.refused(socket("a", "ann"), 0)
    assert len(rates) == 2
    rates.sweep(10)
    assert len(rates) == 0
