"""socketserver.cluster.gates: the order of what clients see, and how holes are closed."""

from __future__ import annotations

import random
from socketserver.chat.domain import ConversationId
from socketserver.cluster.gates import (
    AWAY_CHECK_S,
    CHECK_S,
    CHECKED_AT_ONCE,
    FIRST_CHECK_S,
    HOLD_S,
    MOST_HELD,
    RETRY_S,
    Gates,
)

from hypothesis import given
from hypothesis import strategies as st

C = ConversationId("c")


def opened(at: int, now_s: float = 0.0) -> Gates[int]:
    """Gates with one that has passed everything up to `at`. What is announced for a change is its number."""
    gates: Gates[int] = Gates()
    assert gates.joined(C, gates.join(C, now_s), at, now_s) == []
    return gates


def test_what_comes_in_order_passes_at_once() -> None:
    """And what came before is dropped: each is announced once."""
    gates = opened(2)
    assert [gates.offer(C, change, change, 0) for change in (1, 2, 3, 3, 4)] == [[], [], [3], [], [4]]
    assert gates.late == 0


def test_what_comes_too_early_is_held_until_the_hole_is_closed() -> None:
    """Two writers on two nodes: the faster way does not overtake."""
    gates = opened(0)
    assert gates.offer(C, 3, 3, 0) == []
    assert gates.offer(C, 2, 2, 0) == []
    assert gates.late == 1
    assert gates.offer(C, 1, 1, 0.05) == [1, 2, 3]
    assert gates.late == 0
    assert gates.due(10) == []


def test_a_hole_that_stays_is_read_from_the_store() -> None:
    """After HOLD_S, with one read at a time; what arrives meanwhile is not announced twice."""
    gates = opened(0)
    gates.offer(C, 3, 3, 0)
    assert gates.due(HOLD_S / 2) == []
    assert gates.due(HOLD_S) == [(C, 0)]
    assert gates.due(1) == []
    assert gates.offer(C, 1, 1, 1) == [1]
    assert gates.healed(C, [(1, 1), (2, 2)], 2, 1) == [2, 3]
    assert (gates.late, gates.healed_changes) == (0, 1)


def test_the_present_state_stands_for_what_was_changed_again() -> None:
    """The store has messages as they are: numbers between are missing, and what was held below is older."""
    gates = opened(0)
    gates.offer(C, 4, 40, 0)
    gates.due(1)
    assert gates.healed(C, [(1, 1), (5, 5)], 5, 1) == [1, 5]
    assert gates.offer(C, 5, 50, 1) == []
    assert gates.offer(C, 6, 6, 1) == [6]


def test_a_long_hole_is_read_page_by_page() -> None:
    """The next page at once, from where the one before ended."""
    gates = opened(0)
    gates.offer(C, 9, 9, 0)
    assert gates.due(1) == [(C, 0)]
    assert gates.healed(C, [(1, 1), (2, 2)], 2, 1, more=True) == [1, 2]
    assert gates.due(1) == [(C, 2)]
    assert gates.healed(C, [(n, n) for n in range(3, 9)], 8, 1) == [3, 4, 5, 6, 7, 8, 9]
    assert gates.due(10) == []


def test_a_store_that_does_not_answer_is_asked_again_with_growing_pauses() -> None:
    """And nothing passes meanwhile: clients would see the hole."""
    gates = opened(0)
    gates.offer(C, 2, 2, 0)
    now_s, pauses = HOLD_S, []
    for _ in range(12):
        assert gates.due(now_s) == [(C, 0)]
        gates.failed(C, now_s)
        start_s = now_s
        while not gates.due(now_s):
            now_s += 0.1
        pauses.append(now_s - start_s)
        gates.failed(C, now_s)
        now_s += 60
    assert pauses == sorted(pauses)
    assert pauses[0] < RETRY_S[0] + 0.2
    assert pauses[-1] < RETRY_S[1] + 0.2
    assert gates.due(now_s) == [(C, 0)]
    assert gates.healed(C, [(1, 1)], 1, now_s) == [1, 2]


