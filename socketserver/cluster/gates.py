"""One order for clients, whatever the bus does: a gate per conversation that a local socket has joined.

Everything numbered passes it, what was stored here too. What comes too early is held for a moment; what does not come
is read from the store, in order, before a client sees a hole. Pure: no I/O, and the time is passed in, as seconds of a
monotonic clock. Whoever drives the gates reads the store for them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ..chat.domain import ConversationId

HOLD_S: Final = 0.1
# Later than the others can learn of who has just joined here: a node that is slower than exchange.UP_S to say it, or to
# read it, finds that out itself.
FIRST_CHECK_S: Final = 4.5
AWAY_CHECK_S: Final = 2.0
CHECK_S: Final = 300.0
CHECKED_AT_ONCE: Final = 500
RETRY_S: Final = (0.2, 30.0)  # the first pause after the store did not help, and the longest
MOST_HELD: Final = 500  # events that one gate holds; beyond, it remembers only that there are some

Item = TypeVar("Item")


@dataclass(slots=True)
class _Gate(Generic[Item]):
    """A conversation's gate.

    Attributes:
        last: the newest change that has passed; None until the snapshots are there.
        known: the newest change that is known to exist.
        held: events that came too early.
        more: the store has more than it has told.
        late_s: since when something is known that has not passed.
        reading: a read of the store is under way.
        retry_s: not before then is it read again.
        joins: joins whose snapshots are under way and may set `last`.
        oldest: the oldest snapshot so far, once there is one; from then on no further join counts.
        checked_s, checked_round: when the store was last asked for its newest change, and in which round of checks.
    """

    checked_s: float
    checked_round: int
    last: int | None = None
    known: int = 0
    held: dict[int, Item] = field(default_factory=dict)
    more: bool = False
    late_s: float | None = None
    reading: bool = False
    failures: int = 0
    retry_s: float = 0.0
    joins: set[int] = field(default_factory=set)
    oldest: int | None = None


class Gates(Generic[Item]):
    """The gates of one node. `Item` is whatever is to be announced for a change."""

    def __init__(self) -> None:
        # Who was checked longest ago comes first.
        self._gates: OrderedDict[ConversationId, _Gate[Item]] = OrderedDict()
        self._fresh: deque[tuple[float, ConversationId]] = deque()
        self._late: dict[ConversationId, None] = {}
        self._join = 0
        self._round = 0  # every gate that was not checked in this round is to be
        self._away = False
        self._again_s = float("inf")
        self.healed_changes = 0

    def __len__(self) -> int:
        return len(self._gates)

    def __contains__(self, conversation_id: object) -> bool:
        return conversation_id in self._gates

    @property
    def late(self) -> int:
        """How many gates wait for something."""
        return len(self._late)

    def join(self, conversation_id: ConversationId, now_s: float) -> int:
        """A socket has entered the room, and its snapshot is about to be read: `joined` or `not_joined` must follow.

        Returns: a number for that join.
        """
        self._join += 1
        gate = self._gates.get(conversation_id)
        if gate is None:
            gate = self._gates[conversation_id] = _Gate(now_s, self._round)
            self._fresh.append((now_s + FIRST_CHECK_S, conversation_id))
        # A snapshot that is begun after another one has come is no older than that.
        if gate.oldest is None:
            gate.joins.add(self._join)
        return self._join

    def joined(self, conversation_id: ConversationId, join: int, change: int, now_s: float) -> list[Item]:
        """A join's snapshot is there, with everything up to `change`.

        The first snapshots set where the gate begins: the oldest of those that were under way together, so that none of
        their sockets misses what lies between. Returns: what is announced now.
        """
        gate = self._gates.get(conversation_id)
        if gate is None:
            return []
        gate.known = max(gate.known, change)
        if join not in gate.joins:
            self._settle(conversation_id, gate, now_s)
            return []
        gate.joins.discard(join)
        gate.oldest = change if gate.oldest is None else min(gate.oldest, change)
        return self._begin(conversation_id, gate, now_s)

    def not_joined(self, conversation_id: ConversationId, join: int, now_s: float) -> list[Item]:
        """A join came to nothing. Returns: what is announced now."""
        gate = self._gates.get(conversation_id)
        if gate is None or join not in gate.joins:
            return []
        gate.joins.discard(join)
        return self._begin(conversation_id, gate, now_s)

    def close(self, conversation_id: ConversationId) -> None:
        """The last local socket has left the room."""
        self._gates.pop(conversation_id, None)
        self._late.pop(conversation_id, None)

    def offer(self, conversation_id: ConversationId, change: int, item: Item, now_s: float) -> list[Item]:
        """Something numbered is stored, here or elsewhere. Returns: what is announced now, in order.

        Without a gate nobody has joined here, and it passes.
        """
        gate = self._gates.get(conversation_id)
        if gate is None:
            return [item]
        gate.known = max(gate.known, change)
        if gate.last is not None:
            if change <= gate.last:
                return []
            if change == gate.last + 1 and not gate.held:
                gate.last = change
                self._settle(conversation_id, gate, now_s)
                return [item]
        if len(gate.held) < MOST_HELD or (gate.last is not None and change == gate.last + 1):
            gate.held[change] = item
        return self._pass(conversation_id, gate, now_s)

    def due(self, now_s: float) -> list[tuple[ConversationId, int]]:
        """The conversations that the store must be read for, and after which change. Each is under way from now on:
        `healed` or `failed` must follow."""
        found = []
        for conversation_id in self._late:
            gate = self._gates[conversation_id]
            if gate.reading or gate.last is None or gate.late_s is None or now_s < gate.retry_s:
                continue
            if now_s - gate.late_s >= HOLD_S:
                gate.reading = True
                found.append((conversation_id, gate.last))
        return found

    def healed(
        self,
        conversation_id: ConversationId,
        changes: Iterable[tuple[int, Item]],
        through: int,
        now_s: float,
        *,
        more: bool = False,
    ) -> list[Item]:
        """The store was read.

        Args:
            changes: what was there, in the order of `change`: the present state, so numbers of what was changed again
                are missing.
            through: up to where that is everything.
            more: there may be more after it.
        Returns: what is announced now, in order.
        """
        gate = self._gates.get(conversation_id)
        if gate is None or not gate.reading or gate.last is None:
            return []
        gate.reading = False
        gate.more = more
        announced = [item for change, item in changes if change > gate.last]
        self.healed_changes += len(announced)
        if through > gate.last:
            gate.last = through
            gate.known = max(gate.known, through)
            gate.failures = 0
            gate.retry_s = 0.0
        elif gate.known > gate.last or more:
            self._retry(gate, now_s)
        return announced + self._pass(conversation_id, gate, now_s)

    def failed(self, conversation_id: ConversationId, now_s: float) -> None:
        """The store could not be read; it is tried again, after a pause that grows."""
        gate = self._gates.get(conversation_id)
        if gate is not None and gate.reading:
            gate.reading = False
            self._retry(gate, now_s)

    def check_all(self) -> None:
        """Something may have been missed, anywhere: on `missed`, when a peer died, when the bus is back."""
        self._round += 1

    def away(self, away: bool, now_s: float) -> None:
        """Whether the bus is away: meanwhile every gate is checked every AWAY_CHECK_S. When it is back, at once, and
        again after FIRST_CHECK_S, when others have heard who is here now."""
        if self._away and not away:
            self.check_all()
            self._again_s = now_s + FIRST_CHECK_S
        self._away = away

    def checks(self, now_s: float) -> list[ConversationId]:
        """Conversations whose newest change the store has to be asked for, CHECKED_AT_ONCE at most: `positions` or
        `unchecked` must follow. Ask again until there are none, or at one's own pace."""
        if now_s >= self._again_s:
            self._again_s = float("inf")
            self.check_all()
        found: dict[ConversationId, None] = {}
        while self._fresh and self._fresh[0][0] <= now_s and len(found) < CHECKED_AT_ONCE:
            _, conversation_id = self._fresh.popleft()
            if conversation_id in self._gates:
                found[conversation_id] = None
        every_s = AWAY_CHECK_S if self._away else CHECK_S
        for conversation_id, gate in self._gates.items():
            if len(found) >= CHECKED_AT_ONCE:
                break
            if gate.checked_round == self._round and now_s - gate.checked_s < every_s:
                break
            found[conversation_id] = None
        for conversation_id in found:
            gate = self._gates[conversation_id]
            gate.checked_s, gate.checked_round = now_s, self._round
            self._gates.move_to_end(conversation_id)
        return list(found)

    def positions(self, newest: Mapping[ConversationId, int], now_s: float) -> None:
        """The store's newest changes: who is behind is healed, unless what is missing comes within HOLD_S."""
        for conversation_id, change in newest.items():
            gate = self._gates.get(conversation_id)
            if gate is not None and change > gate.known:
                gate.known = change
                self._settle(conversation_id, gate, now_s)

    def unchecked(self, conversation_ids: Sequence[ConversationId], now_s: float) -> None:
        """The store did not tell the newest changes of these; they are asked for again after AWAY_CHECK_S."""
        for conversation_id in conversation_ids:
            if conversation_id in self._gates:
                self._fresh.append((now_s + AWAY_CHECK_S, conversation_id))

    def _begin(self, conversation_id: ConversationId, gate: _Gate[Item], now_s: float) -> list[Item]:
        if gate.joins or gate.oldest is None or gate.last is not None:
            return []
        gate.last = gate.oldest
        return self._pass(conversation_id, gate, now_s)

    def _pass(self, conversation_id: ConversationId, gate: _Gate[Item], now_s: float) -> list[Item]:
        """Everything held that follows without a hole."""
        announced: list[Item] = []
        if gate.last is not None and gate.held:
            if min(gate.held) <= gate.last:
                gate.held = {change: item for change, item in gate.held.items() if change > gate.last}
            while gate.last + 1 in gate.held:
                gate.last += 1
                announced.append(gate.held.pop(gate.last))
            if announced and gate.late_s is not None:
                gate.late_s = now_s  # what is missing now is another hole, with a moment of its own
        self._settle(conversation_id, gate, now_s)
        return announced

    def _settle(self, conversation_id: ConversationId, gate: _Gate[Item], now_s: float) -> None:
        """Note whether the gate waits for something, and since when."""
        if gate.last is None or (gate.known <= gate.last and not gate.more):
            gate.late_s = None
            gate.failures = 0
            gate.retry_s = 0.0
            self._late.pop(conversation_id, None)
        elif gate.late_s is None:
            gate.late_s = now_s
            self._late[conversation_id] = None

    def _retry(self, gate: _Gate[Item], now_s: float) -> None:
        first_s, longest_s = RETRY_S
        gate.retry_s = now_s + min(longest_s, first_s * 2**gate.failures)
        gate.failures = min(gate.failures + 1, 16)
