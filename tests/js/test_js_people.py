"""Who is removed from a conversation hears no more of it, over both transports and in the middle of an upgrade."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.node import TRANSPORTS, Node, Transport
from support.servers import serving, token
from support.stage import Person, Stage, next_key

OPTIONS: dict[str, Any] = {
    "sockets_per_user": 3,
    "messages_per_second": 0,
    "messages_burst": 1_000_000,
    "events_per_second": 0,
}


def check_log(person: Person, chat: str) -> None:
    """Nothing of the conversation came between its end and its next beginning."""
    known = True
    for seen in person.client.log:
        if seen.event in {"conversation_removed", "conversation_created"}:
            known = seen.event == "conversation_created"
        else:
            assert known or chat not in str(seen.args), seen


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nothing_reaches_the_removed_under_load(database: Path, node: Node, transport: Transport) -> None:
    async with serving(database, **OPTIONS) as server:
        stage = Stage(server, node)
        ann, cat = await stage.people("ann", "cat")
        ben = await stage.person("ben", transport=transport)
        chat = await ann.create("ben", "cat", title="plans")
        await ann.join(chat)
        await cat.join(chat)
        writing = True

        async def write(who: Person) -> None:
            while writing:
                await who.send(chat, "secret")

        async def ask() -> None:
            while writing:
                await ben.client.emit("join_conversation", {"conversationId": chat, "limit": 5})
                sent = {"conversationId": chat, "idempotencyKey": next_key(), "body": "mine"}
                await ben.client.emit("send_message", sent)

        tasks = [asyncio.ensure_future(work) for work in (write(ann), write(cat), ask())]
        try:
            for _ in range(5):
                mark = ben.client.mark()
                late = Person("ben", await stage.open(auth={"token": token("ben")}, transport=transport))
                await late.client.wait("welcome")  # the upgrade is only beginning
                joining = asyncio.ensure_future(late.client.emit("join_conversation", {"conversationId": chat}))
                removed = await ann.client.ok("remove_participant", {"conversationId": chat, "userId": "ben"})
                number = removed["message"]["change"]
                await joining
                for each in (ben, late):
                    await each.client.wait("conversation_removed", after=mark if each is ben else 0)
                    await each.settle()
                    told = each.client.seen("message_created", after=mark if each is ben else 0)
                    assert all(seen["message"]["change"] < number for seen in told)
                answer: Any = await late.client.emit("join_conversation", {"conversationId": chat})
                assert answer["error"]["code"] == "conversation_not_found"
                check_log(late, chat)
                await late.client.disconnect()
                mark = ben.client.mark()
                people = {"userIds": ["ben"], "history": "none", "idempotencyKey": next_key()}
                await ann.client.ok("add_participants", {"conversationId": chat, **people})
                await ben.client.wait("message_created", after=mark)
        finally:
            writing = False
            await asyncio.gather(*tasks)
        check_log(ben, chat)
        assert (await ann.join(chat))["change"] == (await cat.join(chat))["change"]
