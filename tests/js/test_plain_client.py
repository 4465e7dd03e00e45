"""An application that uses plain socket.io-client gets what the protocol promises, without any code of ours."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.node import missing_node, require
from support.servers import ServerProcess, running, token
from support.waiting import eventually
from support.wire import wire_to

CLIENT = Path(__file__).with_name("plain_client.mjs")


class PlainClient:
    """plain_client.mjs as a process: what it shows, and a way to make it send."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def say(self, *bodies: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{body}\n" for body in bodies).encode())

    @property
    def shown(self) -> list[tuple[int, str]]:
        return [(line["seq"], line["body"]) for line in self.lines if "seq" in line]


@asynccontextmanager
async def plain_client(server: ServerProcess, user: str, conversation_id: str) -> AsyncIterator[PlainClient]:
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node,
        *(str(CLIENT), server.url, token(user), conversation_id),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    client = PlainClient(process)
    reading = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        process.kill()
        await process.wait()
        await reading


async def test_a_plain_application_has_everything(tmp_path: Path) -> None:
    """History, live messages, what was missed over a kill -9, its own messages once, and why it was ended."""
    require(missing_node())
    async with running(tmp_path / "chat.db", messages_per_second=0) as server, wire_to(server.url) as wire:
        (ben,) = await wire.people("ben")
        chat = await ben.create("ana")
        await ben.send(chat, "before Ana came")
        async with plain_client(server, "ana", chat) as ana:
            await eventually("the history", lambda: len(ana.shown) == 1)
            await ben.send(chat, "live")
            await eventually("the live message", lambda: len(ana.shown) == 2)
            ana.say("one", "two")
            await eventually("its own messages", lambda: len(ana.shown) == 4)

            await server.kill()
            ana.say("written while the server was away")
            await server.start()
            async with wire_to(server.url) as again:
                (ben,) = await again.people("ben")
                await ben.send(chat, "after the restart")
                await eventually("what it missed, and wrote", lambda: len(ana.shown) == 6, deadline_s=30)
                history = await ben.client.ok("fetch_history", {"conversationId": chat})
                stored = [(message["seq"], message["body"]) for message in history["messages"]]
                assert sorted(ana.shown) == stored
                assert [body for _, body in stored[:4]] == ["before Ana came", "live", "one", "two"]

                await again.people("ana")  # elsewhere
                await eventually("why it was ended", lambda: {"ended": "replaced"} in ana.lines)


async def test_a_plain_application_shows_what_changed(tmp_path: Path) -> None:
    """Edits, deletions and reactions: live, and those that were made while it was away."""
    require(missing_node())
    async with running(tmp_path / "chat.db", messages_per_second=0) as server, wire_to(server.url) as wire:
        (ben,) = await wire.people("ben")
        chat = await ben.create("ana")
        where: dict[str, Any] = {"conversationId": chat}
        for number in range(1, 31):
            await ben.send(chat, f"message {number}")
        async with plain_client(server, "ana", chat) as ana:
            await eventually("the history", lambda: len(ana.shown) == 30)
            await ben.client.ok("edit_message", {**where, "seq": 2, "idempotencyKey": "e", "body": "edited"})
            await ben.client.ok("set_reaction", {**where, "seq": 3, "reaction": "+", "on": True})
            await ben.client.ok("delete_message", {**where, "seq": 4})
            await eventually("live changes", lambda: len(ana.shown) == 33)
            assert ana.shown[30:] == [(2, "edited"), (3, "message 3"), (4, "")]
            assert ana.lines[31]["reactions"] == [{"reaction": "+", "count": 1, "userIds": ["ben"]}]

            await server.kill()
            await server.start()
            async with wire_to(server.url) as again:
                (ben,) = await again.people("ben")
                for number in range(10, 20):
                    edit = {**where, "seq": number, "idempotencyKey": "f", "body": f"edited {number}"}
                    await ben.client.ok("edit_message", edit)
                await eventually("what changed meanwhile", lambda: len(ana.shown) == 43, deadline_s=30)
                assert sorted(ana.shown[33:]) == [(number, f"edited {number}") for number in range(10, 20)]
