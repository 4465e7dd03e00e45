"""socketserver.live.lifecycle"""

from __future__ import annotations

import asyncio
import logging
from socketserver.chat.domain import ConversationId, UserId
from socketserver.chat.identity import Identity
from socketserver.errors import (
    AUTH_TIMEOUT,
    KICKED,
    MALFORMED,
    REPLACED,
    RESTART,
    SLOW_CONSUMER,
    TOO_LARGE,
    End,
    UserMismatch,
)
from socketserver.live.fanout import conversation_room, user_room, watch_room
from socketserver.live.typing_indicator import Typing
from socketserver.realtime import Gone
from socketserver.settings import Settings
from socketserver.wire import protocol
from typing import Any

import pytest
from support.parts import Parts as Stage
from support.waiting import eventually
from unit.recorder import Emitted

ANN, BOB = Identity(UserId("ann"), "Ann"), Identity(UserId("bob"), "Bob")
C = ConversationId("c")
GRACE_S = Settings().presence_grace_s


def ended_event(sid: str, end: End, retry_after_ms: int | None = None) -> Emitted:
    return Emitted("session_ended", protocol.dump_session_ended(end, retry_after_ms), (sid,))


async def test_welcome_and_presence() -> None:
    """A socket that gets its user is welcomed and hears of the user's events; who watches the user is told."""
    stage = Stage()
    await stage.arrive("s1", ANN)
    welcome, presence = stage.sio.take()
    assert (welcome.event, welcome.rooms) == ("welcome", ("s1",))
    assert welcome.data["user"] == {"id": "ann", "name": "Ann"}
    assert welcome.data["connectionId"] == "s1"
    assert presence == Emitted(
        "presence_changed", protocol.dump_presence(ANN.user_id, True, None), (watch_room(ANN.user_id),)
    )
    assert stage.sio.rooms == {user_room(ANN.user_id): {"s1"}}


async def test_authenticating_again() -> None:
    """The same user again renews the identity and nothing else; another user is refused, and tells nothing."""
    stage = Stage()
    connection = await stage.arrive("s1", ANN)
    assert stage.proofs == [ANN]
    stage.sio.take()
    renewed = Identity(ANN.user_id, "Ann B.")
    await stage.lifecycle.authenticate(connection, renewed)
    assert connection.identity == renewed
    with pytest.raises(UserMismatch):
        await stage.lifecycle.authenticate(connection, BOB)
    assert connection.identity == renewed
    assert stage.proofs == [ANN, renewed]
    assert stage.sio.take() == []


@pytest.mark.parametrize("left", ["closed", "ended"])
async def test_a_socket_that_left_while_its_token_was_checked(left: str) -> None:
    """Bug: a socket that was gone when its token turned out good took the place of the user's new one."""
    stage = Stage()
    old = await stage.arrive("old")
    new = await stage.arrive("new", ANN)
    if left == "closed":
        stage.sio.unconnected.add("old")
    else:
        await stage.lifecycle.end(old, AUTH_TIMEOUT)
    stage.sio.take()
    stage.sio.ended.clear()
    await stage.lifecycle.authenticate(old, ANN)
    assert list(stage.sessions.of_user(ANN.user_id)) == [new]
    assert (stage.sio.take(), stage.sio.ended) == ([], [])


async def test_the_newest_socket_replaces_the_old_one() -> None:
    """The old socket is told why and disconnected for good; the new one stays, and presence does not flicker."""
    stage = Stage()
    await stage.arrive("old", ANN)
    stage.sio.take()
    new = await stage.arrive("new", ANN)
    assert [emitted.event for emitted in stage.sio.emitted] == ["welcome", "session_ended"]
    assert stage.sio.take()[1] == ended_event("old", REPLACED)
    assert stage.sio.ended == [("old", "disconnect")]
    assert stage.sessions.get("old") is None
    stage.lifecycle.gone("old", "server disconnect")
    assert list(stage.sessions.of_user(ANN.user_id)) == [new]
    stage.clock.advance(GRACE_S)
    assert stage.presence.expire(stage.clock.monotonic_s()) == []
    assert stage.sio.take() == []


@pytest.mark.parametrize(("end", "ended"), [(RESTART, ("s1", "close", "restart")), (MALFORMED, ("s1", "disconnect"))])
async def test_come_back_or_stay_away(end: End, ended: tuple[str, ...]) -> None:
    """An end after which the client comes back closes its transport, one after which it stays away disconnects it."""
    stage = Stage()
    connection = await stage.arrive("s1", ANN)
    stage.sio.take()
    await stage.lifecycle.end(connection, end, retry_after_ms=700)
    await stage.lifecycle.end(connection, AUTH_TIMEOUT)  # too late: it has its reason
    assert stage.sio.take() == [ended_event("s1", end, 700)]
    assert stage.sio.ended == [ended]


async def test_end_all_spreads_the_return() -> None:
    """Every client is told a time of its own to come back, one without a user too."""
    stage = Stage()
    await stage.arrive("nobody")
    await stage.arrive("s1", ANN)
    stage.sio.take()
    times = iter([500, 900])
    await stage.lifecycle.end_all(RESTART, retry_after_ms=lambda: next(times), within_s=5)
    assert stage.sio.take() == [ended_event("nobody", RESTART, 500), ended_event("s1", RESTART, 900)]
    assert stage.sio.ended == [("nobody", "close", "restart"), ("s1", "close", "restart")]


