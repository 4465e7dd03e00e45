"""What requests cost is what they are charged; large groups are told in part, and page by page."""

from __future__ import annotations

import asyncio
from socketserver.chat.domain import ConversationDraft, ConversationId, UserId, new_id
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from support.guarded import Chat, Raw, chatting, enter, http

PEOPLE = [f"user-{number:04}" for number in range(1000)]


async def groups(chat: Chat, count: int, people: list[str]) -> None:
    """Put groups into the store, past the rates."""
    store = next(value for value in chat.app.values() if isinstance(value, SqliteStore))
    ids = tuple(UserId(each) for each in sorted(people))
    await asyncio.gather(
        *(
            store.create_conversation(
                ConversationDraft(ConversationId(new_id()), "group", f"group {number}", ids[0], ids, number + 1, None)
            )
            for number in range(count)
        )
    )


async def create(alice: Raw, people: list[str]) -> str:
    ack = await alice.ask("create_conversation", {"participantIds": people, "title": "large"})
    return str(ack["conversation"]["id"])


async def members(client: Raw, conversation_id: str, limit: int) -> list[str]:
    """All participants, page by page."""
    found: list[str] = []
    after: str | None = None
    while True:
        ask = {"conversationId": conversation_id, "limit": limit, **({"after": after} if after else {})}
        ack = await client.ask("list_participants", ask)
        assert ack["ok"], ack
        found += [each["userId"] for each in ack["participants"]]
        after = ack["nextAfter"]
        assert ack["hasMore"] == (after is not None)
        if after is None:
            return found


@pytest.mark.parametrize("size", [19, 20, 21, 99, 100, 101, 1000])
async def test_a_group_is_told_in_part_and_page_by_page(size: int) -> None:
    """Each list, announcement and join of a group of a thousand carried a thousand ids."""
    people = PEOPLE[:size]
    me = people[-1]  # last in the order of ids: named where the user is, although behind the first few
    async with chatting(events_per_second=0) as chat, http() as session:
        client, other = await enter(session, chat, me), await enter(session, chat, people[0])
        conversation_id = await create(client, people)
        announced = (await other.wait("conversation_created"))["conversation"]
        listed = (await client.ask("list_conversations", {}))["conversations"][0]
        joined = await client.ask("join_conversation", {"conversationId": conversation_id})
        for told in (announced, listed, joined["conversation"]):
            assert told["participantIds"] == people[:20]
            assert told["participantCount"] == size
        shown = [each["userId"] for each in joined["participants"]]
        assert shown == people[:100] + ([me] if size > 100 else [])
        for limit in (200, 7) if size < 200 else (200,):
            assert await members(client, conversation_id, limit) == people


async def test_a_direct_conversation_names_both() -> None:
    """However few may be named."""
    async with chatting(listed_participants=2, joined_participants=2) as chat, http() as session:
        alice = await enter(session, chat, "alice")
        ack = await alice.ask("create_conversation", {"participantIds": ["bob"]})
        assert ack["conversation"]["participantIds"] == ["alice", "bob"]
        joined = await alice.ask("join_conversation", {"conversationId": ack["conversation"]["id"]})
        assert [each["userId"] for each in joined["participants"]] == ["alice", "bob"]


async def test_participants_are_for_participants() -> None:
    """A stranger cannot tell a group that exists from one that does not; presence and marks come with the page."""
    async with chatting() as chat, http() as session:
        alice, bob, eve = [await enter(session, chat, name) for name in ("alice", "bob", "eve")]
        conversation_id = await create(alice, ["bob", "carol"])
        await alice.message(conversation_id, "hello")
        ack = await bob.ask("list_participants", {"conversationId": conversation_id})
        found = {each["userId"]: (each["online"], each["readSeq"]) for each in ack["participants"]}
        assert found == {"alice": (True, 1), "bob": (True, 0), "carol": (False, 0)}
        refusals = [await eve.ask("list_participants", {"conversationId": each}) for each in (conversation_id, "none")]
        assert refusals[0] == refusals[1]
        assert refusals[0]["error"]["code"] == "conversation_not_found"


