"""socketserver.realtime.engine.tasks: what an engine waits for when it stops."""

from __future__ import annotations

import asyncio
from socketserver.realtime.engine.tasks import Tasks

LONG_S = 30.0


async def test_what_is_spawned_is_counted_until_it_ends() -> None:
    """Background tasks too, but nobody waits for those."""
    tasks = Tasks()
    gate = asyncio.Event()
    handler, background = tasks.spawn(gate.wait()), tasks.spawn_background(gate.wait())
    assert len(tasks) == 2
    assert tasks.handlers() == {handler}
    assert tasks.everybody() == {handler, background}
    gate.set()
    await tasks.until(lambda: not len(tasks), tasks.everybody, LONG_S)
    assert len(tasks) == 0


async def test_a_task_does_not_wait_for_itself() -> None:
    """A handler may stop the server that it runs in."""
    tasks = Tasks()

    async def stop() -> str:
        await tasks.until(lambda: not tasks.handlers(), tasks.handlers, LONG_S)
        await tasks.cancel(LONG_S)
        return "stopped"

    assert await tasks.spawn(stop()) == "stopped"


async def test_without_tasks_it_asks_again_at_every_change() -> None:
    """And not by looking at the clock twenty times a second; two may wait at once."""
    tasks = Tasks()
    left = 3
    asked = 0

    def done() -> bool:
        nonlocal asked
        asked += 1
        return not left

    waiting = [asyncio.create_task(tasks.until(done, tasks.handlers, LONG_S)) for _ in range(2)]
    tasks.changed()
    for _ in range(3):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left -= 1
        tasks.changed()
    await asyncio.gather(*waiting)
    assert asked == 2 * 4


async def test_it_waits_no_longer_than_it_may() -> None:
    """For a handler that hangs, or a change that does not come."""
    tasks = Tasks()
    await tasks.until(lambda: False, tasks.handlers, 0.01)
    hanging = tasks.spawn(asyncio.Event().wait())
    await tasks.until(lambda: False, tasks.handlers, 0.01)
    assert not hanging.done()
    await tasks.cancel(LONG_S)
    assert hanging.cancelled()


async def test_what_a_cancelled_task_begins_is_waited_for() -> None:
    """The disconnect handler of a client whose event hung."""
    tasks = Tasks()
    ended: list[str] = []

    async def last() -> None:
        await asyncio.sleep(0)
        ended.append("last")

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks.spawn(last())

    tasks.spawn(hang())
    await asyncio.sleep(0)
    await tasks.cancel(LONG_S)
    assert ended == ["last"]
    assert len(tasks) == 0
