"""Messages are edited, deleted and reacted to, as the real clients see it: live, and when they come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.node import TRANSPORTS, VERSIONS, Node
from support.servers import LocalServer, serving
from support.stage import Stage


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database, messages_per_second=0) as server:
        yield server


@pytest.fixture(params=[(version, transport) for version in VERSIONS for transport in TRANSPORTS], ids="-".join)
def stage(request: pytest.FixtureRequest, server: LocalServer, node: Node) -> Stage:
    version, transport = request.param
    return Stage(server, node, version=version, transport=transport)


async def test_changes_are_seen_live_and_after_coming_back(stage: Stage) -> None:
    """Who was there followed the events; who comes back with a cursor gets the same from the answer."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    where: dict[str, Any] = {"conversationId": chat}
    await ben.join(chat)
    for number in (1, 2, 3):
        await ana.send(chat, f"message {number}")
    cursor = (await ana.join(chat))["change"]
    edited = await ana.client.ok("edit_message", {**where, "seq": 2, "idempotencyKey": "e", "body": "edited"})
    assert (edited["message"]["change"], edited["message"]["body"], edited["duplicate"]) == (4, "edited", False)
    await ben.client.ok("set_reaction", {**where, "seq": 1, "reaction": "👍", "on": True})
    reply = await ben.send(chat, "a reply", replyTo=2, mentions=["ana"])
    await ana.client.ok("delete_message", {**where, "seq": 3})

    seen = await ben.client.wait_count("message_updated", 3)
    assert [(each["message"]["seq"], each["message"]["change"]) for each in seen] == [(2, 4), (1, 5), (3, 7)]
    assert seen[1]["message"]["reactions"] == [{"reaction": "👍", "count": 1, "userIds": ["ben"]}]
    tombstone = seen[2]["message"]
    assert (tombstone["body"], tombstone["metadata"], tombstone["deletedBy"]) == ("", None, "ana")
    assert (reply["message"]["change"], reply["message"]["replyTo"], reply["message"]["mentions"]) == (6, 2, ["ana"])

    again = await ana.join(chat, after=cursor)
    assert [each["message"] for each in seen] == again["updates"]
    assert again["messages"] == [reply["message"]]
    assert (again["change"], "updatesThrough" in again, "gap" in again) == (7, False, False)
    changes = await ana.client.ok("fetch_changes", {**where, "after": cursor, "limit": 3})
    assert [each["change"] for each in changes["messages"]] == [4, 5, 6]
    assert (changes["change"], changes["hasMore"]) == (6, True)
    quoted = await ben.client.ok("fetch_messages", {**where, "seqs": [2, 99]})
    assert (quoted["messages"], quoted["hasMore"]) == ([edited["message"]], False)
    (listed,) = (await ben.client.ok("list_conversations", {}))["conversations"]
    assert (listed["lastSeq"], listed["change"], listed["lastMessage"]) == (4, 7, reply["message"])


async def test_what_may_not_be_done_is_refused_with_its_reason(stage: Stage) -> None:
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ana.send(chat, "hello")
    here = {"conversationId": chat, "seq": 1}
    edit = {**here, "idempotencyKey": "e", "body": "other"}

    async def code(event: str, payload: dict[str, Any], *, by: Any = ana) -> str:
        ack = await by.client.emit(event, payload)
        return str(ack["error"]["code"])

    assert await code("edit_message", edit, by=ben) == "forbidden"
    assert await code("delete_message", here, by=ben) == "forbidden"
    assert await code("edit_message", {**edit, "seq": 2}) == "message_not_found"
    message = (await ana.client.ok("edit_message", edit))["message"]
    assert (await ana.client.ok("edit_message", edit)) == {"ok": True, "message": message, "duplicate": True}
    conflict = await ana.client.emit("edit_message", {**edit, "idempotencyKey": "f", "body": "x", "ifChange": 1})
    assert (conflict["error"]["code"], conflict["error"]["present"]) == ("version_conflict", message)
    await ana.client.ok("delete_message", here)
    assert await code("edit_message", edit) == "message_deleted"
    assert await code("set_reaction", {**here, "reaction": "+", "on": True}, by=ben) == "message_deleted"
