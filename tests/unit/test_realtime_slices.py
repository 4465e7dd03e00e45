"""The slices in which a connection's parser gets what was read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from socketserver.realtime.engine.intake import LOOK_BYTES, SLICE_BYTES, Allowance, Intake, IntakeLimits, Meter
from socketserver.realtime.engine.slices import Slices
from socketserver.realtime.engine.wheel import Wheel

MUCH = b"x" * SLICE_BYTES * 3


@dataclass
class Connection:
    """Notes what its parser gets, and whether its socket is read."""

    meter: Meter
    intake: Intake
    full: bool = False
    wants: bool = True
    exempt: bool = False
    ends: bool = False
    reading: bool = True
    parts: list[bytes] = field(default_factory=list)

    def stalled(self) -> bool:
        return self.full

    def take(self, part: bytes) -> bool:
        self.parts.append(part)
        self.meter.weight += len(part)
        self.intake.weight += len(part)
        return self.wants

    def bounded(self) -> bool:
        return not self.exempt

    def flooding(self) -> bool:
        return self.ends

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True


def connection(rate: float = 0) -> tuple[Slices, Connection]:
    intake = Intake(IntakeLimits(user=Allowance(rate, 1), turn_s=3600.0), Wheel())
    meter = intake.meter("somebody")
    source = Connection(meter, intake)
    return Slices(intake, meter, source), source


async def test_a_parser_gets_everything_in_order_and_little_at_a_time() -> None:
    """Between two slices somebody can say that it is enough."""
    slices, source = connection()
    data = bytes(range(256)) * 100
    slices.begin(data, later=False)
    assert b"".join(source.parts) == data
    assert max(map(len, source.parts)) == SLICE_BYTES
    assert source.reading


async def test_what_is_more_than_a_visit_goes_on_in_turns_to_come() -> None:
    """Meanwhile the socket is not read, and what came all the same keeps its place."""
    slices, source = connection()
    slices.begin(b"a" * LOOK_BYTES * 2, later=False)
    assert (slices.gated, source.reading) == (True, False)
    slices.hold(b"b")
    while slices.gated:
        await asyncio.sleep(0)
    assert b"".join(source.parts) == b"a" * LOOK_BYTES * 2 + b"b"
    assert source.reading


async def test_nothing_is_given_out_in_a_turn_that_is_used_up() -> None:
    """It waits for the next, and is not read from."""
    slices, source = connection()
    slices.begin(b"a", later=True)
    assert (source.parts, source.reading) == ([], False)
    await asyncio.sleep(0)
    assert (source.parts, source.reading) == ([b"a"], True)


async def test_a_parser_that_takes_nothing_is_waited_for() -> None:
    """Until it says that it does again."""
    slices, source = connection()
    source.full = True
    slices.begin(MUCH, later=False)
    assert (source.parts, source.reading) == ([], False)
    source.full = False
    slices.wake()
    await asyncio.sleep(0)
    assert (b"".join(source.parts), source.reading) == (MUCH, True)
    slices.wake()
    await asyncio.sleep(0)
    assert b"".join(source.parts) == MUCH, "who was not waited for changes nothing"


async def test_what_nobody_wants_any_more_is_dropped() -> None:
    """The rest of it too, and the socket is read on: its client has to see why it was ended."""
    slices, source = connection()
    source.wants = False
    slices.begin(MUCH, later=True)
    await asyncio.sleep(0)
    assert (len(source.parts), source.reading, slices.gated) == (1, True, False)


async def test_a_client_over_its_rate_waits() -> None:
    """What is held then goes nowhere, until its time has come or it is forgotten."""
    slices, source = connection(rate=1)
    slices.begin(b"a" * LOOK_BYTES * 4, later=False)
    seen = len(source.parts)
    assert (slices.gated, source.reading, source.intake.paused) == (True, False, 1)
    await asyncio.sleep(0)
    assert len(source.parts) == seen
    slices.clear()


async def test_who_floods_is_ended_and_not_waited_for() -> None:
    """What it had sent is forgotten."""
    slices, source = connection(rate=1)
    source.ends = True
    slices.begin(b"a" * LOOK_BYTES * 4, later=False)
    seen = len(source.parts)
    assert (source.reading, source.intake.paused) == (False, 0)
    slices.visit()
    assert len(source.parts) == seen


async def test_a_trusted_proxy_s_connection_does_not_wait() -> None:
    """It carries everybody's requests."""
    slices, source = connection(rate=1)
    source.exempt = True
    slices.begin(b"a" * LOOK_BYTES * 2, later=False)
    while slices.gated:
        await asyncio.sleep(0)
    assert len(b"".join(source.parts)) == LOOK_BYTES * 2