def test_a_store_that_lags_is_asked_again() -> None:
    """A read that brings nothing is followed by a pause, not by another one at once."""
    gates = opened(0)
    gates.offer(C, 2, 2, 0)
    gates.due(1)
    assert gates.healed(C, [], 0, 1) == []
    assert gates.due(1) == []
    assert gates.due(1 + RETRY_S[0]) == [(C, 0)]


def test_the_oldest_snapshot_sets_where_a_gate_begins() -> None:
    """A bug that a prototype had: two sockets join together, the newer snapshot is there first, and the other socket
    missed what lay between."""
    gates: Gates[int] = Gates()
    slow, quick = gates.join(C, 0), gates.join(C, 0)
    assert gates.offer(C, 7, 7, 0) == []
    assert gates.joined(C, quick, 7, 0) == []
    late = gates.join(C, 0)  # its snapshot is newer than the quick one's, whenever it comes
    assert gates.offer(C, 8, 8, 0) == []
    assert gates.offer(C, 6, 6, 0) == []
    assert gates.joined(C, slow, 5, 0) == [6, 7, 8]
    assert gates.joined(C, late, 8, 0) == []
    assert gates.offer(C, 9, 9, 0) == [9]


def test_a_join_that_comes_to_nothing_holds_nobody_up() -> None:
    """The others' snapshots count; without any, the next join's does."""
    gates: Gates[int] = Gates()
    first, second = gates.join(C, 0), gates.join(C, 0)
    gates.joined(C, first, 3, 0)
    assert gates.offer(C, 4, 4, 0) == []
    assert gates.not_joined(C, second, 0) == [4]
    gates = Gates()
    gates.not_joined(C, gates.join(C, 0), 0)
    assert gates.offer(C, 2, 2, 0) == []
    assert gates.joined(C, gates.join(C, 0), 1, 0) == [2]


def test_a_snapshot_tells_what_the_gate_has_missed() -> None:
    """A socket that joins later sees more than has passed: the others get it, from the store if it does not come."""
    gates = opened(3)
    gates.joined(C, gates.join(C, 1), 5, 1)
    assert gates.due(1 + HOLD_S) == [(C, 3)]
    assert gates.healed(C, [(4, 4), (5, 5)], 5, 2) == [4, 5]


def test_without_a_gate_everything_passes() -> None:
    """Nobody has joined here: there is no order to keep, and nothing is kept of it."""
    gates: Gates[int] = Gates()
    assert gates.offer(C, 9, 9, 0) == [9]
    gates = opened(0)
    gates.offer(C, 3, 3, 0)
    gates.close(C)
    assert gates.due(10) == []
    assert gates.checks(10) == []
    assert gates.healed(C, [(1, 1)], 1, 10) == []
    gates.failed(C, 10)
    gates.unchecked([C], 10)
    assert (len(gates), gates.late, C in gates) == (0, 0, False)
    assert gates.offer(C, 5, 5, 0) == [5]


def test_a_gate_holds_so_many_and_no_more() -> None:
    """The rest is in the store, and is read from there."""
    gates = opened(0)
    for change in range(2, MOST_HELD + 10):
        assert gates.offer(C, change, change, 0) == []
    through = MOST_HELD + 1
    assert gates.offer(C, 1, 1, 0) == list(range(1, through + 1))
    assert gates.due(HOLD_S) == [(C, through)]
    rest = list(range(through + 1, MOST_HELD + 10))
    assert gates.healed(C, [(change, change) for change in rest], MOST_HELD + 9, 1) == rest


def test_a_gate_is_checked_soon_after_it_opened() -> None:
    """What was lost between the snapshot and the bus' first word is found."""
    gates = opened(1)
    assert gates.checks(FIRST_CHECK_S - 0.1) == []
    assert gates.checks(FIRST_CHECK_S) == [C]
    gates.positions({C: 2}, 10)
    assert gates.due(10) == []  # it may be on its way
    assert gates.due(10.01 + HOLD_S) == [(C, 1)]


