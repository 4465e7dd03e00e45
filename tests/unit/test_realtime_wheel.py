"""The timer wheel: order, cancelling, never early, nothing left."""

import asyncio
import time
from socketserver.realtime.engine.wheel import Wheel


async def test_timers_run_in_order_and_never_early() -> None:
    wheel = Wheel()
    ran: list[tuple[str, float]] = []
    done = asyncio.Event()
    start = time.monotonic()

    def late() -> None:
        ran.append(("late", time.monotonic() - start))
        done.set()

    wheel.at(start + 0.03, late)
    wheel.at(start + 0.0105, lambda: ran.append(("early", time.monotonic() - start)))
    await asyncio.wait_for(done.wait(), 5)
    assert [name for name, _ in ran] == ["early", "late"]
    assert ran[0][1] >= 0.0105
    assert ran[1][1] >= 0.03
    assert len(wheel) == 0


async def test_a_cancelled_timer_never_runs_even_from_a_callback_of_the_same_slot() -> None:
    wheel = Wheel()
    ran: list[str] = []
    when = time.monotonic() + 0.01

    def run_first() -> None:
        ran.append("first")
        wheel.cancel(second)

    first = wheel.at(when, run_first)
    second = wheel.at(when, lambda: ran.append("second"))
    third = wheel.at(when, lambda: ran.append("third"))
    wheel.cancel(third)
    wheel.cancel(third)
    wheel.cancel(None)
    await asyncio.sleep(0.05)
    assert ran == ["first"]
    wheel.cancel(first)
    assert len(wheel) == 0


async def test_a_callback_that_raises_leaves_the_others_alone() -> None:
    wheel = Wheel()
    seen: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(str(context["exception"])))
    done = asyncio.Event()

    def fail() -> None:
        raise RuntimeError("broken")

    wheel.after(0.005, fail)
    wheel.after(0.010, done.set)
    await asyncio.wait_for(done.wait(), 5)
    assert seen == ["broken"]


async def test_clear_forgets_everything() -> None:
    wheel = Wheel()
    ran: list[str] = []
    wheel.after(0.005, lambda: ran.append("ran"))
    wheel.clear()
    await asyncio.sleep(0.02)
    assert ran == []
    assert len(wheel) == 0
