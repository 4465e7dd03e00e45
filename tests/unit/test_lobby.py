"""socketserver.door.lobby: connections without a user."""

from __future__ import annotations

from socketserver.door.lobby import Lobby
from socketserver.door.visits import Guest
from socketserver.limits import Returns, Windows


def guest(network: str) -> Guest:
    return Guest(network, network, None, "")


def test_the_oldest_of_its_own_address_goes() -> None:
    """Where an address has as many as it may, nobody else pays for one more."""
    lobby = Lobby(2, 0, 0)
    other = guest("b")
    assert lobby.enter(other, "other", 1) == []
    assert [lobby.enter(guest("a"), number, 1) for number in range(4)] == [[], [], [0], [1]]
    assert (len(lobby), lobby.bytes) == (3, 3)
    assert lobby.leave(other)
    assert not lobby.leave(other)


def test_the_address_that_takes_most_makes_room() -> None:
    """A newcomer of another address is let in at once: in number, and in bytes."""
    lobby = Lobby(0, 4, 0)
    for number in range(3):
        lobby.enter(guest("a"), f"a{number}", 1)
    lobby.enter(guest("b"), "b", 1)
    assert lobby.enter(guest("c"), "c", 1) == ["a0"]
    lobby = Lobby(0, 0, 100)
    lobby.enter(guest("a"), "large", 60)
    for number in range(4):
        assert lobby.enter(guest("b"), f"b{number}", 10) == []
    assert lobby.enter(guest("c"), "c", 1) == ["large"]
    assert lobby.bytes == 41


def test_keeping_only_what_is_known() -> None:
    """What the engine does not have is forgotten, and counted."""
    lobby = Lobby(0, 0, 0)
    guests = [guest("a") for _ in range(3)]
    for each in guests:
        lobby.enter(each, each, 7)
    assert lobby.keep_only(guests[:1]) == 2
    assert (list(lobby), lobby.bytes) == (guests[:1], 7)


def test_an_end_makes_room_for_one_return() -> None:
    """Who comes within the time after an end returns, once for each end; who comes later does not."""
    returns: Returns[str] = Returns(2.0)
    assert not returns.came("a", 0.0)
    returns.ended("a", 0.0)
    assert not returns.came("b", 1.0)
    assert [returns.came("a", 2.0), returns.came("a", 2.0)] == [True, False]
    returns.ended("a", 2.0)
    assert not returns.came("a", 4.1)
    returns.ended("a", 5.0)
    returns.sweep(8.0)
    assert len(returns) == 0


def test_giving_back() -> None:
    """What is given back counts no more, and there is never less than nothing."""
    windows: Windows[str] = Windows(2)
    windows.give_back("a", 0.0)
    assert [windows.take("a", 0.0), windows.take("a", 30.0)] == [0.0, 0.0]
    assert windows.take("a", 30.0)
    windows.give_back("a", 30.0)
    assert not windows.take("a", 30.0)
    for _ in range(5):
        windows.give_back("a", 30.0)
    assert windows.count("a", 30.0) == 0
