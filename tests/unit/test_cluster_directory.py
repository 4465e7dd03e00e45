"""socketserver.cluster.directory: who is connected where."""

from __future__ import annotations

import random
from itertools import pairwise
from socketserver.chat.domain import UserId
from socketserver.cluster.directory import MOST_AHEAD_MS, Claim, Directory, Effects, Stamp, Stamps

from hypothesis import given
from hypothesis import strategies as st

ANN, BOB = UserId("ann"), UserId("bob")


def claim(user_id: UserId, sid: str, ms: int, node: str = "a") -> Claim:
    return Claim(user_id, sid, Stamp(ms, 0, node))


def test_the_newest_socket_wins_on_every_node() -> None:
    """Two nodes learn of a race in different orders, and both end the same socket: the older one, on its own node."""
    old, new = claim(ANN, "1", 5, "a"), claim(ANN, "2", 6, "b")
    a, b = Directory("a", 1), Directory("b", 1)
    assert a.here(old) == Effects(came=[ANN])
    assert a.here(new) == Effects(surplus=[old])
    assert b.here(new) == Effects(came=[ANN])
    assert b.here(old) == Effects()
    assert a.claims_of(ANN) == b.claims_of(ANN) == [old, new]


def test_a_late_end_removes_only_its_own_socket() -> None:
    """The old socket goes after the new one has come: the user stays online."""
    directory = Directory("a", 1)
    directory.here(claim(ANN, "1", 5, "a"))
    directory.here(claim(ANN, "2", 6, "b"))
    assert directory.gone("a", "1") == Effects()
    assert directory.gone("a", "2") == Effects()  # another node's is not its to end
    assert directory.is_online(ANN)
    assert directory.gone("b", "2") == Effects(left=[ANN])
    assert not directory.is_online(ANN)
    assert directory.gone("b", "2") == Effects()


def test_any_number_of_sockets() -> None:
    """With 0 nothing is surplus; with 2 the oldest is."""
    for most, surplus in ((0, 0), (2, 1)):
        directory = Directory("a", most)
        found = [len(directory.here(claim(ANN, str(n), n)).surplus) for n in range(3)]
        assert found == [0, 0, surplus]


def test_where_a_message_has_to_go() -> None:
    """Each other node with its users, once each; one's own node is not among them."""
    directory = Directory("a", 0)
    directory.here(claim(ANN, "1", 1, "a"))
    directory.here(claim(ANN, "2", 2, "b"))
    directory.here(claim(ANN, "3", 3, "b"))
    directory.here(claim(BOB, "4", 4, "b"))
    directory.here(claim(BOB, "5", 5, "c"))
    assert directory.elsewhere([ANN, BOB, UserId("cyd")]) == {"b": [ANN, BOB], "c": [BOB]}
    assert (directory.users, directory.sockets) == (2, 5)


def test_a_dead_node_takes_its_sockets_along() -> None:
    """Who was there only is offline; who has a socket elsewhere is not."""
    directory = Directory("a", 0)
    directory.here(claim(ANN, "1", 1, "b"))
    directory.here(claim(BOB, "2", 2, "b"))
    directory.here(claim(BOB, "3", 3, "a"))
    assert directory.forget("b") == Effects(left=[ANN])
    assert directory.digest("b") == (0, 0)
    assert directory.list_of("b") == []


def test_a_list_mends_what_was_missed() -> None:
    """Sockets that are gone go, unknown ones come, and whoever only changed sockets neither came nor left."""
    directory = Directory("a", 0)
    directory.here(claim(ANN, "1", 1, "b"))
    directory.here(claim(BOB, "2", 2, "b"))
    cyd = UserId("cyd")
    listed = [claim(BOB, "9", 9, "b"), claim(cyd, "3", 3, "b"), claim(ANN, "x", 4, "another")]
    assert directory.replace("b", listed) == Effects(came=[cyd], left=[ANN])
    assert set(directory.list_of("b")) == set(listed[:2])


