"""The keeper of SQLite's log, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from socketserver.store.sqlite.write_ahead_log import LogKeeper
from socketserver.store.writes import Unobserved
from typing import Any

import pytest


async def nothing_left(run: Callable[[Any], Any]) -> tuple[int, int]:
    return 0, 0


@pytest.mark.parametrize("turns", range(6))
async def test_it_ends_whenever_it_is_closed(tmp_path: Path, turns: int) -> None:
    """Closed in the turn of the loop after a write had made a copy due, it went on for ever: `asyncio.wait_for` had
    swallowed its cancellation."""
    keeper = LogKeeper(
        str(tmp_path / "chat.db"),
        writes_per_copy=1,
        limit_bytes=1 << 20,
        on_reader=nothing_left,
        on_writer=nothing_left,
        observer=Unobserved(),
    )
    await asyncio.sleep(0.001)  # it waits for writes
    keeper.written(1)
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await keeper.close()


def test_nothing_in_the_package_waits_in_the_way_that_may_swallow_its_end() -> None:
    """`asyncio.timeout` does what `asyncio.wait_for` does, without the fault."""
    package = Path(__file__).resolve().parents[2] / "socketserver"
    assert [
        path.name for path in package.rglob("*.py") if "asyncio.wait_for(" in path.read_text(encoding="utf-8")
    ] == []
