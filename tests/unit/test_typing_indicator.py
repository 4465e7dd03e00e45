"""socketserver.live.typing_indicator"""

from __future__ import annotations

from socketserver.chat.domain import ConversationId, UserId
from socketserver.live.typing_indicator import Typing, TypingIndicator

from hypothesis import given
from hypothesis import strategies as st


def typing(conversation: str = "c", user: str = "ann", sid: str = "s1") -> Typing:
    return Typing(ConversationId(conversation), UserId(user), sid)


def test_start_is_news_once() -> None:
    """A sign of typing that is renewed at once is no news, and neither is a second stop."""
    indicator = TypingIndicator(6)
    assert indicator.start(typing(), 0)
    assert not indicator.start(typing(), 1)
    assert indicator.stop(typing())
    assert not indicator.stop(typing())
    assert len(indicator) == 0


def test_runs_out() -> None:
    """Typing ends six seconds after its last sign."""
    indicator = TypingIndicator(6)
    indicator.start(typing(), 0)
    indicator.start(typing(user="bob", sid="s2"), 1)
    indicator.start(typing(), 4)
    assert indicator.expire(6.9) == []
    assert indicator.expire(7) == [typing(user="bob", sid="s2")]
    assert indicator.expire(10) == [typing()]
    assert indicator.start(typing(), 11)


def test_a_socket_that_is_gone_stops_typing_everywhere() -> None:
    """stop_all ends what one socket types in all conversations, and nothing of another socket."""
    indicator = TypingIndicator(6)
    for one in (typing("c1"), typing("c2"), typing("c1", sid="s2")):
        indicator.start(one, 0)
    assert indicator.stop_all("s1") == [typing("c2")]  # in c1 the user types on
    assert indicator.stop_all("s1") == []
    assert indicator.expire(6) == [typing("c1", sid="s2")]


def test_of_two_devices_one_stops() -> None:
    """The device that stopped typing hid the other one, which typed on: a user stops with the last socket."""
    indicator = TypingIndicator(6)
    assert indicator.start(typing(sid="desk"), 0)
    assert not indicator.start(typing(sid="phone"), 1)
    assert not indicator.stop(typing(sid="desk"))
    assert indicator.users(ConversationId("c")) == ["ann"]
    assert indicator.stop(typing(sid="phone"))
    assert indicator.users(ConversationId("c")) == []
    indicator.start(typing(sid="desk"), 2)
    indicator.start(typing(sid="phone"), 4)
    assert indicator.expire(8) == []
    assert indicator.stop_all("phone") == [typing(sid="phone")]


def test_renewals_are_announced_at_a_bounded_rate() -> None:
    """A renewal was told to nobody, so that clients' own timers hid who typed on: it is news after half a life, once
    for all of the user's sockets."""
    indicator = TypingIndicator(6)
    told = [
        second for second in range(12) for sid in ("desk", "phone") if indicator.start(typing(sid=sid), float(second))
    ]
    assert told == [0, 3, 6, 9]


def test_who_types_where() -> None:
    """Who types is known per conversation, in the order in which they began."""
    indicator = TypingIndicator(6)
    for conversation, user, sid in (("c", "bob", "s2"), ("c", "ann", "s1"), ("d", "cat", "s3"), ("c", "bob", "s4")):
        indicator.start(typing(conversation, user, sid), 0)
    assert [indicator.users(ConversationId(each)) for each in "cde"] == [["bob", "ann"], ["cat"], []]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "stop", "stop_all", "expire"]),
            st.sampled_from("xy"),
            st.sampled_from(["s1", "s2"]),
            st.floats(0, 4),
        )
    )
)
def test_like_a_simple_model(steps: list[tuple[str, str, str, float]]) -> None:
    """After any operations exactly those are typing who began, did not stop and did not run out; whoever was told of
    every announcement knows who types, and heard of it within half a life before it ends."""
    indicator = TypingIndicator(6)
    ends: dict[Typing, float] = {}
    shown: dict[str, float] = {}  # what somebody shows who goes by the announcements → since when
    now = 0.0
    for step, conversation, sid, pause in steps:
        now += pause
        one = typing(conversation, sid=sid)
        stopped: list[Typing] = []
        if step == "start":
            if indicator.start(one, now):
                shown[conversation] = now
            ends[one] = now + 6
            assert now - shown[conversation] < 3
        elif step == "stop":
            ends.pop(one, None)
            stopped = [one] if indicator.stop(one) else []
        elif step == "stop_all":
            ends = {other: end for other, end in ends.items() if other.sid != sid}
            stopped = indicator.stop_all(sid)
        else:
            ends = {other: end for other, end in ends.items() if end > now}
            stopped = indicator.expire(now)
        for each in stopped:
            del shown[each.conversation_id]
        assert set(shown) == {other.conversation_id for other in ends}
        assert [bool(indicator.users(ConversationId(each))) for each in "xy"] == [each in shown for each in "xy"]
        assert len(indicator) == len(ends)
    for sid in ("s1", "s2"):
        indicator.stop_all(sid)
    assert len(indicator) == 0
    assert not indicator._by_sid  # nothing is kept of sockets that are gone
    assert not indicator._by_conversation
