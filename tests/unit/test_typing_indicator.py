"""socketserver.typing_indicator"""

from __future__ import annotations

from socketserver.domain import ConversationId, UserId
from socketserver.typing_indicator import Typing, TypingIndicator

from hypothesis import given
from hypothesis import strategies as st


def typing(conversation: str = "c", user: str = "ann", sid: str = "s1") -> Typing:
    return Typing(ConversationId(conversation), UserId(user), sid)


def test_start_is_news_once() -> None:
    """A renewed sign of typing is no news, and neither is a second stop."""
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
    mine = {typing("c1"), typing("c2")}
    for one in [*mine, typing("c1", sid="s2")]:
        indicator.start(one, 0)
    assert set(indicator.stop_all("s1")) == mine
    assert indicator.stop_all("s1") == []
    assert indicator.expire(6) == [typing("c1", sid="s2")]


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
    """After any operations exactly those are typing who began, did not stop and did not run out."""
    indicator = TypingIndicator(6)
    ends: dict[Typing, float] = {}
    now = 0.0
    for step, conversation, sid, pause in steps:
        now += pause
        one = typing(conversation, sid=sid)
        if step == "start":
            assert indicator.start(one, now) == (one not in ends)
            ends[one] = now + 6
        elif step == "stop":
            assert indicator.stop(one) == (ends.pop(one, None) is not None)
        elif step == "stop_all":
            assert set(indicator.stop_all(sid)) == {other for other in ends if other.sid == sid}
            ends = {other: end for other, end in ends.items() if other.sid != sid}
        else:
            over = sorted((end, other) for other, end in ends.items() if end <= now)
            assert sorted(indicator.expire(now)) == sorted(other for _, other in over)
            ends = {other: end for other, end in ends.items() if end > now}
        assert len(indicator) == len(ends)
    for sid in ("s1", "s2"):
        indicator.stop_all(sid)
    assert len(indicator) == 0
    assert not indicator._by_sid  # nothing is kept of sockets that are gone
