"""socketserver.cluster.frames: events in numbered frames, and how loss is noticed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from socketserver.cluster.frames import (
    FRAME_BYTES,
    FRAME_MOST_BYTES,
    PAST_TARGETS,
    Event,
    Frame,
    Incoming,
    Outgoing,
    Received,
    UnreadableFrame,
    decode,
)
from socketserver.cluster.frames import in_order as read_in_order

import pytest
from hypothesis import given
from hypothesis import strategies as st

KNOWN = {"message": 1, "beat": 1}
MUCH = 1 << 20


def read(frame: Frame) -> Received:
    return decode(frame.encoded())


def names(events: Sequence[Event]) -> list[object]:
    return [each.head.get("id") for each in events]


def message(number: int) -> dict[str, object]:
    return {"e": "message", "id": number}


def test_a_frame_is_readable() -> None:
    """Whoever looks into the stream sees names, heads as JSON and bodies as they are."""
    outgoing = Outgoing("node1", MUCH)
    assert outgoing.put("node2", {"e": "message", "users": ["ann"]}, b'{"body":"hi"}')
    assert outgoing.put("node2", {"e": "typing"})
    [frame] = outgoing.take()
    assert frame.encoded() == [
        b"1",
        b"node1 1 1",
        b'{"e":"message","users":["ann"]}',
        b'{"body":"hi"}',
        b'{"e":"typing"}',
        b"",
    ]
    received = read(frame)
    assert (received.sender, received.number, received.place) == ("node1", 1, 1)
    assert received.events == [Event({"e": "message", "users": ["ann"]}, b'{"body":"hi"}'), Event({"e": "typing"})]
    assert outgoing.take() == []


def test_one_frame_a_target_and_tick_unless_order_would_suffer() -> None:
    """What goes to a node after something to all comes after it there, so it is another frame; other nodes' frames go
    on."""
    outgoing = Outgoing("s", MUCH)
    for target in ("a", "b", "a", None, None, "b", "a", None):
        outgoing.put(target, message(1))
    assert [(each.target, each.number, len(each.fields) // 2) for each in outgoing.take()] == [
        ("a", 1, 2),
        ("b", 1, 1),
        (None, 1, 2),
        ("b", 2, 1),
        ("a", 2, 1),
        (None, 2, 1),
    ]


def test_the_queue_is_bounded() -> None:
    """What does not fit is refused and changes nothing: no number is given out for it."""
    outgoing = Outgoing("s", FRAME_BYTES + 30)
    assert outgoing.put("a", {"e": "x"}, b"12345")
    assert not outgoing.put("a", {"e": "x"}, b"a" * 30)
    assert not outgoing.put("b", {"e": "x"})
    assert outgoing.numbers() == {"a": 1}
    assert outgoing.queued_bytes == FRAME_BYTES + 14
    assert len(outgoing.take()) == 1
    assert not outgoing.put("b", {"e": "x"})  # it is on its way, and may have to be sent again
    outgoing.sent()
    assert outgoing.queued_bytes == 0
    assert outgoing.put("b", {"e": "x"})


def test_a_frame_is_bounded() -> None:
    """A burst within a tick is several frames, in order."""
    outgoing = Outgoing("s", MUCH)
    for number in range(40):
        outgoing.put("a", message(number), bytes(1000))
    frames = outgoing.take()
    assert len(frames) > 1
    assert max(each.size_bytes for each in frames) <= FRAME_MOST_BYTES
    assert [event for frame in frames for event in names(read(frame).events)] == list(range(40))


def test_a_hole_is_noticed_at_the_next_frame() -> None:
    """And told once, before what comes after it is handed out."""
    outgoing, incoming = Outgoing("s", MUCH), Incoming(KNOWN)
    frames = []
    for number in range(4):
        outgoing.put("me", message(number))
        frames += outgoing.take()
    taken = [incoming.take(read(frames[n]), to_all=False) for n in (0, 2, 3, 3, 2)]
    assert [(missed, names(events)) for missed, events in taken] == [
        (False, [0]),
        (True, [2]),
        (False, [3]),
        (False, []),
        (False, []),
    ]


def test_the_loss_of_the_last_frame_is_noticed_at_the_beat() -> None:
    """Each beat carries the newest numbers; a beat that tells nothing new is no loss."""
    outgoing, incoming = Outgoing("s", MUCH), Incoming(KNOWN)
    outgoing.put("me", message(1))
    [frame] = outgoing.take()
    incoming.take(read(frame), to_all=False)
    assert not incoming.beat("s", outgoing.numbers(), "me")
    outgoing.put("me", message(2))
    outgoing.put("other", message(3))
    outgoing.take()  # lost
    assert incoming.beat("s", outgoing.numbers(), "me")
    assert not incoming.beat("s", outgoing.numbers(), "me")
    outgoing.put(None, message(4))
    outgoing.take()
    assert incoming.beat("s", outgoing.numbers(), "me")


@pytest.mark.parametrize("target", ["me", None])
def test_skip_makes_a_hole_on_purpose(target: str | None) -> None:
    """What could not be put must not be missed in silence: the next frame tells, and so does the beat."""
    for by_beat in (False, True):
        outgoing, incoming = Outgoing("s", MUCH), Incoming(KNOWN)
        outgoing.put(target, message(1))
        outgoing.skip(target)
        outgoing.put(target, message(2))
        first, second = map(read, outgoing.take())
        assert incoming.take(first, to_all=target is None) == (False, first.events)
        if by_beat:
            assert incoming.beat("s", {target or "": 2}, "me")
            assert incoming.take(second, to_all=target is None) == (False, second.events)
        else:
            assert incoming.take(second, to_all=target is None) == (True, second.events)


def test_a_sender_that_is_new_here_was_missed_unless_it_has_just_begun() -> None:
    """Its first frame is number 1; anything else came before we listened, or was lost."""
    incoming = Incoming(KNOWN)
    assert incoming.take(Received("new", 1, 1, ()), to_all=True)[0] is False
    assert incoming.take(Received("old", 7, 7, ()), to_all=True)[0] is True
    incoming.forget("new")
    assert incoming.take(Received("new", 2, 2, ()), to_all=True)[0] is True


def test_unknown_events_and_later_versions_are_skipped() -> None:
    """So that two versions of the server work together: what is not understood costs nothing but itself."""
    outgoing, incoming = Outgoing("s", MUCH), Incoming({"message": 2})
    for head in ({"e": "new_thing"}, {"e": "message", "v": 3}, {"e": "message", "v": 2}, {"e": "message"}, {"no": 1}):
        outgoing.put(None, head)
    outgoing.put(None, {"e": "message", "v": "x"})
    [frame] = outgoing.take()
    _, events = incoming.take(read(frame), to_all=True)
    assert [each.head for each in events] == [{"e": "message", "v": 2}, {"e": "message"}]
    later = decode([b"2", b"s 2 2 more", b"whatever"])
    assert incoming.take(later, to_all=True) == (False, [])
    assert incoming.take(decode([b"1", b"s 3 3", b"{", b"", b"[]", b"", b'{"e":"message"}']), to_all=True) == (
        False,
        [],
    )


@pytest.mark.parametrize("fields", [[], [b"1"], [b"1", b""], [b"1", b"s x 1"], [b"1", b"s 1"], [b"1", b"\xff 1 1"]])
def test_what_no_node_has_written_is_told(fields: list[bytes]) -> None:
    """Somebody else writes to the same stream: an error of its own, not a loss."""
    with pytest.raises(UnreadableFrame):
        decode(fields)


def test_a_node_that_is_gone_is_forgotten() -> None:
    """Its numbers are no longer in the beats. A bug that the simulation found: they began anew when it was back, it
    took them for repeats, and nothing reached it for a while."""
    outgoing = Outgoing("s", MUCH)
    outgoing.put("a", message(1))
    outgoing.put("b", message(1))
    outgoing.forget("a")
    assert outgoing.numbers() == {"b": 1}
    outgoing.put("a", message(2))
    assert outgoing.take()[-1].number == 2
    assert outgoing.numbers() == {"a": 2, "b": 1}
    for number in range(PAST_TARGETS + 1):
        outgoing.skip(str(number))
        outgoing.forget(str(number))
    outgoing.skip("0")  # the oldest is forgotten indeed
    assert outgoing.numbers() == {"a": 2, "b": 1, "0": 1}


def test_ones_own_beat_stays_behind_what_came_before_it() -> None:
    """Reading two streams at once does not let a beat overtake others' frames: silence is judged by it."""
    found = [(Received("a", 1, 2, ()), False), (Received("a", 1, 1, ()), True), (Received("me", 9, 9, ()), True)]
    assert [(each.sender, each.place) for each, _ in read_in_order(found)] == [("a", 1), ("a", 2), ("me", 9)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None, "skip a", "skip all", "tick", "lose"]), st.booleans()), max_size=60
)


