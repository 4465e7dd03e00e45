"""Every loop that the stock client can be made to run ends by itself, and what people do is no loop.

`tries` are all connects that a client made, let in or refused. The client has the options of the documentation, with
shorter pauses: three attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from socketserver.door.loops import TOLD
from socketserver.errors import SLOW_CONSUMER
from typing import Any

import pytest
from support.engine import node
from support.guarded import Chat, chatting

TRANSPORTS = ["polling,websocket", "websocket", "polling"]
CLIENTS = ["socket.io-client", "socket.io-client-4.0", "socket.io-client-3"]


async def run(chat: Chat, scenario: str, transports: str, client: str = CLIENTS[0]) -> list[dict[str, Any]]:
    result = await node("loop_clients.cjs", chat.url, client, transports, scenario, chat.token("ann"))
    tabs: list[dict[str, Any]] = result["tabs"]
    return tabs


@contextlib.asynccontextmanager
async def dropping(chat: Chat, *, told: bool) -> AsyncIterator[None]:
    """Whoever is let in is dropped: by the server with a reason, or by a network that cuts every connection."""

    async def drop() -> None:
        while True:
            await asyncio.sleep(0.005)
            for connection in chat.sessions:
                client = chat.sio.manager.client(connection.sid, "/")
                if client is None or connection.end is not None or connection.sid not in chat.sio.connected():
                    continue
                if told:
                    await chat.lifecycle.end(connection, SLOW_CONSUMER)
                else:
                    client.session.close("transport close", abort=True)

    task = asyncio.create_task(drop())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def loop_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "socketserver.door.connects"]


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_accept_then_drop(client: str, transports: str, caplog: pytest.LogCaptureFixture) -> None:
    """A client that the server drops each time is let in three times, and told with the fourth that it is enough."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting() as chat, dropping(chat, told=True):
            (tab,) = await run(chat, "dropped", transports, client)
    assert tab["tries"] == 4
    assert tab["codes"] == ["too_many_connects"]
    assert not tab["active"] or client != CLIENTS[0]  # only 4.8 says the truth about it
    assert len(loop_lines(caplog)) == 1


async def test_accept_then_drop_by_the_network(caplog: pytest.LogCaptureFixture) -> None:
    """A user whose connection is cut each time, which may be a bad network, is refused at the limit of connects."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting(connects_per_minute_user=20) as chat, dropping(chat, told=False):
            (tab,) = await run(chat, "dropped", "websocket")
    assert tab["connects"] <= 20
    assert tab["codes"] == ["too_many_connects"]
    assert not tab["active"]
    assert len(loop_lines(caplog)) == 1


@pytest.mark.parametrize("transports", ["websocket", "polling"])
async def test_accept_then_drop_without_a_user(transports: str, caplog: pytest.LogCaptureFixture) -> None:
    """A loop was refused over HTTP, which a client did not always get to see. Now the next CONNECT says that it is
    enough, at which the client stops; and a user from the same page and browser is let in."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting(failed_connects_per_minute_address=6) as chat:
            async with dropping(chat, told=False):
                (tab,) = await run(chat, "dropped_without_user", transports)
            (user,) = await run(chat, "wakes_up", transports)
    assert tab["connects"] <= 6
    assert tab["codes"][-1] == "too_many_connects"
    assert not tab["active"]
    assert (user["errors"], user["connected"]) == (0, True)
    assert len(loop_lines(caplog)) == 1


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_malformed(transports: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application that sends nonsense is let in three times, and told with the fourth that it is enough."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting() as chat:
            (tab,) = await run(chat, "malformed", transports)
    assert tab["connects"] == 3
    assert tab["codes"] == ["too_many_connects"]
    assert set(tab["ended"]) <= {"malformed"}
    assert len(loop_lines(caplog)) == 1


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_bad_token(transports: str) -> None:
    """One try."""
    async with chatting() as chat:
        (tab,) = await run(chat, "bad_token", transports)
    assert (tab["tries"], tab["codes"], tab["active"]) == (1, ["invalid_token"], False)


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_token_that_comes_late(client: str, transports: str) -> None:
    """A client whose `auth` answered for a lost connection too was ended as malformed, and told to stay away."""
    async with chatting() as chat:
        (tab,) = await run(chat, "late_auth", transports, client)
    assert (tab["tries"], tab["connected"]) == (2, True)
    assert set(tab["ended"]) <= {"connected_twice"}


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_two_tabs(transports: str) -> None:
    """One try each: the first is replaced and stays away."""
    async with chatting() as chat:
        first, second = await run(chat, "two_tabs", transports)
    assert (first["tries"], first["ended"], first["connected"]) == (1, ["replaced"], False)
    assert (second["tries"], second["ended"], second["connected"]) == (1, [], True)


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_two_tabs_that_fight(client: str, transports: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application that calls connect() in its disconnect listener, in two tabs: four tries each, one tab stays."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting() as chat:
            tabs = await run(chat, "two_tabs_that_fight", transports, client)
    assert max(tab["tries"] for tab in tabs) == 4
    assert sum(tab["connected"] for tab in tabs) == 1
    (loser,) = (tab for tab in tabs if not tab["connected"])
    assert loser["codes"] == ["too_many_connects"]
    assert len(loop_lines(caplog)) == 1


async def test_comes_back_without_a_user(caplog: pytest.LogCaptureFixture) -> None:
    """An application that never authenticates and calls connect() when it is ended: four tries."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting(auth_timeout_s=0.1) as chat:
            (tab,) = await run(chat, "comes_back_without_user", "websocket")
    assert (tab["tries"], tab["ended"]) == (4, ["auth_timeout"] * 3)
    assert tab["codes"] == ["too_many_connects"]
    assert len(loop_lines(caplog)) == 1


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_an_application_that_never_gives_up(transports: str, caplog: pytest.LogCaptureFixture) -> None:
    """connect() in every listener locked out the whole address: now it is told twice that it is enough, then it waits
    for its answers, and a user with the same address, page and browser is let in meanwhile."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting() as chat:
            (tab,) = await run(chat, "never_gives_up", transports)
            (user,) = await run(chat, "wakes_up", transports)
    assert tab["codes"] == ["invalid_token"] * 30 + ["too_many_connects"] * TOLD
    assert (user["errors"], user["connected"]) == (0, True)
    assert len(loop_lines(caplog)) == 1


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("scenario", ["strict_mode", "five_reloads", "wakes_up"])
async def test_no_loops(scenario: str, transports: str, caplog: pytest.LogCaptureFixture) -> None:
    """The last client is connected, and nothing was refused."""
    with caplog.at_level(logging.WARNING, "socketserver"):
        async with chatting() as chat:
            tabs = await run(chat, scenario, transports)
    assert tabs[-1]["connected"]
    assert [tab["errors"] for tab in tabs] == [0] * len(tabs)
    assert not loop_lines(caplog)
