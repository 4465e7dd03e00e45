"""A page that the browser has frozen: its connection stands, and nobody looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.node import TRANSPORTS, NodeProcess, Transport, missing_node, require
from support.servers import serving
from support.stage import Stage
from support.wire import wire_to


@pytest.fixture
def page() -> Iterator[NodeProcess]:
    """A Node process that a test may freeze."""
    require(missing_node())
    process = NodeProcess()
    yield process
    process.stop()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_frozen_page_reads_nothing(tmp_path: Path, page: NodeProcess, transport: Transport) -> None:
    """Messages became read on a page that was frozen: it reads them when it wakes up, and one that is alive at once."""
    async with serving(tmp_path / "chat.db") as server, page.attach() as node, wire_to(server.url) as wire:
        server.clock.hold()
        ana, cat = await wire.people("ana", "cat")
        ben = await Stage(server, node, transport=transport).person("ben")
        chat = await ana.create("ben", "cat")
        await ana.join(chat)
        for reader in (cat, ben):
            await reader.join(chat, visible=True)
        page.freeze()
        try:
            for number in (1, 2):
                await ana.send(chat, "is anybody there?")
                server.clock.advance(1)
                # Whoever is to read is asked at the same moment: when the one has answered, the other has not.
                await ana.client.wait_count("messages_read", number)
            await ana.settle()
            reads = [(read["userId"], read["readSeq"]) for read in ana.client.seen("messages_read")]
            assert reads == [("cat", 1), ("cat", 2)]
            marks = {each["userId"]: each["readSeq"] for each in (await ana.join(chat))["participants"]}
            assert marks == {"ana": 2, "ben": 0, "cat": 2}
        finally:
            page.thaw()
        await ana.client.wait("messages_read", lambda read: (read["userId"], read["readSeq"]) == ("ben", 2))
