"""What comes in, weighed: rates of one client, turns of all."""

import asyncio
from collections.abc import Callable
from socketserver.realtime.engine.intake import LOOK_BYTES, TURN_BYTES, Allowance, Intake, IntakeLimits, Meter
from socketserver.realtime.engine.wheel import Wheel

RATE = Allowance(1000, 4000)


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def intake(clock: Clock | None = None, **limits: float) -> Intake:
    # An hour: a turn ends by what it weighs, however slow the machine is.
    options = {"turn_s": 3600.0, **limits}
    return Intake(IntakeLimits(user=RATE, guest=Allowance(100, 400), **options), Wheel(clock or Clock()))


def test_a_burst_is_allowed_and_what_is_over_it_waits_for_the_rate() -> None:
    """At the burst: no wait. Over it: until the debt is paid."""
    meter = Meter(RATE, "a", 0.0)
    meter.weight = 4000
    assert meter.settle(0.0) == 0.0
    meter.weight = 500
    assert meter.settle(0.0) == 0.5
    assert meter.settle(0.25) == 0.25
    assert meter.settle(0.5) == 0.0


def test_a_meter_without_a_rate_never_waits() -> None:
    """0 is no limit."""
    meter = Meter(Allowance(0, 1), "a", 0.0)
    meter.weight = 1 << 40
    assert meter.settle(0.0) == 0.0


def test_who_stays_at_the_limit_floods_and_who_only_once_had_much_does_not() -> None:
    """The time at the limit begins anew once half of the burst is there again."""
    clock = Clock()
    turns = intake(clock, flooding_s=10.0)
    meter = turns.meter("a")
    turns.vouch(meter)
    for _ in range(20):
        meter.weight = 4500
        meter.settle(clock.now_s)
        clock.now_s += 4.0
        meter.settle(clock.now_s)
        assert turns.flooding(meter) == (meter.over_s(clock.now_s) >= 10)
    assert turns.flooding(meter)
    clock.now_s += 60.0
    meter.settle(clock.now_s)
    assert not turns.flooding(meter)
    assert not intake(clock, flooding_s=0.0).flooding(meter)


def test_a_user_may_send_more_than_a_stranger() -> None:
    """What a client is vouched for applies at once, and only once."""
    turns = intake()
    meter = turns.meter("a")
    meter.weight = 401
    assert meter.settle(100.0) > 0
    turns.vouch(meter)
    turns.vouch(meter)
    meter.weight = 3599
    assert meter.settle(100.0) == 0.0
    meter.weight = 1
    assert meter.settle(100.0) > 0


async def test_a_turn_ends_at_its_weight_and_the_next_begins_anew() -> None:
    """Up to TURN_BYTES it is open."""
    turns = intake()
    turns.weight = TURN_BYTES
    assert not turns.look()
    turns.weight += 1
    assert turns.look()
    await asyncio.sleep(0)
    assert not turns.closed
    assert turns.weight == 0


async def test_a_turn_without_a_limit_never_ends() -> None:
    """0 is no limit."""
    turns = intake(turn_s=0.0)
    turns.weight = 1 << 40
    assert not turns.look()


def worker(turns: Intake, name: str, parts: int, log: list[str]) -> Callable[[], bool]:
    left = parts

    def visit() -> bool:
        nonlocal left
        left -= 1
        turns.weight += LOOK_BYTES
        log.append(name)
        return left > 0

    return visit


async def test_users_come_before_strangers_and_these_one_address_after_the_other() -> None:
    """Five hundred connections of one address had pushed everybody else back."""
    turns = intake()
    log: list[str] = []
    for number in range(50):
        turns.queue(turns.meter("many"), worker(turns, f"many{number}", 100, log))
    turns.queue(turns.meter("one"), worker(turns, "one", 3, log))
    user = turns.meter("many")
    turns.vouch(user)
    turns.queue(user, worker(turns, "user", 2, log))
    await asyncio.sleep(0)
    assert log[:2] == ["user", "user"]
    assert log[2:8] == ["many0", "one", "many1", "one", "many2", "one"]
    assert len(log) <= TURN_BYTES // LOOK_BYTES + 1, "one turn"
    assert turns.closed, "who reads now waits, too"
    seen = len(log)
    await asyncio.sleep(0)
    assert seen < len(log) <= 2 * (TURN_BYTES // LOOK_BYTES + 1)


async def test_strangers_have_a_share_while_users_flood() -> None:
    """Nobody could log in otherwise."""
    turns = intake()
    log: list[str] = []
    user = turns.meter("a")
    turns.vouch(user)
    turns.queue(user, worker(turns, "user", 10_000, log))
    turns.queue(turns.meter("b"), worker(turns, "stranger", 1, log))
    await asyncio.sleep(0)
    assert "stranger" in log


async def test_waiting_for_a_turn_ends_though_the_waiter_was_cancelled() -> None:
    """A cancelled one takes nothing of the turn."""
    turns = intake()
    waiting = asyncio.create_task(turns.turn(turns.meter("a"), 5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(turns.turn(turns.meter("a"), 5), 20)
    await asyncio.sleep(0)
    assert len(turns) == 0


def test_floods_have_their_own_lines_in_the_log() -> None:
    """One a second; the next says how many there would have been."""
    clock = Clock()
    turns = intake(clock)
    assert [turns.line() for _ in range(3)] == ["", None, None]
    clock.now_s += 1
    assert turns.line() == "2 more since the last line"
    clock.now_s += 1
    assert turns.line() == ""


def test_nothing_is_weighed_only_where_nothing_is_limited() -> None:
    """Benchmarks run so."""
    none = Allowance(0, 1)
    assert IntakeLimits(none, none, 0).off
    assert not IntakeLimits(none, none, 0.01).off
    assert not IntakeLimits(none, RATE, 0).off
    assert IntakeLimits(none, None, 0).off


async def test_a_user_s_first_message_in_a_turn_does_not_wait() -> None:
    """Users who each send one message at a time waited for one another where a room was large: what they had sent
    together was stored and written in parts, and a room of 500 got a sixth fewer messages a second."""
    turns = intake()
    one, other, stranger = (turns.meter(name) for name in "abc")
    turns.vouch(one)
    turns.vouch(other)
    turns.weight = TURN_BYTES + 1
    assert turns.look()
    assert [turns.first(meter) for meter in (one, other, one, stranger, other)] == [True, True, False, False, False]
    await asyncio.sleep(0)
    assert [turns.first(meter) for meter in (one, one, stranger)] == [True, False, False], "the next turn"
