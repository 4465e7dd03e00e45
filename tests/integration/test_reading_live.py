"""Automatic mark-as-read on the running server: what counts as seen."""

from __future__ import annotations

import asyncio
from socketserver.app import STORE
from typing import Any
from unittest import mock

import pytest
from support.guarded import chatting, enter, http, until


@pytest.mark.parametrize("request_", ["join_conversation", "set_visibility", "fetch_history"])
async def test_who_has_gone_has_read_nothing(request_: str) -> None:
    """A tab that was closed while its request waited for the store marked as read what nobody saw."""
    async with chatting() as chat, http() as session:
        alice, bob = await enter(session, chat, "alice"), await enter(session, chat, "bob")
        ack = await alice.ask("create_conversation", {"participantIds": ["bob"]})
        conversation_id = ack["conversation"]["id"]
        await bob.ask("join_conversation", {"conversationId": conversation_id, "visible": request_ == "fetch_history"})
        store = chat.app[STORE]
        entered, go = asyncio.Event(), asyncio.Event()

        def held(call: Any) -> Any:
            async def wait(*arguments: Any, **options: Any) -> Any:
                entered.set()
                await go.wait()
                return await call(*arguments, **options)

            return wait

        slow = {"join_conversation": "get_snapshot", "fetch_history": "list_messages"}.get(request_, "list_messages")
        with mock.patch.object(store, slow, held(getattr(store, slow))):
            payload: dict[str, Any] = {"conversationId": conversation_id}
            if request_ == "set_visibility":  # needs no store before it marks: it waits behind one that does
                await bob.emit("fetch_history", payload)
            if request_ != "fetch_history":
                payload["visible"] = True
            await bob.emit(request_, payload)
            await entered.wait()
            await bob.close()
            await until(lambda: not chat.sio.is_open(bob.sid), "the server knows that bob has gone")
            await alice.message(conversation_id, "nobody sees this")
            go.set()
            await until(lambda: len(chat.sessions) == 1, "everything that bob asked for is handled")
        chat.clock.advance(10)
        await until(lambda: not chat.housekeeping.read_marks, "no automatic read mark is due")
        again = await enter(session, chat, "bob")
        (listed,) = (await again.ask("list_conversations", {}))["conversations"]
        assert (listed["readSeq"], listed["unreadCount"]) == (0, 1)