def test_stamps_rise_also_where_clocks_go_back() -> None:
    """A node that has seen a claim makes a newer one, even with a clock that is behind."""
    slow = Stamps("slow")
    fast = Stamps("fast").next(10_000)
    slow.seen(fast, 9_000)
    assert slow.next(9_000) > fast
    stamps = [slow.next(ms) for ms in (9_500, 20_000, 20_000, 15_000)]
    assert all(one < other for one, other in pairwise(stamps))


def test_a_clock_that_is_far_ahead_is_not_followed() -> None:
    """One node with a wrong date does not spoil the stamps of all others."""
    stamps = Stamps("a")
    stamps.seen(Stamp(1_000 + MOST_AHEAD_MS + 1, 0, "b"), 1_000)
    assert stamps.next(1_000).ms == 1_000


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Claim]]:
    """What nodes say of their sockets, each in its own order: (here | gone, claim)."""
    said: list[tuple[str, Claim]] = []
    open_sids: list[Claim] = []
    for number in range(draw(st.integers(1, 25))):
        if draw(st.booleans()) and open_sids:
            said.append(("gone", open_sids.pop(draw(st.integers(0, len(open_sids) - 1)))))
        else:
            node = draw(st.sampled_from("abc"))
            ms = draw(st.integers(0, 5))
            user_id = UserId(draw(st.sampled_from(["ann", "bob"])))
            made = Claim(user_id, f"{node}{number}", Stamp(ms, number, node))
            open_sids.append(made)
            said.append(("here", made))
    return said


def tell(directory: Directory, what: str, told: Claim) -> Effects:
    return directory.here(told) if what == "here" else directory.gone(told.stamp.node, told.sid)


@given(histories(), st.integers(0, 2), st.randoms(use_true_random=False))
def test_directories_are_equal_in_whatever_order_nodes_are_heard(
    said: list[tuple[str, Claim]], most: int, chance: random.Random
) -> None:
    """Only each node's own order counts. Presence follows from what came and left, and the digests agree."""
    by_node = {node: [each for each in said if each[1].stamp.node == node] for node in "abc"}
    first, second = Directory("a", most), Directory("b", most)
    online: set[UserId] = set()
    for what, told in said:
        effects = tell(first, what, told)
        assert not online & set(effects.came)
        online |= set(effects.came)
        assert online >= set(effects.left)
        online -= set(effects.left)
        assert all(each.stamp.node == "a" for each in effects.surplus)
    while any(by_node.values()):
        node = chance.choice([node for node, left in by_node.items() if left])
        tell(second, *by_node[node].pop(0))
    assert {user_id for user_id in (ANN, BOB) if first.is_online(user_id)} == online
    for node in "abc":
        assert set(first.list_of(node)) == set(second.list_of(node))
        assert first.digest(node) == second.digest(node)
    for user_id in (ANN, BOB):
        assert first.claims_of(user_id) == second.claims_of(user_id)


@given(histories(), st.randoms(use_true_random=False))
def test_a_list_is_as_good_as_having_heard_everything(said: list[tuple[str, Claim]], chance: random.Random) -> None:
    """A directory that has missed any part of it, and then gets the lists, is as the complete one; digests that differ
    tell who has to ask."""
    whole, part = Directory("x", 0), Directory("x", 0)
    for what, told in said:
        tell(whole, what, told)
        if chance.random() < 0.5:
            tell(part, what, told)
    for node in "abc":
        same = set(whole.list_of(node)) == set(part.list_of(node))
        assert (whole.digest(node) == part.digest(node)) == same
        part.replace(node, whole.list_of(node))
        assert whole.digest(node) == part.digest(node)
    assert (whole.users, whole.sockets) == (part.users, part.sockets)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=12))
def test_one_socket_is_left_of_a_race(connects: list[tuple[str, int]]) -> None:
    """Every node ends its own surplus; when all have heard of all, one socket remains: the newest."""
    claims = [Claim(ANN, str(n), Stamp(ms, n, node)) for n, (node, ms) in enumerate(connects)]
    left = {each.sid for each in claims}
    for node in "abc":
        directory = Directory(node, 1)
        for each in claims:
            left -= {ended.sid for ended in directory.here(each).surplus}
    assert left == {max(claims, key=lambda each: each.stamp).sid}
