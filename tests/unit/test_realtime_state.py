"""socketserver.realtime.engine: a session's one state, and the reasons for which it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from socketserver.realtime.engine.engine import Engine
from socketserver.realtime.engine.packets import PING
from socketserver.realtime.engine.reasons import Gone
from socketserver.realtime.engine.session import Session
from socketserver.realtime.engine.state import State

import pytest
from aiohttp.test_utils import make_mocked_request

MOVES = {
    (State.OPEN, State.FINISHING),
    (State.OPEN, State.CLOSED),
    (State.FINISHING, State.CLOSED),
}


class Counter:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def rejected(self, code: int) -> None:
        self.told.append(f"rejected {code}")

    def opened(self, session: Session) -> None:
        self.told.append("opened")

    def closed(self, session: Session, reason: str) -> None:
        assert type(reason) is str
        self.told.append(reason)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(observer=Counter())
    yield engine
    await engine.shutdown()


def told(engine: Engine) -> list[str]:
    (counter,) = engine.observers
    assert isinstance(counter, Counter)
    return counter.told


def begin(engine: Engine) -> Session:
    """A polling session without a connection, whose OPEN packet has been fetched."""
    session = engine.begin(make_mocked_request("GET", "/socket.io/?EIO=4&transport=polling"))
    session.outbox.take()
    return session


@pytest.mark.parametrize("was", State)
@pytest.mark.parametrize("state", State)
def test_a_state_only_moves_on(was: State, state: State) -> None:
    """What is over does not open again, and nothing ends twice."""
    assert was.may_become(state) is ((was, state) in MOVES)


async def test_a_session_without_last_messages_is_closed_at_once(engine: Engine) -> None:
    """Finishing is for those who have something to fetch."""
    session = begin(engine)
    assert (session.state, session.open) == (State.OPEN, True)
    session.finish(Gone.SERVER_SHUTDOWN)
    assert (session.state, session.reason) == (State.CLOSED, "server shutdown")
    assert told(engine) == ["opened", "server shutdown"]
    assert not engine.sessions


async def test_a_session_that_finishes_is_closed_by_whatever_ends_it_first(engine: Engine) -> None:
    """Its reason stays the first one, and the layer above is told once."""
    session = begin(engine)
    reasons: list[str] = []
    engine.on("disconnect", lambda sid, reason: reasons.append(reason))
    await engine.send(session.id, "last words")
    session.finish(Gone.SERVER_SHUTDOWN)
    assert (session.state, session.open) == (State.FINISHING, False)
    assert told(engine) == ["opened"]
    assert session.id in engine.sessions
    session.finish(Gone.MALFORMED)
    session.drop(Gone.FLOODING)
    assert session.state is State.FINISHING
    session.close(Gone.TRANSPORT_CLOSE)
    session.close(Gone.TRANSPORT_ERROR)
    assert (session.state, session.reason) == (State.CLOSED, "server shutdown")
    assert told(engine) == ["opened", "transport close"]
    await session.settled()
    assert reasons == ["server shutdown"]


async def test_who_waits_for_the_end_is_woken_by_it(engine: Engine) -> None:
    """`gone` returns when the last messages are fetched, or the time for that is over."""
    session = begin(engine)
    await engine.send(session.id, "last words")
    session.finish(Gone.TOO_LARGE)
    waiting = asyncio.create_task(session.gone())
    await asyncio.sleep(0)
    assert not waiting.done()
    session.close(Gone.TOO_LARGE)
    await waiting


async def test_a_closed_session_takes_and_sends_nothing(engine: Engine) -> None:
    """Whatever comes in late."""
    session = begin(engine)
    messages: list[str] = []
    engine.on("message", lambda sid, data: messages.append(data))
    session.receive("4before")
    session.close(Gone.CLIENT_DISCONNECT)
    session.receive("4after")
    session.outbox.push(PING)
    await session.settled()
    assert messages == ["before"]
    assert session.outbox.take() == b""
    assert not session.check()


def test_a_reason_is_its_text() -> None:
    """Applications compare it with strings, log it and send it: python-socketio's own texts."""
    assert Engine.reason("ping timeout") is Gone.PING_TIMEOUT
    assert f"{Gone.SLOW_CONSUMER}" == str(Gone.SLOW_CONSUMER) == "slow_consumer"
    assert {"ping timeout": 1}[Gone.PING_TIMEOUT] == 1
