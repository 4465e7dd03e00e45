"""socketserver.live.connections: whose proof has ended, found without looking at everybody."""

from __future__ import annotations

from socketserver.chat.domain import UserId
from socketserver.chat.identity import Identity
from socketserver.errors import REPLACED
from socketserver.live.connections import SPARE_EXPIRIES, Sessions


def identity(user: str, expires_at_ms: int | None, login_id: str | None = None) -> Identity:
    return Identity(UserId(user), user, expires_at_ms, login_id)


def test_in_the_order_of_their_ends() -> None:
    """Each socket is returned once, when its time has come, not before."""
    sessions = Sessions(1)
    for user, end_ms in [("ann", 300), ("bob", 100), ("cid", None), ("dan", 200)]:
        sessions.authenticate(sessions.add(user, 0), identity(user, end_ms))
    assert sessions.expired(99) == []
    assert [each.sid for each in sessions.expired(200)] == ["bob", "dan"]
    assert sessions.expired(200) == []
    assert [each.sid for each in sessions.expired(10_000)] == ["ann"]


def test_a_renewed_proof_counts() -> None:
    """The newest proof says when; also when it ends sooner than the one before."""
    sessions = Sessions(1)
    ann, bob = sessions.add("a", 0), sessions.add("b", 0)
    sessions.authenticate(ann, identity("ann", 100))
    sessions.authenticate(bob, identity("bob", 900))
    sessions.renew(ann, identity("ann", 500))
    sessions.renew(bob, identity("bob", 200))
    assert sessions.expired(150) == []
    assert sessions.expired(250) == [bob]
    assert sessions.expired(500) == [ann]


def test_sockets_that_are_gone_or_going_are_left_alone() -> None:
    """An expiry finds nobody where nobody is."""
    sessions = Sessions(1)
    ann, bob = sessions.add("a", 0), sessions.add("b", 0)
    sessions.authenticate(ann, identity("ann", 100))
    sessions.authenticate(bob, identity("bob", 100))
    sessions.remove("a")
    bob.end = REPLACED
    assert sessions.expired(100) == []


def test_bounded() -> None:
    """Connects and renewals with a far end do not pile up."""
    sessions = Sessions(1)
    keeper = sessions.add("keeper", 0)
    sessions.authenticate(keeper, identity("keeper", 10**12))
    for number in range(5 * SPARE_EXPIRIES):
        sessions.authenticate(sessions.add(str(number), 0), identity("ann", 10**12 + number))
        sessions.remove(str(number))
        sessions.renew(keeper, identity("keeper", 10**12 + number))
    assert sessions.expiries <= 2 * 2 + SPARE_EXPIRIES + 1
    assert sessions.expired(10**13) == [keeper]


def test_sockets_of_a_login() -> None:
    """Those that a cookie opened, not those of the same user with a token or another login."""
    sessions = Sessions(0)
    sockets = [sessions.add(sid, 0) for sid in "abcd"]
    for socket, login_id in zip(sockets, ["x", "y", None, "x"], strict=True):
        sessions.authenticate(socket, identity("ann", None, login_id))
    assert [each.sid for each in sessions.of_login(UserId("ann"), "x")] == ["a", "d"]
    sessions.renew(sockets[0], identity("ann", None))
    assert [each.sid for each in sessions.of_login(UserId("ann"), "x")] == ["d"]
    assert sessions.of_login(UserId("bob"), "x") == []
