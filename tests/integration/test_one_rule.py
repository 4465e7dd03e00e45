"""A value has the same rule at every door of a running server, and what an older one let in stays readable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.chat.domain import ConversationDraft, ConversationId, MessageDraft, MessageId, UserId
from socketserver.store import open_store

import aiohttp
import pytest
from support.servers import LocalServer, serving
from support.wire import wire_to

COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with serving(tmp_path / "chat.db", messages_per_second=0, events_per_second=0) as server:
        yield server


@pytest.mark.parametrize("user", [" ", "\t", "bob\x07", "bob\u200b", "b\u2028ob", "x" * 129, ""])
async def test_a_participant_is_refused_as_a_login_is(server: LocalServer, user: str) -> None:
    """participantIds took `" "`, `"\\t"` and `"bob\\u0007"`, for whom no token can exist."""
    async with wire_to(server.url) as wire, aiohttp.ClientSession() as http:
        ana = await wire.person("ana")
        error = await ana.client.refused("create_conversation", {"participantIds": [user]})
        assert error["code"] == "invalid_payload"
        assert list(error["fields"]) == ["participantIds"]
        async with http.post(f"{server.url}/session", json={"user": user}) as answer:
            assert answer.status == 400


async def test_two_ways_to_write_a_name_are_one_participant(server: LocalServer) -> None:
    """A decomposed é in participantIds was another user than the one who logged in with it."""
    async with wire_to(server.url) as wire, aiohttp.ClientSession() as http:
        async with http.post(f"{server.url}/session", json={"user": DECOMPOSED}) as answer:
            assert (await answer.json())["user"]["id"] == COMPOSED
        ana = await wire.person("ana")
        chat = await ana.create(DECOMPOSED)
        assert chat == await ana.create(COMPOSED)
        zoe = await wire.person(COMPOSED)
        await zoe.join(chat)
        await ana.join(chat)
        await ana.send(chat, "hello")
        assert (await zoe.client.wait("message_created"))["message"]["body"] == "hello"


@pytest.mark.parametrize(
    "text", [" ", "\n", "\u200b", "\u2800", "\u3164", "\u00ad", "\ufeff", "\u2060", "\u200e", "\ufe0f"]
)
async def test_texts_that_show_nothing_are_refused(server: LocalServer, text: str) -> None:
    """Bodies of U+200B and titles of a line end were stored."""
    async with wire_to(server.url) as wire:
        ana = await wire.person("ana")
        chat = await ana.create("ben")
        payload = {"conversationId": chat, "idempotencyKey": "k"}
        error = await ana.client.refused("send_message", {**payload, "body": text})
        assert error["fields"] == {"body": ["Is blank."]}
        error = await ana.client.refused("create_conversation", {"participantIds": ["ben"], "title": text})
        assert error["fields"] == {"title": ["Is blank."]}
        sent = await ana.client.ok("send_message", {**payload, "body": f"{text}👩\u200d💻{text}"})
        assert sent["message"]["body"] == f"{text}👩\u200d💻{text}"


async def test_whole_floats_are_integers(server: LocalServer) -> None:
    """`seq: 1.0`, which Lua and some Swift and C# code sends, was "Not an integer."."""
    async with wire_to(server.url) as wire:
        ana, ben = await wire.people("ana", "ben")
        chat = await ana.create("ben")
        await ana.send(chat, "hello")
        assert (await ben.client.ok("mark_read", {"conversationId": chat, "seq": 1.0}))["readSeq"] == 1
        page = await ben.client.ok("fetch_history", {"conversationId": chat, "afterSeq": 0.0, "limit": 10.0})
        assert [message["seq"] for message in page["messages"]] == [1]
        for wrong in (1.5, 2.0**53, True, "1"):
            error = await ben.client.refused("mark_read", {"conversationId": chat, "seq": wrong})
            assert list(error["fields"]) == ["seq"]


async def test_what_an_older_server_stored_stays_readable(tmp_path: Path) -> None:
    """A conversation with ids, a title and a body that would be refused today is listed, joined and written to."""
    database = tmp_path / "chat.db"
    store = open_store(f"sqlite:///{database}")
    await store.open()
    others = ("ana", "bob\x07", DECOMPOSED, "\t")
    draft = ConversationDraft(
        ConversationId("old"), "group", "\n", UserId("ana"), tuple(sorted(map(UserId, others))), 1, None
    )
    await store.create_conversation(draft)
    await store.append_message(MessageDraft(MessageId("m"), draft.id, UserId("bob\x07"), "k", "\u200b", None, 2))
    await store.close()
    async with serving(database) as server, wire_to(server.url) as wire:
        ana = await wire.person("ana")
        listed = (await ana.client.ok("list_conversations", {}))["conversations"]
        assert [(each["title"], sorted(each["participantIds"])) for each in listed] == [("\n", sorted(others))]
        joined = await ana.client.ok("join_conversation", {"conversationId": "old"})
        assert [message["body"] for message in joined["messages"]] == ["\u200b"]
        await ana.send("old", "still here")
