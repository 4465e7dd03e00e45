"""socketserver.realtime.engine.inbox: what waits for its handler. No socket."""

from __future__ import annotations

import asyncio
from socketserver.realtime.engine.inbox import ITEM_OVERHEAD_BYTES, ITEMS_PER_TURN, Inbox
from socketserver.realtime.engine.intake import TURN_BYTES, Intake, IntakeLimits
from socketserver.realtime.engine.wheel import Wheel
from typing import Any

import pytest


class Owner:
    """Whose inbox it is. Its handler notes each item, and waits for `gate` before it does.

    Attributes:
        told: what the inbox has said, in order.
        awake: whether a task waits for work.
    """

    def __init__(self, limit_bytes: int = 0, *, awake: bool = True) -> None:
        intake = Intake(IntakeLimits(turn_s=0), Wheel())
        self.inbox = Inbox(self, limit_bytes, intake, intake.meter("somebody"))
        self.told: list[str] = []
        self.handled: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.awake = awake
        self.task: asyncio.Task[None] | None = None

    def wake(self) -> bool:
        self.told.append("wake")
        return self.awake

    def start(self) -> None:
        self.told.append("start")
        self.task = asyncio.create_task(self.run())

    def full(self) -> None:
        self.told.append("full")

    def eased(self) -> None:
        self.told.append("eased")

    def hand_over(self) -> None:
        self.told.append("hand over")
        if self.inbox.has_work:
            self.inbox.start()

    async def run(self) -> None:
        await self.inbox.run(Owner.handle)

    async def handle(self, item: Any) -> None:
        await self.gate.wait()
        if isinstance(item, Exception):
            raise item
        self.handled.append(item)


async def test_items_are_handled_in_their_order() -> None:
    """Those too that come while one is handled."""
    owner = Owner()
    owner.gate.clear()
    for item in range(3):
        owner.inbox.put(item)
    assert owner.inbox.has_work
    assert len(owner.inbox) == 3
    running = asyncio.create_task(owner.run())
    await asyncio.sleep(0)
    owner.inbox.put(3)
    assert not owner.inbox.has_work
    owner.gate.set()
    await running
    assert owner.handled == [0, 1, 2, 3]
    assert owner.inbox.waiting_bytes == len(owner.inbox) == 0


async def test_whoever_waits_for_work_is_woken_and_else_a_task_is_started() -> None:
    """Once: while one works, nobody else is asked."""
    woken = Owner(awake=True)
    woken.inbox.put(1)
    assert woken.told == ["wake"]
    started = Owner(awake=False)
    started.inbox.put(1)
    started.inbox.put(2)
    assert started.told == ["wake", "start"]
    await started.inbox.settled()
    assert started.handled == [1, 2]


@pytest.mark.parametrize(("size_bytes", "crowded"), [(99, False), (100, False), (101, True)])
async def test_it_is_crowded_over_its_limit(size_bytes: int, crowded: bool) -> None:
    """Each item counts its overhead too, so that empty ones are bounded in number."""
    owner = Owner(100 + ITEM_OVERHEAD_BYTES)
    owner.inbox.put("x", size_bytes)
    assert owner.inbox.crowded is crowded
    assert ("full" in owner.told) is crowded
    assert owner.inbox.waiting_bytes == size_bytes + ITEM_OVERHEAD_BYTES


async def test_no_limit() -> None:
    """0 is no limit."""
    owner = Owner(0)
    owner.inbox.put("x", 1 << 40)
    assert not owner.inbox.crowded
    assert "full" not in owner.told


async def test_it_is_eased_once_at_half_its_limit() -> None:
    """Not at each item, and not without having been full: reading would stop and go on at every event."""
    owner = Owner(4 * ITEM_OVERHEAD_BYTES)
    for item in range(5):
        owner.inbox.put(item)
    assert owner.told.count("full") == 1
    seen: list[tuple[int, bool]] = []

    async def handle(_: Owner, item: Any) -> None:
        seen.append((item, "eased" in owner.told))

    await owner.inbox.run(handle)
    # 5 wait; when the third is done, 2 are left, which is half of 4
    assert seen == [(0, False), (1, False), (2, False), (3, True), (4, True)]
    assert owner.told.count("eased") == 1
    owner.inbox.put(5)
    await owner.inbox.run(handle)
    assert owner.told.count("eased") == 1


async def test_an_item_counts_until_it_is_handled() -> None:
    """Its memory is held as long."""
    owner = Owner(awake=False)
    owner.gate.clear()
    owner.inbox.put("x", 10)
    await asyncio.sleep(0)
    assert len(owner.inbox) == 0
    assert owner.inbox.waiting_bytes == 10 + ITEM_OVERHEAD_BYTES
    owner.gate.set()
    await owner.inbox.settled()
    assert owner.inbox.waiting_bytes == 0


async def test_a_handler_that_fails_costs_no_other_item(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next is handled."""
    owner = Owner(awake=False)
    owner.inbox.put(ValueError("a bug"))
    owner.inbox.put("next")
    await owner.inbox.settled()
    assert owner.handled == ["next"]
    assert [record.message for record in caplog.records] == ["an event could not be handled"]
    assert owner.inbox.waiting_bytes == 0


async def test_what_a_cancelled_task_leaves_is_handed_over() -> None:
    """Somebody's disconnect handler may be among it."""
    owner = Owner(awake=False)
    owner.gate.clear()
    owner.inbox.put("cancelled")
    owner.inbox.put("left")
    await asyncio.sleep(0)
    assert owner.task is not None
    owner.task.cancel()
    owner.gate.set()
    await owner.inbox.settled()
    assert owner.handled == ["left"]
    assert owner.told == ["wake", "start", "hand over", "start", "hand over"]


async def test_settled_waits_for_the_item_that_is_being_handled() -> None:
    """And returns at once where nothing waits."""
    owner = Owner(awake=False)
    await owner.inbox.settled()
    owner.gate.clear()
    owner.inbox.put("x")
    settled = asyncio.create_task(owner.inbox.settled())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not settled.done()
    owner.gate.set()
    await settled
    assert owner.handled == ["x"]


async def test_the_others_get_a_turn() -> None:
    """A client with many events that take no time would have the loop to itself."""
    owner = Owner()
    for item in range(2 * ITEMS_PER_TURN):
        owner.inbox.put(item)
    handled_by_then: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: handled_by_then.append(len(owner.handled)))
    await owner.run()
    assert handled_by_then == [ITEMS_PER_TURN]
    assert owner.handled == list(range(2 * ITEMS_PER_TURN))


async def test_who_sends_one_message_waits_for_no_turn_and_who_sends_many_does() -> None:
    """A turn that is used up holds back a user's second event, and a stranger's first."""
    turns = Intake(IntakeLimits(turn_s=3600.0), Wheel())
    handled: list[str] = []

    async def handle(owner: Any, item: str) -> None:
        handled.append(item)

    tasks = []
    for name, user in (("one", True), ("many", True), ("stranger", False)):
        owner = Owner()
        meter = turns.meter(name)
        if user:
            turns.vouch(meter)
        owner.inbox = Inbox(owner, 0, turns, meter)
        for number in range(2 if name == "many" else 1):
            owner.inbox.put(f"{name} {number}")
        tasks.append(owner.inbox.run(handle))
    running = asyncio.gather(*tasks)
    turns.weight = TURN_BYTES + 1
    assert turns.look()
    await asyncio.sleep(0)
    assert handled == ["one 0", "many 0"]
    await running
    assert sorted(handled) == ["many 0", "many 1", "one 0", "stranger 0"]
