"""Stock clients that are busy and honest: what bounds an attacker must not touch them.

Each with the default settings, so that a new limit that is too narrow fails here.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from socketserver.chat.domain import ConversationDraft, ConversationId, UserId, new_id
from socketserver.realtime import AsyncServer
from socketserver.settings import Settings
from socketserver.store import open_store
from typing import Any, Final

import pytest
from aiohttp import web
from support.node import TRANSPORTS, Node, Transport, missing_node, require
from support.servers import running, token
from support.tcp_proxy import proxy_to
from support.waiting import eventually

ROOT: Final = Path(__file__).resolve().parents[2]
ACKS: Final = 1_000
TABS: Final = 200
CONVERSATIONS: Final = 4_000
PACKETS: Final[dict[Transport, str]] = {
    "websocket": "websocket",
    "polling": "polling",
    "upgrade": "polling,websocket",
}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_fifty_events_at_once_are_all_answered(node: Node, database: Path, transport: Transport) -> None:
    """An application that has just opened asks for everything in one tick: over polling that is one POST."""
    async with running(database) as server:
        client = await node.open(server.url, transport=transport, auth={"token": token("ann")})
        await client.wait("welcome")
        created = await client.emit("create_conversation", {"participantIds": ["bob"]})
        conversation = {"conversationId": created["conversation"]["id"]}
        messages = [
            ("send_message", {**conversation, "idempotencyKey": f"k{number}", "body": "x" * 1000})
            for number in range(20)
        ]
        others = [("fetch_history", conversation), ("list_conversations", {}), ("join_conversation", conversation)] * 10

        acks, order = await client.burst([*messages, *others])

        assert [ack["ok"] for ack in acks] == [True] * 50
        assert order == list(range(50))
        assert [ack["message"]["seq"] for ack in acks[:20]] == list(range(1, 21))
        assert (await client.state())["connected"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_thousand_acks_of_a_client_are_all_taken(transport: Transport) -> None:
    """A server that asks a client a thousand times gets a thousand acks, over polling in one POST."""
    require(missing_node())
    sio = AsyncServer(cors_allowed_origins="*")
    app = web.Application()
    sio.attach(app)
    answers: list[int] = []

    async def connect(sid: str, environ: dict[str, Any], auth: object = None) -> None:
        connected.append(sid)

    connected: list[str] = []
    sio.on("connect", connect)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = await asyncio.create_subprocess_exec(
        "node", "tests/chaos/acker.cjs", url, PACKETS[transport], cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        (sid,) = await eventually("the client connects", lambda: connected)
        for number in range(ACKS):
            await sio.emit("ask", number, to=sid, callback=answers.append)
        await eventually("every ack is there", lambda: len(answers) == ACKS, deadline_s=30)
        assert answers == list(range(ACKS))
        await sio.emit("done", to=sid)
        assert client.stdout is not None
        async with asyncio.timeout(30):
            assert (await client.stdout.readline()).decode().strip() == f"answered {ACKS}"
            await client.wait()
    finally:
        if client.returncode is None:
            client.kill()
        await client.wait()
        await runner.cleanup()


async def test_two_hundred_tabs_behind_one_address(node: Node, database: Path) -> None:
    """An office opens its browsers in the morning, all at once; half of them upgrade, half begin with a websocket."""
    async with running(database) as server:
        transports: itertools.cycle[Transport] = itertools.cycle(["upgrade", "websocket"])
        clients = await asyncio.gather(
            *(
                node.open(server.url, transport=next(transports), auth={"token": token(f"user{number}")})
                for number in range(TABS)
            )
        )
        for client in clients:
            await client.wait("welcome", deadline_s=60)
        created = await clients[0].emit(
            "create_conversation", {"participantIds": [f"user{number}" for number in range(1, TABS)]}
        )
        conversation = {"conversationId": created["conversation"]["id"]}
        joined = await asyncio.gather(
            *(client.emit("join_conversation", conversation, deadline_s=60) for client in clients)
        )
        assert all(ack["ok"] for ack in joined)

        acks = await asyncio.gather(
            *(
                client.emit(
                    "send_message", {**conversation, "idempotencyKey": "k", "body": "good morning"}, deadline_s=60
                )
                for client in clients
            )
        )

        assert sorted(ack["message"]["seq"] for ack in acks) == list(range(1, TABS + 1))
        for client in clients:
            assert len(await client.wait_count("message_created", TABS, deadline_s=60)) == TABS
            assert not client.seen("connect_error")
            assert not client.seen("disconnect")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_four_thousand_conversations_is_read_to_its_end(
    node: Node, database: Path, transport: Transport
) -> None:
    """Page after page as fast as they come: every conversation once, no page refused."""
    store = open_store(f"sqlite:///{database}")
    await store.open()
    ann = UserId("ann")
    drafts = [
        ConversationDraft(
            ConversationId(new_id()), "direct", None, ann, (ann, UserId(f"peer{number}")), number + 1, None
        )
        for number in range(CONVERSATIONS)
    ]
    await asyncio.gather(*(store.create_conversation(draft) for draft in drafts))
    await store.close()
    seen: list[str] = []
    async with running(database) as server:
        client = await node.open(server.url, transport=transport, auth={"token": token("ann")})
        await client.wait("welcome")
        asked: dict[str, Any] = {"limit": Settings.model_fields["max_page"].default}
        more = True
        while more:
            page = await client.emit("list_conversations", asked, deadline_s=30)
            assert page["ok"], page
            seen += [conversation["id"] for conversation in page["conversations"]]
            more = page["hasMore"]
            asked["before"] = page.get("nextBefore")
        assert not client.seen("disconnect")
    assert seen == [draft.id for draft in reversed(drafts)]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_react_strict_mode_mounts_twice(node: Node, database: Path, transport: Transport) -> None:
    """connect, disconnect and connect within a second, three components in a row: no loop."""
    async with running(database) as server:
        for _ in range(3):
            first = await node.open(server.url, transport=transport, auth={"token": token("ann")})
            await first.disconnect()
            await first.connect()
            await first.wait("welcome")
            assert (await first.emit("list_conversations", {}))["ok"]
            assert not first.seen("connect_error")
            await first.disconnect()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_pongs_that_a_slow_proxy_delivers_late_are_taken(
    node: Node, database: Path, transport: Transport
) -> None:
    """What the server sends arrives three ping intervals late, so pongs come in a heap; nobody is ended for that."""
    async with (
        running(database, ping_interval_s="0.2", ping_timeout_s="20") as server,
        proxy_to("127.0.0.1", server.port) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        client = await node.open(url, transport=transport, auth={"token": token("ann")})
        await client.wait("welcome")
        proxy.reply_delay_s = 0.6
        for _ in range(3):
            assert (await client.emit("list_conversations", {}, deadline_s=30))["ok"]
        proxy.reply_delay_s = 0.0
        assert (await client.emit("list_conversations", {}, deadline_s=30))["ok"]
        assert not client.seen("disconnect")