@given(STEPS, st.randoms(use_true_random=False))
def test_everything_comes_in_order_and_once_or_its_loss_is_told(
    steps: list[tuple[str | None, bool]], chance: random.Random
) -> None:
    """For a receiver of both streams, whatever is lost on the way: what is handed out is in the order in which it was
    put, once; and after the last beat, something was missed if and only if it was told."""
    outgoing, incoming = Outgoing("s", MUCH), Incoming(KNOWN)
    put: list[int] = []
    got: list[object] = []
    lost, told, number = False, False, 0

    def deliver(frames: list[Frame], drop: bool) -> None:
        nonlocal lost, told
        for_me = [each for each in frames if each.target in ("a", None)]
        kept = [each for each in for_me if not (drop and chance.random() < 0.5)]
        lost = lost or len(kept) < len(for_me)
        to_all = [(read(each), True) for each in kept if each.target is None]
        own = [(read(each), False) for each in kept if each.target == "a"]
        for received, of_all in read_in_order(own + to_all):
            for _ in range(chance.choice([1, 1, 2])):
                missed, events = incoming.take(received, to_all=of_all)
                told = told or missed
                got.extend(names(events))

    for step, drop in steps:
        if step in ("a", "b", None):
            number += 1
            outgoing.put(step, message(number))
            if step != "b":
                put.append(number)
        elif step in ("skip a", "skip all"):
            outgoing.skip("a" if step == "skip a" else None)
            lost = True
        else:
            deliver(outgoing.take(), drop=step == "lose" and drop)
    deliver(outgoing.take(), drop=False)
    told = incoming.beat("s", outgoing.numbers(), "a") or told
    assert all(isinstance(each, int) for each in got)
    assert all(one < other for one, other in pairwise(int(str(each)) for each in got))
    assert set(got) <= set(put)
    assert told == lost
    if not lost:
        assert got == put
