"""One check for everybody who asks, and how long its answer stands."""

from __future__ import annotations

import asyncio
from socketserver.errors import StoreUnavailable
from socketserver.store.checking import SharedCheck

import pytest
from support.clock import FakeClock


class Database:
    def __init__(self) -> None:
        self.checks = 0
        self.away = False

    async def check(self) -> None:
        self.checks += 1
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable


async def test_probes_at_the_same_time_share_a_check() -> None:
    """Every probe of /readyz was a check of its own, and they stood in a row."""
    database = Database()
    check = SharedCheck(database.check)
    await asyncio.gather(*(check() for _ in range(100)))
    assert database.checks == 1
    await check()
    assert database.checks == 2, "nothing is kept unless it is asked for"


@pytest.mark.parametrize("away", [False, True])
async def test_an_answer_stands_for_a_moment(away: bool) -> None:
    """Good and bad answers alike: just before the moment is over there is no new check, after it there is one."""
    database, clock = Database(), FakeClock()
    database.away = away
    check = SharedCheck(database.check, kept_s=1.0, monotonic_s=clock.monotonic_s)

    async def refused() -> bool:
        try:
            await check()
        except StoreUnavailable:
            return True
        return False

    assert await refused() is away
    clock.advance(0.999)
    database.away = not away
    assert await refused() is away
    assert database.checks == 1
    clock.advance(0.001)
    assert await refused() is not away
    assert database.checks == 2


async def test_a_bug_in_a_check_is_no_answer() -> None:
    """An error that is no outage reaches whoever asked, and the next one asks anew."""

    async def broken() -> None:
        raise RuntimeError("a bug")

    check = SharedCheck(broken)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await check()
