"""socketserver.cluster.members: which nodes are alive."""

from __future__ import annotations

from socketserver.cluster.members import READY_S, SILENT_S, Members

from hypothesis import given
from hypothesis import strategies as st


def beats(members: Members, times: range, *heard: str) -> list[str]:
    """Seconds in which one hears oneself and those nodes. Returns who died."""
    dead = []
    for now_s in times:
        for node in heard:
            members.heard(node)
        dead += members.own_beat(float(now_s))
    return dead


def test_who_is_silent_for_five_seconds_is_dead() -> None:
    """The others stay; the dead one is told once, and is new when it is heard again."""
    members = Members("me", 0)
    assert members.heard("a", "http://a") is True
    assert members.heard("b") is True
    assert members.heard("a") is False
    assert beats(members, range(1, 6), "b") == []
    assert beats(members, range(6, 8), "b") == ["a"]
    assert list(members) == ["b"]
    assert beats(members, range(8, 20), "b") == []
    assert members.heard("a") is True


def test_silence_proves_nothing_while_one_does_not_hear_oneself() -> None:
    """The bus is away for a minute: nobody is dead when it is back, and who stays silent then is, later."""
    members = Members("me", 0)
    members.heard("a")
    assert beats(members, range(1, 3)) == []
    assert members.hears_itself(3)
    assert not members.hears_itself(60)
    assert members.own_beat(62.0) == []
    assert "a" in members
    assert beats(members, range(63, 70)) == ["a"]


def test_who_was_frozen_itself_reads_first() -> None:
    """A bug of a prototype: a process that was stopped for a while took everybody for dead when it went on."""
    members = Members("me", 0)
    members.heard("a")
    beats(members, range(1, 4), "a")
    assert members.own_beat(100.0) == []  # the beat of before, read now; what "a" said meanwhile comes next
    members.heard("a")
    assert members.own_beat(100.1) == []
    assert "a" in members


def test_bye_ends_a_member_at_once() -> None:
    """A node that stops does not leave anybody waiting for its silence."""
    members = Members("me", 0)
    members.heard("a")
    assert members.bye("a") is True
    assert members.bye("a") is False
    assert "a" not in members
    assert len(members) == 0


def test_one_is_no_member_of_ones_own() -> None:
    """What comes from oneself moves the clock only."""
    members = Members("me", 0)
    assert members.heard("me") is False
    assert list(members) == []


def test_addresses_are_kept() -> None:
    """A beat without an address does not take away the one that hello has told."""
    members = Members("me", 0)
    members.heard("a", "http://a:1")
    members.heard("a")
    member = members.get("a")
    assert member is not None
    assert member.url == "http://a:1"
    assert members.get("b") is None


def test_a_joiner_is_ready_with_everybodys_list() -> None:
    """It hears itself for a beat, and has the list of each node that it has heard."""
    members = Members("me", 10)
    members.heard("a")
    members.own_beat(10.5)
    members.own_beat(11.1)
    assert not members.is_ready(11.2)
    members.listed("a")
    members.listed("unknown")
    assert members.is_ready(11.2)


def test_a_joiner_is_ready_after_a_while_anyway() -> None:
    """Without the bus there is no list to wait for."""
    members = Members("me", 10)
    assert not members.is_ready(10 + READY_S - 0.1)
    assert members.is_ready(10 + READY_S)


@given(st.lists(st.tuples(st.floats(0.01, 30), st.booleans()), max_size=60))
def test_nobody_dies_who_is_heard_between_two_of_ones_own_beats(steps: list[tuple[float, bool]]) -> None:
    """Whatever the pauses: who gives a sign between any two of one's beats lives, and who is dead has been silent for
    SILENT_S at least."""
    members = Members("me", 0)
    members.heard("steady")
    members.heard("moody")
    now_s, heard_s = 0.0, 0.0
    for pause_s, speaks in steps:
        now_s += pause_s
        members.heard("steady")
        if speaks and "moody" in members:
            members.heard("moody")
            heard_s = now_s
        dead = members.own_beat(now_s)
        assert "steady" not in dead
        if "moody" in dead:
            assert now_s - heard_s >= SILENT_S - 1e-6
