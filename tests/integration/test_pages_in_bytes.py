"""Answers whose messages and conversations are large: as much as fits into half of what a client may leave unread."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.engine import Http
from support.guarded import Chat, Raw, chatting, enter, http

OUTBOX_BYTES = 200_000
# Three bytes each in UTF-8.
LARGE = "漢" * 4000
COUNT = 40


async def tell(alice: Raw, **options: Any) -> str:
    """A conversation of COUNT large messages; returns its id."""
    ack = await alice.ask("create_conversation", {"participantIds": ["bob"], "title": "large", **options})
    conversation_id = str(ack["conversation"]["id"])
    for _ in range(COUNT):
        assert (await alice.message(conversation_id, LARGE))["ok"]
    return conversation_id


def large(chat: Chat) -> bool:
    return COUNT * len(LARGE.encode()) > 2 * chat.settings.outbox_bytes


def seqs(ack: dict[str, Any]) -> list[int]:
    assert ack["ok"], ack
    return [message["seq"] for message in ack["messages"]]


async def test_joining_and_resuming() -> None:
    """Somebody who asked for a page larger than the outbox was ended as a slow consumer, came back, and asked again."""
    async with chatting(outbox_bytes=OUTBOX_BYTES, messages_per_second=0) as chat, http() as session:
        alice, bob = await enter(session, chat, "alice"), await enter(session, chat, "bob")
        conversation_id = await tell(alice)
        assert large(chat)
        for _ in range(3):
            ack = await bob.ask("join_conversation", {"conversationId": conversation_id, "limit": 200})
            fitting = seqs(ack)
            assert fitting == list(range(COUNT - len(fitting) + 1, COUNT + 1))
            assert 5 < len(fitting) < 10
            assert "gap" not in ack
            ack = await bob.ask("join_conversation", {"conversationId": conversation_id, "after": 3, "limit": 200})
            assert seqs(ack) == fitting
            assert ack["gap"] == {"fromSeq": 4, "toSeq": fitting[0] - 1}
            ack = await bob.ask("join_conversation", {"conversationId": conversation_id, "after": 3, "limit": 20})
            assert (seqs(ack), ack["gap"]) == (fitting, {"fromSeq": 4, "toSeq": fitting[0] - 1})
            ack = await bob.ask("join_conversation", {"conversationId": conversation_id, "after": COUNT - 2})
            assert (seqs(ack), "gap" in ack) == ([COUNT - 1, COUNT], False)
        assert not any(name == "session_ended" for name, _ in bob.events)


@pytest.mark.parametrize("direction", ["beforeSeq", "afterSeq"])
async def test_history_goes_on_where_the_page_ends(direction: str) -> None:
    """Every message comes once, whichever way one reads."""
    async with chatting(outbox_bytes=OUTBOX_BYTES, messages_per_second=0) as chat, http() as session:
        alice = await enter(session, chat, "alice")
        conversation_id = await tell(alice)
        found: list[int] = []
        cursor = COUNT + 1 if direction == "beforeSeq" else 0
        more = True
        while more:
            ask = {"conversationId": conversation_id, direction: cursor, "limit": 200}
            ack = await alice.ask("fetch_history", ask)
            page = seqs(ack)
            found = page + found if direction == "beforeSeq" else found + page
            cursor = page[0] if direction == "beforeSeq" else page[-1]
            more = ack["hasMore"]
        assert found == list(range(1, COUNT + 1))


async def test_a_list_of_large_groups() -> None:
    """Every conversation is listed once."""
    async with chatting(outbox_bytes=40_000, events_per_second=0, listed_participants=1000) as chat, http() as session:
        alice = await enter(session, chat, "alice")
        people = [f"somebody-{number:04}" for number in range(200)]
        for number in range(12):
            ack = await alice.ask("create_conversation", {"participantIds": people, "title": f"group {number}"})
            assert ack["ok"]
        listed: list[str] = []
        before: str | None = None
        pages = 0
        while pages == 0 or before is not None:
            ack = await alice.ask("list_conversations", {} if before is None else {"before": before})
            listed += [conversation["title"] for conversation in ack["conversations"]]
            assert ack["hasMore"] == (ack["nextBefore"] is not None)
            before = ack["nextBefore"]
            pages += 1
        assert sorted(listed) == sorted(f"group {number}" for number in range(12))
        assert pages > 2


async def test_one_message_that_is_larger_than_a_page() -> None:
    """It is a page of its own."""
    async with chatting(outbox_bytes=2_000, messages_per_second=0) as chat, http() as session:
        alice = await enter(session, chat, "alice")
        ack = await alice.ask("create_conversation", {"participantIds": ["bob"]})
        conversation_id = ack["conversation"]["id"]
        for _ in range(2):
            await alice.message(conversation_id, LARGE)
        ack = await alice.ask("fetch_history", {"conversationId": conversation_id})
        assert (seqs(ack), ack["hasMore"]) == ([2], True)


async def test_a_polling_client_gets_a_page_between_two_polls() -> None:
    """It got "Session ID unknown", and was told nothing."""
    async with chatting(outbox_bytes=OUTBOX_BYTES, messages_per_second=0) as chat, http() as session:
        alice = await enter(session, chat, "alice")
        conversation_id = await tell(alice)
        polling = Http(chat.url, session)
        sid = await polling.handshake()
        await polling.post(sid, "40" + json.dumps({"token": chat.token("bob")}))
        text = (await polling.poll(sid))[1]
        while "welcome" not in text:
            text += (await polling.poll(sid))[1]
        ask = ["fetch_history", {"conversationId": conversation_id, "limit": 200}]
        assert (await polling.post(sid, "421" + json.dumps(ask)))[0] == 200
        status, text = await polling.poll(sid)
        assert (status, text[:4]) == (200, "431[")
        assert 0 < len(seqs(json.loads(text[3:])[0])) < COUNT
