"""socketserver.live.shutdown"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from socketserver.chat.domain import UserId
from socketserver.chat.identity import Identity
from socketserver.live.shutdown import ANSWERS_SHARE, CLOSE_SHARE, GOODBYE_SHARE, RESTART_SPREAD_MS, Shutdown

import pytest
from support.parts import Parts
from support.waiting import eventually

ANN = Identity(UserId("ann"), "Ann")


class Stage(Parts):
    """A stop of all parts; the transport notes what it is asked."""

    def __init__(self, budget_s: float = 5.0) -> None:
        super().__init__(sockets_per_user=0)
        self.shutdown = Shutdown(self.sio, self.guards, self.lifecycle, budget_s)


async def test_the_phases_in_their_order() -> None:
    """Refuse, answer, say goodbye, close: nobody is let in while somebody is still answered; then each is told."""
    stage = Stage()
    await stage.arrive("busy", ANN)
    stage.sio.take()
    stage.sio.busy = {"busy": asyncio.Event()}
    stopping = asyncio.create_task(stage.shutdown.end_clients())
    await eventually("it has begun", lambda: stage.sio.drained)
    assert stage.guards.draining
    assert (stage.sio.take(), stage.sio.closed_within_s) == ([], [])
    stage.sio.busy["busy"].set()
    await stopping
    (told,) = stage.sio.take()
    assert told.data["code"] == "restart"
    assert RESTART_SPREAD_MS[0] <= told.data["retryAfterMs"] <= RESTART_SPREAD_MS[1]
    assert stage.sio.ended == [("busy", "close", "restart")]
    assert stage.sio.closed_within_s == [5.0 * GOODBYE_SHARE]


async def test_it_happens_once() -> None:
    """The clients were ended, and the transport closed, as often as somebody asked: by the signal, then by aiohttp."""
    stage = Stage()
    await stage.arrive("s1", ANN)
    stage.sio.take()
    await asyncio.gather(stage.shutdown.end_clients(), stage.shutdown.end_clients())
    await stage.shutdown.on_shutdown(object())
    assert len(stage.sio.take()) == 1
    assert len(stage.sio.closed_within_s) == 1


async def test_who_asked_may_give_up() -> None:
    """A caller that is cancelled does not stop the stop."""
    stage = Stage()
    await stage.arrive("busy", ANN)
    stage.sio.busy = {"busy": asyncio.Event()}
    caller = asyncio.create_task(stage.shutdown.end_clients())
    await eventually("it has begun", lambda: stage.sio.drained)
    caller.cancel()
    stage.sio.busy["busy"].set()
    await stage.shutdown.end_clients()
    assert len(stage.sio.ended) == 1


async def test_who_is_at_the_door_is_told_too() -> None:
    """A client that is let in while others are answered gets its last words like them."""
    stage = Stage()
    stage.sio.busy = {"late": asyncio.Event()}
    stopping: asyncio.Task[None] | None = None
    with stage.guards.visit("late", stage.visit("late").request) as visit:
        stopping = asyncio.create_task(stage.shutdown.end_clients())
        await eventually("it has begun", lambda: stage.sio.drained)
        await stage.lifecycle.arrive(visit, ANN)
    stage.sio.busy["late"].set()
    await stopping
    assert stage.sio.ended == [("late", "close", "restart")]


async def test_closing_has_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """A store that does not close holds the stop until the budget is used up, and what comes after it is left."""
    assert pytest.approx(1) == ANSWERS_SHARE + GOODBYE_SHARE + CLOSE_SHARE
    stage = Stage(budget_s=0.05)
    closed: list[str] = []

    def part(name: str, work: Awaitable[object] | None = None) -> Callable[[], Awaitable[None]]:
        async def close() -> None:
            if work is not None:
                await work
            closed.append(name)

        return close

    await stage.shutdown.close(part("chat"), part("store", asyncio.Event().wait()), part("keys"))
    assert closed == ["chat"]
    assert "not everything was closed" in caplog.text
