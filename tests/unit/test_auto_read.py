"""socketserver.auto_read"""

from __future__ import annotations

from socketserver.auto_read import AutoRead, Seen
from socketserver.domain import ConversationId, UserId

from hypothesis import given
from hypothesis import strategies as st


def seen(seq: int, conversation: str = "c", user: str = "ann") -> Seen:
    return Seen(ConversationId(conversation), UserId(user), seq)


def test_several_sights_are_one_mark() -> None:
    """What a user sees within the delay becomes one mark, the highest."""
    auto_read = AutoRead(0.3)
    for seq in (5, 7, 6):
        auto_read.see(seen(seq), 0)
    assert len(auto_read) == 1
    assert auto_read.due(0.29) == []
    assert auto_read.due(0.3) == [seen(7)]
    assert auto_read.due(1) == []


def test_a_steady_stream_does_not_put_it_off() -> None:
    """The delay counts from the first sight: a busy conversation is marked too."""
    auto_read = AutoRead(0.3)
    for tenth in range(3):
        auto_read.see(seen(tenth + 1), tenth / 10)
    assert auto_read.due(0.3) == [seen(3)]


def test_users_and_conversations_apart() -> None:
    """Marks of different users and conversations do not mix, and come in the order in which they fall due."""
    auto_read = AutoRead(1)
    auto_read.see(seen(1, "c1"), 0)
    auto_read.see(seen(2, "c2"), 0.5)
    auto_read.see(seen(3, "c1", "bob"), 0.7)
    assert auto_read.due(1.5) == [seen(1, "c1"), seen(2, "c2")]
    assert auto_read.due(2) == [seen(3, "c1", "bob")]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 50), st.floats(0, 0.5), st.booleans())))
def test_nothing_seen_is_lost(steps: list[tuple[str, int, float, bool]]) -> None:
    """After any sights the marks handed out reach the highest seq that each user saw, and none waits too long."""
    auto_read = AutoRead(0.3)
    highest: dict[UserId, int] = {}
    marked: dict[UserId, int] = {}
    waiting: dict[UserId, float] = {}
    now = 0.0
    for name, seq, pause, look in steps:
        now += pause
        user_id = UserId(name)
        auto_read.see(seen(seq, user=name), now)
        highest[user_id] = max(seq, highest.get(user_id, 0))
        waiting.setdefault(user_id, now + 0.3)
        if look:
            due = auto_read.due(now)
            assert {item.user_id for item in due} == {user for user, at in waiting.items() if at <= now}
            for item in due:
                marked[item.user_id] = max(item.seq, marked.get(item.user_id, 0))
                del waiting[item.user_id]
        assert len(auto_read) == len(waiting)
    for item in auto_read.due(now + 0.3):
        marked[item.user_id] = max(item.seq, marked.get(item.user_id, 0))
    assert marked == highest
    assert len(auto_read) == 0
