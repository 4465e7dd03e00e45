"""A message that is too large, sent by the stock client with the recommended options: what stands behind it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.node import TRANSPORTS, VERSIONS, Node, Transport, Version, binary
from support.servers import LocalServer, serving
from support.stage import Stage, next_key

# As the README has them, but with shorter waits.
RECOMMENDED: dict[str, Any] = {"reconnectionAttempts": 3, "retries": 3, "ackTimeout": 10_000}


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


@pytest.mark.parametrize("size", [70_000, 1_000_000])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_stands_behind_it_goes_on(
    server: LocalServer, node: Node, version: Version, transport: Transport, size: int
) -> None:
    """It ended the connection, was sent again at each reconnect, and locked its user out with all that waited."""
    options = RECOMMENDED if version == "4.8" else {}
    ana = await Stage(server, node, version=version, transport=transport).person("ana", **options)
    conversation = await ana.create("ben")

    def message(body: str) -> list[Any]:
        return ["send_message", {"conversationId": conversation, "idempotencyKey": next_key(), "body": body}]

    (large, hello, binary_one, there), _ = await ana.client.burst(
        [
            message("x" * size),
            message("hello"),
            ["send_message", {"conversationId": conversation, "file": binary(bytes(size))}],
            message("there"),
        ]
    )
    assert (large["error"]["code"], large["error"]["retryable"]) == ("too_large", False)
    assert large["error"]["limitBytes"] == 65_536
    assert (hello["message"]["seq"], there["message"]["seq"]) == (1, 2)
    assert binary_one["error"]["code"] == "too_large"
    assert not ana.client.seen("disconnect")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_beyond_what_is_read_past(database: Path, node: Node, transport: Transport) -> None:
    """The client's `retries` give it up after four tries, each of which costs a connection; the next message leaves."""
    async with serving(database, max_skipped_bytes=100_000) as server:
        ana = await Stage(server, node, transport=transport).person("ana", **RECOMMENDED)
        conversation = await ana.create("ben")
        payload = {"conversationId": conversation, "idempotencyKey": next_key()}
        large = asyncio.create_task(ana.client.burst([["send_message", {**payload, "body": "x" * 200_000}]]))
        assert (await ana.send(conversation, "hello"))["message"]["seq"] == 1
        assert await large == ([None], [0])
        ends = [
            args[0]["code"]
            for event, args in ((seen.event, seen.args) for seen in ana.client.log)
            if event == "session_ended"
        ]
        assert set(ends) == {"too_large"}
        assert len(ends) == 4
