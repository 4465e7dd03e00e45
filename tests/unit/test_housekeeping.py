"""socketserver.housekeeping"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from socketserver import housekeeping
from socketserver.chat.domain import ConversationId, UserId
from socketserver.chat.identity import Identity
from socketserver.errors import AUTH_TIMEOUT
from socketserver.live.auto_read import Seen
from socketserver.live.connections import Connection
from socketserver.live.fanout import conversation_room, watch_room
from socketserver.live.typing_indicator import Typing
from socketserver.store import open_store
from socketserver.wire import protocol

import pytest
from support.parts import Parts
from unit.recorder import Emitted

ANN, BOB = UserId("ann"), UserId("bob")
C = ConversationId("c")


class Stage(Parts):
    """A store in memory beneath."""

    async def show(self, sid: str, user_id: UserId, conversation_id: ConversationId) -> Connection:
        """A new socket of a user, that shows a conversation."""
        connection = await self.arrive(sid, Identity(user_id, user_id))
        connection.joined[conversation_id] = True
        self.sio.take()
        return connection

    async def messages(self, count: int) -> ConversationId:
        """A new conversation of ann and bob with messages by ann."""
        return (await self.conversation(ANN, BOB, messages=count)).id


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    store = open_store("sqlite:///:memory:")
    await store.open()
    yield Stage(store)
    await store.close()


async def test_typing_runs_out(stage: Stage) -> None:
    """Typing without a new sign ends after its time, and the others are told."""
    stage.typing.start(Typing(C, ANN, "s1"), stage.clock.monotonic_s())
    stage.clock.advance(5.9)
    await stage.housekeeping.tick()
    assert stage.sio.take() == []
    stage.clock.advance(0.1)
    await stage.housekeeping.tick()
    assert stage.sio.take() == [
        Emitted("user_typing", protocol.dump_typing(C, ANN, False), (conversation_room(C),), "s1")
    ]


async def test_presence_runs_out(stage: Stage) -> None:
    """A user who does not come back within the grace goes offline, with the time of leaving."""
    await stage.arrive("s1", Identity(ANN, "Ann"))
    left_ms = stage.clock.now_ms()
    stage.lifecycle.gone("s1", "transport close")
    stage.sio.take()
    stage.clock.advance(15)
    await stage.housekeeping.tick()
    assert stage.sio.take() == [
        Emitted("presence_changed", protocol.dump_presence(ANN, False, left_ms), (watch_room(ANN),))
    ]


async def test_login_runs_out(stage: Stage) -> None:
    """A socket without a user is ended after the time it has."""
    await stage.arrive("s1")
    stage.clock.advance(10)
    await stage.housekeeping.tick()
    assert stage.sio.take() == [Emitted("session_ended", protocol.dump_session_ended(AUTH_TIMEOUT), ("s1",))]


async def test_others_have_a_turn_between_two_sweeps() -> None:
    """All registries were swept in one turn of the event loop: a quarter of a second where they were full."""
    turns: list[str] = []
    running = True

    def sweep(now_s: float) -> None:
        turns.append("sweep")

    async def other() -> None:
        while running:
            turns.append("other")
            await asyncio.sleep(0)

    stage = Stage(None, sweep, sweep)
    stage.clock.advance(30)
    others = asyncio.create_task(other())
    await stage.housekeeping.tick()
    running = False
    await others
    assert "other" in turns[turns.index("sweep") : len(turns) - turns[::-1].index("sweep")]


async def test_sweeps_now_and_then(stage: Stage) -> None:
    """Full buckets and dead entries are swept every 30 seconds, not at each tick."""
    stage.rates.messages.get(ANN, stage.clock.monotonic_s())
    await stage.arrive("dead", Identity(ANN, "Ann"))
    stage.sio.unconnected.add("dead")
    stage.clock.advance(29)
    await stage.housekeeping.tick()
    assert (len(stage.rates.messages), len(stage.sessions)) == (1, 1)
    stage.clock.advance(1)
    await stage.housekeeping.tick()
    assert (len(stage.rates.messages), len(stage.sessions)) == (0, 0)
    stage.rates.messages.get(ANN, stage.clock.monotonic_s())
    await stage.housekeeping.tick()
    assert len(stage.rates.messages) == 1


async def test_automatic_read_marks(stage: Stage) -> None:
    """What was seen is written once its delay is over and the page is alive, as one mark, and announced."""
    conversation_id = await stage.messages(3)
    await stage.show("s1", BOB, conversation_id)
    for seq in (1, 2, 3):
        stage.auto_read.see(Seen(conversation_id, BOB, seq), stage.clock.monotonic_s())
    await stage.read_marks.write_due()
    assert stage.sio.take() == []
    stage.clock.advance(0.3)
    await stage.read_marks.write_due()
    assert stage.sio.take() == []
    stage.sio.answer("s1")
    await stage.read_marks.write_due()
    (emitted,) = stage.sio.take()
    assert (emitted.event, emitted.data["userId"], emitted.data["readSeq"]) == ("messages_read", "bob", 3)


async def test_a_page_that_is_frozen_reads_nothing(stage: Stage) -> None:
    """Messages became read while the tab that showed them was frozen: only what is alive has been looked at."""
    conversation_id = await stage.messages(3)
    connection = await stage.show("s1", BOB, conversation_id)
    stage.auto_read.see(Seen(conversation_id, BOB, 1), stage.clock.monotonic_s())
    for seq in (2, 3):
        stage.clock.advance(0.3)
        await stage.read_marks.write_due()
        assert list(stage.sio.probed) == ["s1"]
        assert stage.sio.take() == []
        stage.auto_read.see(Seen(conversation_id, BOB, seq), stage.clock.monotonic_s())
    stage.sio.answer("s1")  # it was asked about the first message, and is asked about the second now
    await stage.read_marks.write_due()
    assert [emitted.data["readSeq"] for emitted in stage.sio.take()] == [1]
    connection.joined[conversation_id] = False
    stage.clock.advance(0.3)
    await stage.read_marks.write_due()  # the third: nobody shows it any more
    stage.sio.answer("s1")
    await stage.read_marks.write_due()
    assert [emitted.data["readSeq"] for emitted in stage.sio.take()] == [2]
    assert not stage.sio.probed


async def test_a_mark_that_cannot_be_written(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A mark that the store refuses is logged, and the others are written all the same."""
    conversation_id = await stage.messages(1)
    for shown in (ConversationId("no such"), conversation_id):
        stage.auto_read.see(Seen(shown, BOB, 1), 0)
        stage.auto_read.looked_away(shown, BOB)
    await stage.read_marks.write_due()
    assert [emitted.event for emitted in stage.sio.take()] == ["messages_read"]
    assert "conversation_not_found" in caplog.text


async def test_a_bug_does_not_stop_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in one tick is logged, and the next tick comes."""
    monkeypatch.setattr(housekeeping, "TICK_S", 0)
    ticks = 0
    third = asyncio.Event()

    async def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            third.set()
        raise RuntimeError("a bug")

    monkeypatch.setattr(stage.housekeeping, "tick", tick)
    task = asyncio.create_task(stage.housekeeping.run())
    await asyncio.wait_for(third.wait(), 10)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert "housekeeping failed" in caplog.text