def test_when_gates_are_checked() -> None:
    """Once for every reason to, every two seconds while the bus is away, and once in a long while always."""
    gates = opened(0)
    gates.checks(FIRST_CHECK_S)
    gates.check_all()
    assert gates.checks(10) == [C]
    assert gates.checks(10.1) == []
    gates.away(True, 11)
    assert gates.checks(10 + AWAY_CHECK_S) == [C]
    assert gates.checks(10.5 + AWAY_CHECK_S) == []
    gates.away(False, 14)
    gates.away(False, 14)
    assert gates.checks(14) == [C]
    assert gates.checks(13.9 + FIRST_CHECK_S) == []
    assert gates.checks(14 + FIRST_CHECK_S) == [C]  # others may have sent nothing yet to who has just come
    assert gates.checks(18 + CHECK_S) == []
    assert gates.checks(19 + CHECK_S) == [C]
    gates.unchecked([C], 500)
    assert gates.checks(500 + AWAY_CHECK_S) == [C]


def test_many_gates_are_checked_in_turns() -> None:
    """Each once, some hundreds at a time."""
    gates: Gates[int] = Gates()
    ids = [ConversationId(str(n)) for n in range(2 * CHECKED_AT_ONCE + 3)]
    for each in ids:
        gates.join(each, 0)
    gates.check_all()
    found = [gates.checks(1) for _ in range(4)]
    assert [len(each) for each in found] == [CHECKED_AT_ONCE, CHECKED_AT_ONCE, 3, 0]
    assert sorted(each for some in found for each in some) == sorted(ids)


EVENTS = st.lists(st.sampled_from(["write", "write", "lose", "join", "heal", "fail", "tick"]), max_size=60)


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_clients_see_every_change_in_order(steps: list[str], chance: random.Random, page: int) -> None:
    """Whatever order events come in, are repeated or lost, and whatever the store does: what each socket sees after its
    snapshot rises without a hole, and in the end it is complete."""
    gates: Gates[int] = Gates()
    newest, now_s = 0, 0.0
    on_the_way: list[int] = []
    joining: list[tuple[int, int, list[int]]] = []  # join, the snapshot's change, what the socket has been told
    sockets: list[tuple[int, list[int]]] = []

    def announce(changes: list[int]) -> None:
        for _, _, seen in joining:
            seen.extend(changes)
        for _, seen in sockets:
            seen.extend(changes)

    def read_store() -> None:
        for conversation_id, after in gates.due(now_s):
            if chance.random() < 0.3:
                gates.failed(conversation_id, now_s)
                continue
            found = list(range(after + 1, min(newest, after + page) + 1))
            through = found[-1] if found else after
            items = [(change, change) for change in found]
            announce(gates.healed(conversation_id, items, through, now_s, more=through < newest))

    def arrive() -> None:
        number = chance.randrange(len(joining))
        join, snapshot, seen = joining.pop(number)
        sockets.append((snapshot, seen))
        announce(gates.joined(C, join, snapshot, now_s))

    for step in [*steps, "join"]:
        now_s += chance.choice([0.0, 0.01, 0.2])
        if step == "write":
            newest += 1
            on_the_way.append(newest)
        elif step == "lose" and on_the_way:
            on_the_way.pop(chance.randrange(len(on_the_way)))
        elif step == "join":
            joining.append((gates.join(C, now_s), newest, []))
        elif step == "fail" and joining:
            join, _, _ = joining.pop(chance.randrange(len(joining)))
            announce(gates.not_joined(C, join, now_s))
        elif step == "heal":
            read_store()
        elif step == "tick" and joining:
            arrive()
        if on_the_way and chance.random() < 0.6:
            change = on_the_way.pop(chance.randrange(len(on_the_way)))
            announce(gates.offer(C, change, change, now_s))
    while joining:
        arrive()
    for _ in range(200):
        now_s += 40
        checks = gates.checks(now_s)
        gates.positions(dict.fromkeys(checks, newest), now_s)
        gates.check_all()
        now_s += 40
        read_store()
    for snapshot, seen in sockets:
        assert [change for change in seen if change > snapshot] == list(range(snapshot + 1, newest + 1))
    assert gates.late == 0
