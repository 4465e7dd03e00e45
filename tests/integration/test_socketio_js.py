"""The real socket.io clients under Node, 4.8, 4.0 and 3.1, over every transport, and through bad proxies."""

import asyncio
from socketserver.realtime import AsyncServer

import pytest
from support.engine import PATIENT, ROOT, UNIT_S, echo_server, node, serving, until
from support.node import missing_node, require
from support.ports import held_port
from support.unkind_proxies import proxy

CLIENTS = ["socket.io-client", "socket.io-client-4.0", "socket.io-client-3"]
TRANSPORTS = {"polling": "polling", "websocket": "websocket", "polling,websocket": "websocket"}


def js_server() -> AsyncServer:
    """Several ping cycles in a second, and patience with Node on a busy machine."""
    return echo_server(ping_timeout=3)


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_everything(client: str, transports: str) -> None:
    """Acks, unicode, binary, bursts, big messages, namespaces, several ping cycles."""
    async with serving(js_server()) as url:
        result = await node("engine_clients.cjs", url, client, transports, "everything")
    assert result["transport"] == TRANSPORTS[transports]


async def test_websocket_first() -> None:
    async with serving(js_server()) as url:
        result = await node("engine_clients.cjs", url, CLIENTS[0], "websocket,polling", "everything")
    assert result["transport"] == "websocket"


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_everything_in_segments_of_1400_bytes(transports: str) -> None:
    """A body that arrives in pieces is read whole: 1 kB to 900 kB, over both transports."""
    async with serving(js_server()) as url, proxy(url, segments=True) as bad:
        result = await node("engine_clients.cjs", bad.url, CLIENTS[0], transports, "everything")
    assert result["transport"] == TRANSPORTS[transports]


@pytest.mark.parametrize("upgrades", ["kill", "stall"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_an_upgrade_that_cannot_work_leaves_the_client_polling(client: str, upgrades: str) -> None:
    """It stays connected over polling and does not spin."""
    async with serving(js_server()) as url, proxy(url, upgrades=upgrades) as bad:
        result = await node("engine_clients.cjs", bad.url, client, "polling,websocket", "fallback")
        assert result["transport"] == "polling"
        assert bad.upgrades >= 1
        # 20 acks and a ping every 0.3 s, each ends one poll
        assert bad.polls < 60


@pytest.mark.parametrize("transports", TRANSPORTS)
async def test_the_server_restarts(transports: str) -> None:
    """The client notices at once, long before a ping would be due, and comes back by itself."""
    there = asyncio.Event()  # the client says so, having heard from the server
    first = echo_server(**PATIENT)

    @first.on("message")
    async def message(sid: str, what: str) -> None:
        there.set()

    with held_port() as port:
        async with serving(first, port) as url:
            running = asyncio.create_task(node("engine_clients.cjs", url, CLIENTS[0], transports, "restart"))
            waiting = asyncio.create_task(there.wait())
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
            if transports != "polling":
                await until(lambda: [info.transport for info in first.clients()] == ["websocket"], "the upgrade")
        async with serving(echo_server(**PATIENT), port):
            result = await running
    assert result["events"][0] in ("transport close", "transport error")
    assert result["ms"] < UNIT_S * 1000


@pytest.mark.parametrize("transports", TRANSPORTS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scenario", ["kicked", "sent_back"])
async def test_disconnect_stays_away_and_close_transport_comes_back(
    client: str, transports: str, scenario: str
) -> None:
    """What was emitted before arrives first; the disconnect handler runs once with the reason."""
    sio = js_server()
    reasons: list[tuple[str, str]] = []

    @sio.on("message")
    async def message(sid: str, what: str) -> None:
        await sio.emit("last", "words", to=sid)
        if what == "kick":
            await sio.disconnect(sid)
        else:
            await sio.close_transport(sid, reason="restart")
        await sio.emit("last", "too late", to=sid)

    @sio.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append((sid, reason))

    async with serving(sio) as url:
        await node("engine_clients.cjs", url, client, transports, scenario)
    assert reasons[0][1] == ("server disconnect" if scenario == "kicked" else "restart")
    assert len({sid for sid, _ in reasons}) == len(reasons)


def test_the_clients_are_the_ones_meant() -> None:
    require(missing_node())
    for name, version in zip(CLIENTS, ["4.8", "4.0", "3.1"], strict=True):
        text = (ROOT / "node_modules" / name / "package.json").read_text()
        assert f'"version": "{version}.' in text
