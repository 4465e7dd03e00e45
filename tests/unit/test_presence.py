"""socketserver.live.presence"""

from __future__ import annotations

from socketserver.chat.domain import UserId
from socketserver.live import presence as module
from socketserver.live.presence import Presence

import pytest
from hypothesis import given
from hypothesis import strategies as st

ANN, BOB = UserId("ann"), UserId("bob")


def test_arriving_is_news_once() -> None:
    """The first socket makes a user online; a second one is no news."""
    presence = Presence(15)
    assert presence.arrive(ANN)
    assert not presence.arrive(ANN)
    assert presence.is_online(ANN)
    assert not presence.is_online(BOB)


def test_grace() -> None:
    """Who lost the last socket is online until the grace is over, and was last seen at its beginning."""
    presence = Presence(15)
    presence.arrive(ANN)
    presence.leave(ANN, 100, 5_000)
    assert presence.expire(114.9) == []
    assert presence.is_online(ANN)
    assert presence.last_seen_ms(ANN) is None
    assert presence.expire(115) == [(ANN, 5_000)]
    assert not presence.is_online(ANN)
    assert presence.last_seen_ms(ANN) == 5_000
    assert presence.expire(1000) == []


def test_reconnect_within_the_grace_is_no_news() -> None:
    """A reconnect within the grace flickers for nobody."""
    presence = Presence(15)
    presence.arrive(ANN)
    presence.leave(ANN, 100, 0)
    assert not presence.arrive(ANN)
    assert presence.expire(1000) == []
    assert presence.is_online(ANN)


def test_coming_back_after_the_grace() -> None:
    """After the grace coming back is news, and ends the last-seen time."""
    presence = Presence(0)
    presence.arrive(ANN)
    presence.leave(ANN, 100, 5_000)
    presence.expire(100)
    assert presence.arrive(ANN)
    assert presence.last_seen_ms(ANN) is None


def test_leaving_twice() -> None:
    """The grace counts from the last leaving; one who is offline cannot leave."""
    presence = Presence(10)
    presence.leave(BOB, 0, 0)
    assert presence.expire(1000) == []
    presence.arrive(ANN)
    presence.arrive(BOB)
    presence.leave(ANN, 0, 1)
    presence.leave(BOB, 5, 2)
    presence.leave(ANN, 8, 3)
    assert presence.expire(15) == [(BOB, 2)]
    assert presence.expire(18) == [(ANN, 3)]


def test_last_seen_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the last-seen times that are oldest are forgotten."""
    monkeypatch.setattr(module, "LAST_SEEN_KEPT", 2)
    presence = Presence(0)
    for number in range(3):
        presence.arrive(UserId(str(number)))
        presence.leave(UserId(str(number)), number, number)
        presence.expire(number)
    assert [presence.last_seen_ms(UserId(str(number))) for number in range(3)] == [None, 1, 2]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["arrive", "leave", "expire"]), st.floats(0, 8))))
def test_like_a_simple_model(steps: list[tuple[str, str, float]]) -> None:
    """After any operations a user is online exactly if present, or gone for less than the grace at the last look."""
    presence = Presence(10)
    left: dict[UserId, float | None] = {}  # online users → when they left, None while they are there
    now = 0.0
    for name, step, pause in steps:
        user_id = UserId(name)
        now += pause
        if step == "arrive":
            assert presence.arrive(user_id) == (user_id not in left)
            left[user_id] = None
        elif step == "leave":
            presence.leave(user_id, now, int(now * 1000))
            if user_id in left:
                left[user_id] = now
        else:
            gone = {user for user, at in left.items() if at is not None and at + 10 <= now}
            expired = presence.expire(now)
            assert {user for user, _ in expired} == gone
            assert len(expired) == len(gone)
            for user, seen_ms in expired:
                assert seen_ms == int((left.pop(user) or 0) * 1000)
                assert presence.last_seen_ms(user) == seen_ms
        for user in map(UserId, "abc"):
            assert presence.is_online(user) == (user in left)
            if user in left:
                assert presence.last_seen_ms(user) is None
