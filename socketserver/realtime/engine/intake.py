"""What comes in, weighed: how much one client may send, and how much of one turn of the event loop all may take.

Everything has a weight in bytes: its length, and for whatever has to be handled as much again as reading so many bytes
would cost. A `Meter` bounds one client over time. An `Intake` bounds all of them together within one turn of the loop:
whoever comes when the turn is used up waits for the next, users before strangers, and strangers one address after the
other. Knows no socket and no packet.

Why not leave it to TCP: uvloop reads a quarter of a megabyte at a time, and reads the same socket again while there is
more; a single sender of empty frames would have the loop to itself for seconds.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from .wheel import Wheel

PACKET_BYTES: Final = 1024
"""What a frame, or a packet of a POST, weighs beside its length: handling one takes about 3 µs."""
READ_BYTES: Final = 512
"""What each read of a socket weighs beside what it brings, so that single bytes are no way around."""
EVENT_BYTES: Final = 16 * 1024
"""What handling one event weighs, for the turn."""
REQUEST_BYTES: Final = 96 * 1024
"""What answering one HTTP request weighs."""
SLICE_BYTES: Final = 4096
"""Bytes that a parser gets at a time."""
LOOK_BYTES: Final = 64 * 1024
"""Weight after which the clock is looked at, and a client that has waited gives way to the next."""
TURN_BYTES: Final = 2 << 20
"""Maximum weight of a turn, for what takes its time only after it was weighed."""
USERS_SHARE: Final = 0.75
"""Part of a turn that is for users while strangers wait."""
MAX_WAIT_S: Final = 1.0
"""Maximum seconds until somebody over its rate is looked at again."""
LINE_S: Final = 1.0
"""Seconds after a log line about a flood in which there is no other."""

Visit = Callable[[], bool]
"""Does a part of some work; returns whether there is more."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one client may send.

    Attributes:
        bytes_per_second: in the long run; 0 for no limit.
        burst_bytes: at once.
    """

    bytes_per_second: float
    burst_bytes: float


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """What all clients may send (a weight, see this module).

    Attributes:
        user: of a client that `AsyncServer.vouch` was called for.
        guest: of every other client; None for the same.
        turn_s: how long what comes in may hold one turn of the event loop; 0 for no limit.
        flooding_s: how long a client may stay at its limit before it is ended with 'flooding'; 0 for ever.
    """

    user: Allowance = Allowance(8 << 20, 16 << 20)
    guest: Allowance | None = None
    turn_s: float = 0.01
    flooding_s: float = 10.0

    @property
    def off(self) -> bool:
        """Whether nothing is limited, so that nothing needs to be weighed."""
        rates = (self.user, self.guest or self.user)
        return not self.turn_s and all(rate.bytes_per_second <= 0 for rate in rates)


class Meter:
    """One client's allowance, as a token bucket that may run into debt by what one slice holds.

    Attributes:
        weight: what came in since the last `settle`; who takes something in adds to it.
        group: whom it shares its turns with while it is a stranger.
        known: whether it belongs to a user.
        turn: the turn in which it last came first (`Intake.first`).
    """

    __slots__ = ("_allowance", "_over_s", "_settled_s", "_tokens", "group", "known", "turn", "weight")

    def __init__(self, allowance: Allowance, group: Hashable, now_s: float) -> None:
        self._allowance = allowance
        self._tokens = allowance.burst_bytes
        self._settled_s = now_s
        self._over_s: float | None = None
        self.weight = 0
        self.group = group
        self.known = False
        self.turn = -1

    def settle(self, now_s: float) -> float:
        """Charge what came in. Returns 0.0 while that is allowed, else after how many seconds it will be."""
        weight, self.weight = self.weight, 0
        rate, burst = self._allowance.bytes_per_second, self._allowance.burst_bytes
        if rate <= 0:
            return 0.0
        self._tokens = min(burst, self._tokens + (now_s - self._settled_s) * rate) - weight
        self._settled_s = now_s
        if self._tokens < 0:
            if self._over_s is None:
                self._over_s = now_s
            return -self._tokens / rate
        if self._tokens * 2 >= burst:
            self._over_s = None
        return 0.0

    def over_s(self, now_s: float) -> float:
        """For how long it has been at its limit, without ever being half free again."""
        return 0.0 if self._over_s is None else now_s - self._over_s

    def vouch(self, allowance: Allowance) -> None:
        """It belongs to a user from now on."""
        self.known = True
        self._tokens += allowance.burst_bytes - self._allowance.burst_bytes
        self._allowance = allowance
        self._over_s = None


class Meters:
    """A meter per client, for those whose connections tell nothing: a proxy's carry everybody's requests.

    At most `most` are kept; past that the one that was used longest ago is forgotten, and its client begins anew.
    """

    def __init__(self, allowance: Allowance, most: int = 10_000) -> None:
        self._allowance = allowance
        self._most = most
        self._meters: OrderedDict[Hashable, Meter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._meters)

    def get(self, client: Hashable, now_s: float) -> Meter:
        """The client's meter, a new one if it has none."""
        meter = self._meters.get(client)
        if meter is None:
            meter = self._meters[client] = Meter(self._allowance, client, now_s)
            if len(self._meters) > self._most:
                self._meters.popitem(last=False)
        else:
            self._meters.move_to_end(client)
        return meter


