"""The client of the demo page against a server that a test makes up: what takes luck to see with a real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.node import missing_node, require

SCENES = Path(__file__).with_name("example_clients.mjs")
DEADLINE_S = 30


async def play(scene: str) -> None:
    require(missing_node())
    process = await asyncio.create_subprocess_exec(
        "node", str(SCENES), scene, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


async def test_a_token_that_comes_after_its_connection_is_lost() -> None:
    """It was sent over the next connection, as a second CONNECT; or, if it failed, it ended the next connection."""
    await play("slow-token")


async def test_a_token_that_comes_while_there_is_no_connection() -> None:
    """It was written to the next connection before that asked for one, which got two CONNECTs then."""
    await play("token-in-between")


async def test_a_message_that_is_too_large() -> None:
    """It was sent again at each reconnect, and nothing behind it left. It shows an error, and the queue goes on."""
    await play("too-large")


async def test_a_preview_ends_with_a_whole_character() -> None:
    """An emoji at its end was cut in the middle of its surrogate pair."""
    await play("preview")


async def test_a_gap_that_comes_while_older_messages_are_loaded() -> None:
    """Nobody looked again for what a join had left out, if the reader was scrolling up just then: it stayed away."""
    await play("gap-while-scrolling")


async def test_the_list_after_a_backup_was_restored() -> None:
    """A conversation that was not open kept its newest message, and what came later did not show, up to its number."""
    await play("restored-list")


async def test_who_types_when_one_joins() -> None:
    """Who opened a conversation while somebody typed did not see it, and who missed the end saw it for seconds."""
    await play("typing-on-join")


async def test_an_event_right_behind_an_ack() -> None:
    """It was applied first, and the ack undid it: who had just stopped typing, or left, did so for ever."""
    await play("behind-the-ack")
