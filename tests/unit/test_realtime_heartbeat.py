"""socketserver.realtime.engine.heartbeat: when a client is pinged and when it is dead. Pure."""

from __future__ import annotations

from socketserver.realtime.engine.heartbeat import Beat, Heartbeat


def beating(interval_s: float = 25, timeout_s: float = 20) -> Heartbeat:
    """A client that came at 100 s."""
    return Heartbeat(interval_s, timeout_s, 100)


def test_the_first_ping_is_due_after_one_interval() -> None:
    """Not before, and not at the start."""
    heartbeat = beating()
    assert heartbeat.next_s == 125
    assert heartbeat.due(124.9) is None
    assert heartbeat.next_s == 125
    assert heartbeat.due(125) is Beat.PING


def test_a_client_that_answers_is_pinged_once_an_interval() -> None:
    """However early it answers."""
    heartbeat = beating()
    pinged = []
    now_s = 100.0
    while now_s < 225:
        now_s = heartbeat.next_s
        beat = heartbeat.due(now_s)
        assert beat is not Beat.DEAD
        if beat is Beat.PING:
            pinged.append(now_s)
            assert not heartbeat.pong(now_s + 0.1)
    assert pinged == [125, 150, 175, 200, 225]


def test_a_client_that_does_not_answer_is_dead_after_the_timeout() -> None:
    """Exactly then: it lived for up to two timeouts, as everybody was looked at in one sweep."""
    heartbeat = beating()
    assert heartbeat.due(125) is Beat.PING
    assert heartbeat.next_s == 145
    assert heartbeat.due(144.9) is None
    assert not heartbeat.late(144.9)
    assert heartbeat.late(145)
    assert heartbeat.due(145) is Beat.DEAD


def test_a_timeout_longer_than_the_interval() -> None:
    """No second ping leaves while the first is not answered, and its deadline stands."""
    heartbeat = beating(interval_s=25, timeout_s=60)
    assert heartbeat.due(125) is Beat.PING
    assert heartbeat.next_s == 150
    assert heartbeat.due(150) is None
    assert heartbeat.next_s == 185
    assert heartbeat.due(185) is Beat.DEAD


def test_a_late_pong_brings_the_next_ping_at_once() -> None:
    """It comes when the next ping is due already."""
    heartbeat = beating(interval_s=25, timeout_s=60)
    assert heartbeat.due(125) is Beat.PING
    assert heartbeat.due(150) is None
    assert heartbeat.pong(170)
    assert not heartbeat.late(185)
    assert heartbeat.due(185) is None
    assert heartbeat.due(heartbeat.next_s) is None
    assert heartbeat.next_s == 230
    assert heartbeat.due(230) is Beat.DEAD


def test_a_pong_that_nobody_asked_for_changes_nothing() -> None:
    """A client cannot put its ping off, nor have one sent."""
    heartbeat = beating()
    assert not heartbeat.pong(110)
    assert not heartbeat.pong(130)
    assert heartbeat.due(125) is Beat.PING


def test_a_client_that_is_not_read_from_does_not_die() -> None:
    """Its pong may be among what waits unread; afterwards it has its full time."""
    heartbeat = beating()
    assert heartbeat.due(125) is Beat.PING
    for now_s in (145, 165, 500):
        assert heartbeat.due(now_s, reading=False) is None
        assert heartbeat.next_s == now_s + 20
    heartbeat.read(510)
    assert not heartbeat.late(529.9)
    assert heartbeat.due(520) is None
    assert heartbeat.next_s == 530
    assert heartbeat.due(530) is Beat.DEAD


def test_a_ping_that_leaves_a_little_late_keeps_its_deadline() -> None:
    """A busy event loop does not put the heartbeat off for ever."""
    heartbeat = beating()
    assert heartbeat.due(130) is Beat.PING
    assert heartbeat.due(144.9) is None
    assert heartbeat.due(145) is Beat.DEAD


def test_a_ping_that_leaves_very_late_gives_the_client_its_whole_time() -> None:
    """A process that was stopped for a minute must not find all its clients dead."""
    heartbeat = beating()
    assert heartbeat.due(185) is Beat.PING
    assert heartbeat.due(204.9) is None
    assert heartbeat.due(205) is Beat.DEAD