async def test_end_all_waits_for_answers() -> None:
    """A client is ended when what it had sent is answered, without waiting for the others; at the latest in time."""
    stage = Stage(sockets_per_user=3)
    for sid in ("busy", "idle", "stuck"):
        await stage.arrive(sid, ANN)
    stage.sio.busy = {"busy": asyncio.Event(), "stuck": asyncio.Event()}
    ending = asyncio.create_task(stage.lifecycle.end_all(RESTART, retry_after_ms=lambda: 500, within_s=1))
    await eventually("the idle one is ended", lambda: stage.sio.ended)
    assert stage.sio.ended == [("idle", "close", "restart")]
    stage.sio.busy["busy"].set()
    await ending
    assert stage.sio.ended[1:] == [("busy", "close", "restart"), ("stuck", "close", "restart")]


async def test_gone() -> None:
    """A socket that is gone stops typing, and its user goes offline after the grace; gone twice is gone once."""
    stage = Stage()
    await stage.arrive("s1", ANN)
    stage.typing.start(Typing(C, ANN.user_id, "s1"), stage.clock.monotonic_s())
    stage.sio.take()
    left_ms = stage.clock.now_ms()
    stage.lifecycle.gone("s1", "transport close")
    assert stage.sio.take() == [
        Emitted("user_typing", protocol.dump_typing(C, ANN.user_id, False), (conversation_room(C),), "s1")
    ]
    assert len(stage.sessions) == 0
    stage.clock.advance(GRACE_S)
    stage.lifecycle.gone("s1", "transport close")
    assert stage.presence.expire(stage.clock.monotonic_s()) == [(ANN.user_id, left_ms)]


async def test_why_it_is_gone() -> None:
    """One type says why: the server's End, also where the transport knows only its code; else the transport's own."""
    stage = Stage(sockets_per_user=0)
    for sid in ("ended", "dropped", "lost"):
        await stage.arrive(sid, ANN)
    await stage.lifecycle.end(stage.connection("ended"), RESTART)
    stage.lifecycle.gone("ended", "transport close")
    stage.lifecycle.gone("dropped", "slow_consumer")
    stage.lifecycle.gone("lost", "transport close")
    stage.lifecycle.gone("lost", "transport close")
    stage.lifecycle.gone("never let in", "transport close")
    assert stage.left == [("ended", RESTART), ("dropped", SLOW_CONSUMER), ("lost", Gone.TRANSPORT_CLOSE)]


async def test_who_is_not_let_in_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connect that fails half way, by a bug, is in no registry: nobody will tell of its end."""
    stage = Stage()
    monkeypatch.setattr(stage.sio, "vouch", broken)
    with pytest.raises(RuntimeError):
        await stage.arrive("s1", ANN)
    assert (len(stage.sessions), list(stage.sessions.of_user(ANN.user_id)), stage.left) == (0, [], [])


def broken(*arguments: object) -> None:
    raise RuntimeError("a bug")


async def test_a_kick(caplog: pytest.LogCaptureFixture) -> None:
    """An administrator's end says so, to the client and in the log."""
    stage = Stage()
    connection = await stage.arrive("s1", ANN)
    stage.sio.take()
    with caplog.at_level(logging.INFO):
        await stage.lifecycle.kick(connection, by="192.0.2.9")
    assert stage.sio.take() == [ended_event("s1", KICKED)]
    assert stage.sio.ended == [("s1", "disconnect")]
    assert "kicked connection_id=s1 user_id=ann by_address=192.0.2.9" in caplog.messages


@pytest.mark.parametrize(("end", "limit_bytes"), [(MALFORMED, None), (SLOW_CONSUMER, None), (TOO_LARGE, 65_536)])
def test_the_last_words_of_the_transport(end: End, limit_bytes: int | None) -> None:
    """Where realtime drops a client, what the client is told comes from here, too."""
    stage = Stage()
    assert stage.sio.end_event is not None
    assert stage.sio.end_event(end.code) == ("session_ended", protocol.dump_session_ended(end, limit_bytes=limit_bytes))


async def test_one_of_two_sockets_gone() -> None:
    """A user with another socket stays online."""
    stage = Stage(sockets_per_user=2)
    await stage.arrive("s1", ANN)
    await stage.arrive("s2", ANN)
    assert stage.sio.ended == []
    stage.lifecycle.gone("s1", "transport close")
    stage.clock.advance(GRACE_S)
    assert stage.presence.expire(stage.clock.monotonic_s()) == []
    assert stage.presence.is_online(ANN.user_id)


async def test_sockets_without_a_user_are_ended() -> None:
    """A socket that does not authenticate in time is told so and stays away; one with a user is left alone."""
    stage = Stage()
    await stage.arrive("nobody")
    await stage.arrive("s1", ANN)
    stage.sio.take()
    stage.clock.advance(9.9)
    await stage.lifecycle.end_without_user(10)
    assert stage.sio.ended == []
    stage.clock.advance(0.1)
    await stage.lifecycle.end_without_user(10)
    await stage.lifecycle.end_without_user(10)
    assert stage.sio.take() == [ended_event("nobody", AUTH_TIMEOUT)]
    assert stage.sio.ended == [("nobody", "disconnect")]


async def test_sweep(caplog: Any) -> None:
    """An entry without a socket is swept, said in the log and counted; the others stay."""
    stage = Stage()
    await stage.arrive("dead", ANN)
    await stage.arrive("s1", BOB)
    assert await stage.lifecycle.sweep() == 0
    stage.sio.unconnected.add("dead")
    assert await stage.lifecycle.sweep() == 1
    assert "dead" in caplog.text
    assert [connection.sid for connection in stage.sessions] == ["s1"]
    stage.clock.advance(GRACE_S)
    assert [user_id for user_id, _ in stage.presence.expire(stage.clock.monotonic_s())] == [ANN.user_id]