class Intake:
    """Shares out the turns of the event loop.

    Who takes something in adds its weight to `weight`; once that is over LOOK_BYTES, it calls `look`; while that says
    that the turn is used up, and it is not `first`, it does its work in a `queue`d visit, or after `await turn(...)`.

    Attributes:
        weight: of what came in lately.
        closed: whether this turn is used up.
        turns: how many have begun.
        paused: how often a client was not read from, because it was over its rate.
        flooded: how many clients were ended for it.
        deferred: how often something had to wait for another turn.
    """

    def __init__(self, limits: IntakeLimits, wheel: Wheel) -> None:
        self.limits = limits
        self.wheel = wheel
        self.weight = 0
        self.closed = False
        self.turns = 0
        self.paused = 0
        self.flooded = 0
        self.deferred = 0
        self._users: deque[Visit] = deque()
        self._strangers: OrderedDict[Hashable, deque[Visit]] = OrderedDict()
        self._scheduled = False
        self._deadline = 0.0
        self._next_line_s = 0.0
        self._unsaid = 0

    def __len__(self) -> int:
        """Return how many wait for a turn."""
        return len(self._users) + sum(map(len, self._strangers.values()))

    def counts(self) -> dict[str, int]:
        """Return what was done so far, by what it is: 'paused', 'deferred' or 'flooding'."""
        return {"paused": self.paused, "deferred": self.deferred, "flooding": self.flooded}

    def meter(self, group: Hashable) -> Meter:
        """Return the meter of a new client, a stranger so far."""
        return Meter(self.limits.guest or self.limits.user, group, self.wheel.clock())

    def vouch(self, meter: Meter) -> None:
        """A client belongs to a user from now on."""
        if not meter.known:
            meter.vouch(self.limits.user)

    def flooding(self, meter: Meter) -> bool:
        """Whether a client has been at its limit for too long."""
        return 0 < self.limits.flooding_s <= meter.over_s(self.wheel.clock())

    def line(self) -> str | None:
        """Return what a log line about a flooding client has to add, None when there has been one within this second:
        floods have a budget of their own, and cost no other line its place."""
        now_s = self.wheel.clock()
        if now_s < self._next_line_s:
            self._unsaid += 1
            return None
        unsaid, self._unsaid = self._unsaid, 0
        self._next_line_s = now_s + LINE_S
        return f"{unsaid} more since the last line" if unsaid else ""

    def look(self) -> bool:
        """Return whether this turn is used up."""
        if not self.limits.turn_s:
            self.weight = 0
            return False
        if not self._scheduled:
            self._schedule()
            self._deadline = perf_counter() + self.limits.turn_s
        if not self.closed:
            self.closed = self.weight > TURN_BYTES or perf_counter() > self._deadline
        return self.closed

    def first(self, meter: Meter) -> bool:
        """Whether a client need not wait although the turn is used up: a user may do one thing in each turn. So users
        who send one message at a time wait for none who send many, and what they have sent together stays together on
        its way through the store into the outboxes, which costs less than one after the other."""
        if not meter.known or meter.turn == self.turns:
            return False
        meter.turn = self.turns
        return True

    def queue(self, meter: Meter, visit: Visit) -> None:
        """Have `visit` called in a turn to come, again and again until it returns False; each time it may take
        LOOK_BYTES of weight."""
        self.deferred += 1
        self._add(meter, visit)
        if not self._scheduled:
            self._schedule()

    async def turn(self, meter: Meter, weight: int) -> None:
        """Wait for a turn with room for so much weight."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def visit() -> bool:
            if not future.done():
                self.weight += weight
                future.set_result(None)
            return False

        self.queue(meter, visit)
        await future

    async def allow(self, meter: Meter, goes_on: Callable[[], bool]) -> bool:
        """Wait while a client is over its rate, and `goes_on()`. Returns False once it is to be ended for flooding."""
        while (wait_s := meter.settle(self.wheel.clock())) and goes_on():
            if self.flooding(meter):
                self.flooded += 1
                return False
            self.paused += 1
            await asyncio.sleep(min(wait_s, MAX_WAIT_S))
        return True

    def _add(self, meter: Meter, visit: Visit) -> None:
        if meter.known:
            self._users.append(visit)
            return
        waiting = self._strangers.get(meter.group)
        if waiting is None:
            waiting = self._strangers[meter.group] = deque()
        waiting.append(visit)

    def _schedule(self) -> None:
        self._scheduled = True
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn: those that wait come first."""
        self._scheduled = False
        self.closed = False
        self.turns += 1
        self.weight = 0
        if not self._users and not self._strangers:
            return
        began_s = perf_counter()
        share = USERS_SHARE if self._strangers else 1.0
        self._deadline = began_s + self.limits.turn_s * share
        users = self._users
        while users and self._room(share):
            visit = users.popleft()
            if visit():
                users.append(visit)
        self._deadline = began_s + self.limits.turn_s
        while self._strangers:
            group, waiting = self._strangers.popitem(last=False)
            visit = waiting.popleft()
            if visit():
                waiting.append(visit)
            if group in self._strangers:  # somebody of this group has come in the meantime
                waiting.extend(self._strangers.pop(group))
            if waiting:
                self._strangers[group] = waiting
            if not self._room(1.0):
                break
        self.closed = not self._room(1.0)
        if self.closed or self._users or self._strangers:
            self.closed = True
            self._schedule()

    def _room(self, share: float) -> bool:
        return self.weight <= TURN_BYTES * share and (not self.limits.turn_s or perf_counter() <= self._deadline)