async def test_a_page_costs_more_than_a_sign_of_typing() -> None:
    """Pages of 200 groups of 1 000 were answered 20 a second for one token each."""
    async with chatting(events_per_second=1, events_burst=20) as chat, http() as session:
        await groups(chat, 200, PEOPLE)
        alice = await enter(session, chat, PEOPLE[0])
        chat.clock.hold()
        answered = 0
        while (ack := await alice.ask("list_conversations", {"limit": 200}))["ok"]:
            assert len(ack["conversations"]) == 200
            answered += 1
        assert answered < 8
        error = ack["error"]
        assert (error["code"], error["retryable"]) == ("rate_limited", True)
        # What it says is true: a moment before it there is nothing, then there is room for one.
        chat.clock.advance(error["retryAfterMs"] / 1000 - 0.5)
        assert not (await alice.ask("list_conversations", {"limit": 200}))["ok"]
        chat.clock.advance(0.5)
        assert (await alice.ask("list_conversations", {"limit": 1}))["ok"]


async def test_long_bodies_cost_by_their_length() -> None:
    """Few rows, many bytes."""
    async with chatting(events_per_second=0.001, events_burst=20, messages_per_second=0) as chat, http() as session:
        alice = await enter(session, chat, "alice")
        conversation_id = await create(alice, ["bob"])
        for _ in range(40):
            await alice.message(conversation_id, "漢" * 4000)
        bob = await enter(session, chat, "bob")
        acks = [await bob.ask("fetch_history", {"conversationId": conversation_id, "limit": 40}) for _ in range(4)]
        assert [ack["ok"] for ack in acks] == [True, True, True, False]
        assert (await alice.ask("fetch_history", {"conversationId": conversation_id, "limit": 1}))["ok"], "own bucket"


async def test_a_stock_application_is_not_touched() -> None:
    """Open a page (list, join, history), then read a list of 4 000 conversations page by page, with the defaults."""
    async with chatting() as chat, http() as session:
        await groups(chat, 4000, ["alice", "bob", "carol"])
        alice = await enter(session, chat, "alice")
        ack = await alice.ask("list_conversations", {"limit": 50})
        opened = {"conversationId": ack["conversations"][0]["id"], "limit": 50}
        for number in range(60):
            if number % 20 == 0:
                chat.clock.advance(5)  # messages have a rate of their own
            assert (await alice.message(opened["conversationId"], "a message of ordinary length " * 4))["ok"]
        assert (await alice.ask("join_conversation", {**opened, "visible": True}))["ok"]
        assert (await alice.ask("fetch_history", {**opened, "beforeSeq": 40}))["ok"]
        listed = 0
        ask: dict[str, Any] = {"limit": 50}
        while True:
            ack = await alice.ask("list_conversations", ask)
            assert ack["ok"], f"after {listed} conversations: {ack}"
            listed += len(ack["conversations"])
            if ack["nextBefore"] is None:
                break
            ask = {"limit": 50, "before": ack["nextBefore"]}
        assert listed == 4000


async def test_looking_through_large_groups_is_charged() -> None:
    """Whoever makes the server read a thousand participants pays for them, once; they are in memory then."""
    async with chatting(events_per_second=0.001, events_burst=20, cached_conversations=2) as chat, http() as session:
        await groups(chat, 4, PEOPLE)
        alice = await enter(session, chat, PEOPLE[0])
        ids = [each["id"] for each in (await alice.ask("list_conversations", {}))["conversations"]]
        acks = [await alice.ask("leave_conversation", {"conversationId": ids[0]}) for _ in range(5)]
        assert all(ack["ok"] for ack in acks)
        acks = [await alice.ask("leave_conversation", {"conversationId": each}) for each in ids]
        assert [ack["ok"] for ack in acks] == [True, True, False, False]
