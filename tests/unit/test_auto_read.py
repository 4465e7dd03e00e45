"""socketserver.live.auto_read"""

from __future__ import annotations

from socketserver.chat.domain import ConversationId, UserId
from socketserver.live.auto_read import AutoRead, Seen

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


def test_read_after_a_sign_of_life() -> None:
    """What is due was read although the page was frozen: it is confirmed by an answer that was asked for afterwards."""
    auto_read = AutoRead(0.3)
    assert auto_read.ask("s1", seen(1))
    assert not auto_read.ask("s1", seen(3))  # a question is on its way: its answer may be older than these
    assert not auto_read.ask("s1", seen(2))
    assert auto_read.confirmed() == []
    assert auto_read.answered("s1")  # ask again
    assert auto_read.confirmed() == [seen(1)]
    assert not auto_read.answered("s1")
    assert auto_read.confirmed() == [seen(3)]
    assert not auto_read.answered("s1")
    assert len(auto_read) == 0


def test_one_live_page_is_enough() -> None:
    """Of two pages of a user that show a conversation the one that is alive confirms it; the other may go."""
    auto_read = AutoRead(0.3)
    assert auto_read.ask("frozen", seen(4))
    assert auto_read.ask("live", seen(4))
    auto_read.answered("live")
    assert auto_read.confirmed() == [seen(4)]
    auto_read.gone("frozen")
    assert not auto_read.answered("frozen")
    assert (auto_read.confirmed(), len(auto_read)) == ([], 0)


def test_looking_away_is_a_sign_of_life() -> None:
    """What was shown until the user looked away is read, and what nobody showed is not."""
    auto_read = AutoRead(0.3)
    auto_read.see(seen(2), 0)
    auto_read.looked_away(ConversationId("c"), UserId("bob"))
    auto_read.looked_away(ConversationId("c"), UserId("ann"))
    assert auto_read.confirmed() == [seen(2)]
    assert auto_read.due(1) == []
    assert len(auto_read) == 0


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
