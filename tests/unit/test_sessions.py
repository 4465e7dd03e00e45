"""socketserver.live.connections"""

from __future__ import annotations

from socketserver.chat.domain import ConversationId, UserId
from socketserver.chat.identity import Identity
from socketserver.errors import REPLACED
from socketserver.live.connections import Connection, Sessions

import pytest
from hypothesis import given
from hypothesis import strategies as st

ANN, BOB = Identity(UserId("ann"), "Ann"), Identity(UserId("bob"), "Bob")


def test_newest_socket_stays() -> None:
    """With one socket per user the newest stays, and the old one has to go."""
    sessions = Sessions(1)
    old, new = sessions.add("s1", 0), sessions.add("s2", 1)
    assert sessions.authenticate(old, ANN) == []
    assert sessions.authenticate(new, ANN) == [old]
    assert list(sessions.of_user(ANN.user_id)) == [new]
    assert sessions.get("s1") is old  # until it is gone


def test_late_end_of_the_old_socket() -> None:
    """The late end of a replaced socket does not remove the one that replaced it."""
    sessions = Sessions(1)
    old, new = sessions.add("s1", 0), sessions.add("s2", 1)
    sessions.authenticate(old, ANN)
    sessions.authenticate(new, ANN)
    assert sessions.remove("s1") is old
    assert list(sessions.of_user(ANN.user_id)) == [new]
    assert sessions.remove("s1") is None


def test_new_socket_gone_before_the_old_one() -> None:
    """When the new socket goes first, the old one does not come back among the user's."""
    sessions = Sessions(1)
    old, new = sessions.add("s1", 0), sessions.add("s2", 1)
    sessions.authenticate(old, ANN)
    sessions.authenticate(new, ANN)
    sessions.remove("s2")
    assert list(sessions.of_user(ANN.user_id)) == []
    assert sessions.remove("s1") is old
    assert (len(sessions), sessions.users) == (0, 0)


@pytest.mark.parametrize(("most", "stay"), [(2, ["s3", "s4"]), (0, ["s1", "s2", "s3", "s4"])])
def test_sockets_per_user(most: int, stay: list[str]) -> None:
    """With n sockets per user the n newest stay; with 0 all do."""
    sessions = Sessions(most)
    for number in range(1, 5):
        sessions.authenticate(sessions.add(f"s{number}", number), ANN)
    assert [connection.sid for connection in sessions.of_user(ANN.user_id)] == stay


def test_being_ended_is_unknown() -> None:
    """A socket that is being ended is not found any more, though it is still there."""
    sessions = Sessions(1)
    connection = sessions.add("s1", 0)
    connection.end = REPLACED
    assert sessions.get("s1") is None
    assert list(sessions) == [connection]
    assert sessions.get("never") is None


def test_without_user() -> None:
    """Sockets that came before a moment and have no user are found, oldest first, unless they are being ended."""
    sessions = Sessions(1)
    old, ending, authenticated, _young = (sessions.add(f"s{at}", at) for at in (1, 2, 3, 10))
    ending.end = REPLACED
    sessions.authenticate(authenticated, ANN)
    assert sessions.without_user(5) == [old]
    sessions.remove(old.sid)
    assert sessions.without_user(5) == []


@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from(["add", "authenticate", "remove"]), st.integers(0, 9), st.booleans())),
)
def test_invariants(most: int, steps: list[tuple[str, int, bool]]) -> None:
    """After any operations nobody has more sockets than allowed, all of them registered, and nothing is left over."""
    sessions = Sessions(most)
    there: dict[str, Connection] = {}
    replaced: set[str] = set()
    for now, (step, number, is_ann) in enumerate(steps):
        sid = f"s{number}"
        if step == "add" and sid not in there:
            there[sid] = sessions.add(sid, now)
        elif step == "authenticate" and sid in there and there[sid].identity is None:
            surplus = sessions.authenticate(there[sid], ANN if is_ann else BOB)
            replaced |= {old.sid for old in surplus}
            assert sid not in replaced
            assert not surplus or most
        elif step == "remove":
            assert sessions.remove(sid) is there.pop(sid, None)
            replaced.discard(sid)
        assert len(sessions) == len(there)
        owners: dict[str, set[str]] = {}
        for connection in there.values():
            if connection.identity is not None and connection.sid not in replaced:
                owners.setdefault(connection.identity.user_id, set()).add(connection.sid)
        for identity in (ANN, BOB):
            own = {connection.sid for connection in sessions.of_user(identity.user_id)}
            assert own == owners.get(identity.user_id, set())
            assert not most or len(own) <= most
        assert sessions.users == len(owners)
        anonymous = {connection.sid for connection in there.values() if connection.identity is None}
        assert {connection.sid for connection in sessions.without_user(now)} == anonymous


def test_around_a_conversation() -> None:
    """Those that have not joined are told of messages in another way; of those that have, who looks reads on."""
    sessions = Sessions(0)
    joined: dict[str, dict[str, bool]] = {
        "a1": {},
        "a2": {"c": True},
        "b1": {"c": False},
        "b2": {"c": True, "d": False},
    }
    for sid, conversations in joined.items():
        connection = sessions.add(sid, 0.0)
        sessions.authenticate(connection, Identity(UserId(sid[0]), sid[0], None))
        connection.joined.update({ConversationId(each): visible for each, visible in conversations.items()})
    sessions.add("nobody", 0.0)
    users = [UserId("b"), UserId("offline"), UserId("a")]
    elsewhere, looking = sessions.around(ConversationId("c"), users)
    assert [each.sid for each in elsewhere] == ["a1"]
    assert [(user_id, each.sid) for user_id, each in looking] == [("b", "b2"), ("a", "a2")]
    elsewhere, looking = sessions.around(ConversationId("d"), users)
    assert ([each.sid for each in elsewhere], looking) == (["b1", "a1", "a2"], [])
