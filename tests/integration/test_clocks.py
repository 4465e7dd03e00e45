"""A clock that is wrong and is set right while the server runs: what is ordered, what runs out, and what does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from socketserver.app import SHUTDOWN, STORE
from socketserver.chat.domain import MessageDraft
from socketserver.store.results import Appended
from typing import Any

import aiohttp
import pytest
from support.guarded import Chat, Raw, chatting, enter, http, knock, until

DAY_S = 86_400


async def titles(client: Raw, limit: int = 50) -> str:
    """The list's titles, page by page."""
    found = ""
    ask: dict[str, object] = {"limit": limit}
    while True:
        ack = await client.ask("list_conversations", ask)
        found += "".join(each["title"] for each in ack["conversations"])
        if ack["nextBefore"] is None:
            return found
        ask = {"limit": limit, "before": ack["nextBefore"]}


async def enter_for_days(session: aiohttp.ClientSession, chat: Chat, user: str) -> Raw:
    """With a token that outlives a clock that is a day ahead."""
    raw = await knock(session, chat)
    await raw.connect({"token": chat.token(user, 10 * DAY_S)})
    return raw


async def create(client: Raw, title: str) -> str:
    ack = await client.ask("create_conversation", {"participantIds": ["bob"], "title": title})
    return str(ack["conversation"]["id"])


@pytest.mark.parametrize("wrong_s", [DAY_S, 1800, 2])
async def test_lists_are_in_the_order_of_what_happened(wrong_s: float, tmp_path: Path) -> None:
    """The machine's clock was a day ahead and was set right: for a day the list was in the wrong order. Also after a
    restart, for new conversations, page by page, and for messages, whose order no clock decides."""
    options: dict[str, Any] = {
        "store_url": f"sqlite:///{tmp_path / 'chat.db'}",
        "events_per_second": 0,
        "messages_per_second": 0,
    }
    async with chatting(**options) as chat, http() as session:
        ann = await enter_for_days(session, chat, "ann")
        ids = {}
        for title in "abcd":
            ids[title] = await create(ann, title)
            chat.clock.advance(0.002)  # what happens in one millisecond has no order
        chat.clock.jump(wrong_s)
        await ann.message(ids["a"], "ahead")
        chat.clock.advance(0.002)
        ids["e"] = await create(ann, "e")
        assert await titles(ann) == "eadcb"
        chat.clock.jump(-wrong_s)
        for title in "bcb":
            ack = await ann.message(ids[title], "right again")
            assert abs(ack["message"]["createdAt"] - chat.clock.now_ms()) < 1000
        ids["f"] = await create(ann, "f")
        await ann.message(ids["d"], "right again")
        assert await titles(ann) == "dfbcea"
        assert await titles(ann, 1) == "dfbcea"
        await ann.message(ids["a"], "behind, by its time")
        joined = await ann.ask("join_conversation", {"conversationId": ids["a"]})
        assert [message["seq"] for message in joined["messages"]] == [1, 2]
        times = [message["createdAt"] for message in joined["messages"]]
        assert times[0] > times[1]
        assert await titles(ann) == "adfbce"
    async with chatting(**options) as chat, http() as session:
        ann = await enter_for_days(session, chat, "ann")
        await ann.message(ids["e"], "after a restart")
        await create(ann, "g")
        await ann.message(ids["c"], "after a restart")
        assert await titles(ann) == "cgeadfb"


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S, -1800])
async def test_rates_and_deadlines_do_not_follow_the_wall_clock(jump_s: float) -> None:
    """A leap gives nobody tokens, forgets no connects, ends no typing and no session: those go by monotonic time."""
    async with chatting(messages_per_second=0.001, messages_burst=1, auth_timeout_s=5) as chat, http() as session:
        ann, bob = await enter(session, chat, "ann"), await enter(session, chat, "bob")
        nobody = await enter(session, chat, None)
        where = {"conversationId": await create(ann, "t")}
        for each in (ann, bob):
            await each.ask("join_conversation", where)
        assert (await ann.message(where["conversationId"], "one"))["ok"]
        await ann.ask("set_typing", {**where, "typing": True})
        await bob.wait("user_typing")
        connects = chat.guards.sizes()
        chat.clock.hold()
        chat.clock.jump(jump_s)
        if jump_s > 0:  # the tokens are of an hour: those run out by the wall clock, as they must
            await until(lambda: chat.sessions.users == 0, "the tokens have run out")
            assert (await ann.end())[0]["code"] == "token_expired"
        else:
            for _ in range(3):
                await chat.housekeeping.tick()
            error = (await ann.message(where["conversationId"], "two"))["error"]
            assert error["code"] == "rate_limited"
            assert 900_000 < error["retryAfterMs"] <= 1_000_000
            assert not [event for event in bob.events if event[0] == "user_typing"]
            assert chat.sessions.users == 2
        assert chat.guards.sizes()["connects"] == connects["connects"]
        assert not nobody.closed
        chat.clock.advance(6)
        assert (await nobody.end())[0]["code"] == "auth_timeout"


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
async def test_a_leap_in_the_middle_of_a_stop(jump_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is stored and acked, the clients are told why, and the stop does not wait for the clock."""
    async with chatting() as chat, http() as session:
        ann = await enter_for_days(session, chat, "ann")
        conversation_id = await create(ann, "t")
        store = chat.app[STORE]
        append, begun, go = store.append_message, asyncio.Event(), asyncio.Event()

        async def held(draft: MessageDraft) -> Appended:
            begun.set()
            await go.wait()
            return await append(draft)

        monkeypatch.setattr(store, "append_message", held)
        message = {"conversationId": conversation_id, "idempotencyKey": "k", "body": "b"}
        number = await ann.emit("send_message", message)
        await begun.wait()
        stop = asyncio.ensure_future(chat.app[SHUTDOWN].end_clients())
        await until(lambda: chat.guards.draining, "the stop has begun")
        chat.clock.jump(jump_s)
        go.set()
        assert (await ann.ack(number))["ok"]
        assert (await ann.end())[0]["code"] == "restart"
        await stop
