"""A thousand random histories of a cluster, with faults, in 6 s of CPU; and that the checker finds what it is for."""

from __future__ import annotations

from collections.abc import Callable
from socketserver.chat.domain import ConversationId
from socketserver.cluster.frames import Target
from socketserver.cluster.gates import Gates

import pytest
from support.cluster_sim import Broken, World
from support.memory_bus import MemoryBroker

HISTORIES = 1_000


@pytest.mark.parametrize("block", range(4))
def test_what_must_hold_whatever_happens(block: int) -> None:
    """Acked is stored, every client has every change in order, one socket a user, and equal directories."""
    for seed in range(block * HISTORIES // 4, (block + 1) * HISTORIES // 4):
        try:
            World(seed).run()
        except Exception as error:
            raise AssertionError(f"history {seed}") from error


class NoHolding(Gates[int]):
    """Announces what comes, as it comes."""

    def offer(self, conversation_id: ConversationId, change: int, item: int, now_s: float) -> list[int]:
        return super().offer(conversation_id, change, item, now_s) or [item]


class NoChecks(Gates[int]):
    """Never looks at once, whatever was missed; the slow sweep is there."""

    def check_all(self) -> None:
        pass

    def join(self, conversation_id: ConversationId, now_s: float) -> int:
        join = super().join(conversation_id, now_s)
        self._fresh.clear()
        return join


class NoSweep(Gates[int]):
    """Looks when there is a reason to, and else never."""

    def checks(self, now_s: float) -> list[ConversationId]:
        for conversation_id in self._gates:
            self._gates[conversation_id].checked_s = now_s
        return super().checks(now_s)


class NoSkip(MemoryBroker):
    """What had no room is lost in silence."""

    def skip(self, target: Target) -> None:
        pass


def first_broken(make: Callable[[int], World]) -> int | None:
    """The first history that breaks."""
    for seed in range(HISTORIES):
        try:
            make(seed).run()
        except Broken:
            return seed
    return None


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda seed: World(seed, make_gates=NoHolding), id="no holding"),
        pytest.param(lambda seed: World(seed, make_gates=NoChecks), id="no checks"),
        pytest.param(lambda seed: World(seed, make_gates=NoSweep), id="no sweep"),
        pytest.param(lambda seed: World(seed, broker=NoSkip), id="no skip"),
        pytest.param(lambda seed: World(seed, tells_when_late=False), id="does not tell who was told too little"),
    ],
)
def test_each_part_is_needed(make: Callable[[int], World]) -> None:
    """A cluster that lacks one of them breaks in one of the histories: the checker sees what it is for."""
    assert first_broken(make) is not None
