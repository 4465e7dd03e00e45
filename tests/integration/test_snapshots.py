"""What an event announces is in an answer too: who comes later knows as much as who was there.

Source: docs/decisions/0019-what-is-announced-is-in-an-answer-too.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from socketserver.wire.protocol import ClientEvent, ServerEvent
from typing import Any, get_type_hints

import pytest
from support.servers import LocalServer, serving
from support.waiting import eventually
from support.wire import Wire, WirePerson, wire_to

Answers = dict[str, dict[str, Any]]


def test_every_event_has_its_answer() -> None:
    """A new event is given a place where its state can be asked for, before it is merged; the field exists."""
    missing = [
        (event, request, field)
        for event in ServerEvent
        for request, field in (event.row.snapshot or {}).items()
        if field not in get_type_hints(ClientEvent[request.upper()].row.ack)
    ]
    assert not missing


def entry(of: Any, **which: Any) -> dict[str, Any]:
    """The one object of a list with these fields."""
    (found,) = [each for each in of if all(each[key] == value for key, value in which.items())]
    assert isinstance(found, dict)
    return found


class Scene:
    """Ann does something, Ben hears of it, and Ben's next connection has heard nothing."""

    def __init__(self, server: LocalServer, wire: Wire, ann: WirePerson, ben: WirePerson, chat: str) -> None:
        self.server, self.wire, self.ann, self.ben, self.chat = server, wire, ann, ben, chat

    async def later(self) -> Answers:
        """What Ben gets who comes now, by the acks' events."""
        again = await self.wire.person("ben")
        return {
            "list_conversations": await again.client.ok("list_conversations", {}),
            "join_conversation": await again.join(self.chat),
            "join again": await again.join(self.chat, after=1),
            "fetch_changes": await again.client.ok("fetch_changes", {"conversationId": self.chat, "after": 1}),
            "fetch_history": await again.client.ok("fetch_history", {"conversationId": self.chat}),
        }

    async def say(self, **what: Any) -> None:
        await self.ann.client.ok("set_typing", {"conversationId": self.chat, **what})

    async def message_created(self) -> Any:
        await self.ben.join(self.chat)
        await self.ann.send(self.chat, "hello")
        return await self.ben.client.wait("message_created")

    async def message_updated(self) -> Any:
        await self.ben.join(self.chat)
        await self.ann.send(self.chat, "hello")
        await self.ann.client.ok(
            "edit_message", {"conversationId": self.chat, "seq": 1, "idempotencyKey": "e", "body": "good day"}
        )
        return await self.ben.client.wait("message_updated")

    async def conversation_activity(self) -> Any:
        await self.ann.send(self.chat, "hello")
        return await self.ben.client.wait("conversation_activity")

    async def conversation_created(self) -> Any:
        await self.ann.create("ben", title="another")
        return await self.ben.client.wait("conversation_created", lambda seen: seen["conversation"]["title"])

    async def conversation_updated(self) -> Any:
        await self.ann.send(self.chat, "hello")
        await self.ann.send(self.chat, "gone")
        await self.ann.client.ok("delete_message", {"conversationId": self.chat, "seq": 2})
        return await self.ben.client.wait("conversation_updated")

    async def participants_changed(self) -> Any:
        self.chat = await self.ann.create("ben", title="a group")
        await self.ben.join(self.chat)
        people = {"userIds": ["cat"], "history": "all", "idempotencyKey": "k", "role": "admin"}
        await self.ann.client.ok("add_participants", {"conversationId": self.chat, **people})
        return await self.ben.client.wait("participants_changed")

    async def conversation_removed(self) -> Any:
        group = await self.ann.create("ben", title="a group")
        await self.ann.client.ok("remove_participant", {"conversationId": group, "userId": "ben"})
        return await self.ben.client.wait("conversation_removed")

    async def messages_read(self) -> Any:
        await self.ben.join(self.chat)
        await self.ben.send(self.chat, "hello")
        await self.ann.client.ok("mark_read", {"conversationId": self.chat, "seq": 1})
        return await self.ben.client.wait("messages_read", lambda seen: seen["userId"] == "ann")

    async def settings_changed(self) -> Any:
        what = {"conversationId": self.chat, "pinned": True, "markedUnread": True}
        await self.ben.client.ok("update_settings", what)
        return await self.ben.client.wait("settings_changed")

    async def user_typing(self) -> Any:
        await self.ben.join(self.chat)
        await self.ann.join(self.chat)
        await self.say(typing=True)
        return await self.ben.client.wait("user_typing")

    async def presence_changed(self) -> Any:
        await self.ben.join(self.chat)
        await self.ann.client.close()
        await eventually("ann is gone", lambda: len(self.server.sessions) == 1)
        self.server.clock.advance(16)
        return await self.ben.client.wait("presence_changed", lambda seen: seen["userId"] == "ann")

    async def profile_changed(self) -> Any:
        await self.ben.join(self.chat)
        await self.wire.person("ann", name="Ann A.", picture="https://example.com/ann.png")
        return await self.ben.client.wait("profile_changed", lambda seen: seen["userId"] == "ann")


def in_the_answers(event: ServerEvent, seen: dict[str, Any], answers: Answers, chat: str) -> None:
    """The event's state, read from the answers, is what the event said."""
    listed, joined, history = (answers[each] for each in ("list_conversations", "join_conversation", "fetch_history"))
    if event == ServerEvent.MESSAGE_CREATED:
        assert seen["message"] == joined["messages"][-1] == history["messages"][-1]
        assert seen["message"] == entry(listed["conversations"], id=chat)["lastMessage"]
    elif event == ServerEvent.MESSAGE_UPDATED:
        assert [seen["message"]] == joined["messages"] == history["messages"]
        assert [seen["message"]] == answers["join again"]["updates"] == answers["fetch_changes"]["messages"]
    elif event == ServerEvent.CONVERSATION_ACTIVITY:
        assert seen["seq"] == entry(listed["conversations"], id=chat)["lastSeq"]
    elif event == ServerEvent.CONVERSATION_CREATED:
        found = entry(listed["conversations"], id=seen["conversation"]["id"])
        assert {key: found[key] for key in seen["conversation"]} == seen["conversation"]
    elif event == ServerEvent.PARTICIPANTS_CHANGED:
        (added,) = seen["added"]
        assert entry(joined["participants"], userId="cat")["role"] == added["role"] == "admin"
        assert joined["messages"][-1]["change"] == seen["change"] == joined["change"]
    elif event == ServerEvent.CONVERSATION_REMOVED:
        assert [each["id"] for each in listed["conversations"]] == [chat]
    elif event == ServerEvent.CONVERSATION_UPDATED:
        found = entry(listed["conversations"], id=chat)
        assert {key: found[key] for key in seen["conversation"]} == seen["conversation"]
        assert (seen["lastMessage"], seen["uncountedSeq"]) == (found["lastMessage"], 2)
        assert found["unreadCount"] == 1
    elif event == ServerEvent.MESSAGES_READ:
        mark = entry(joined["participants"], userId=seen["userId"])
        assert (mark["readSeq"], mark["readAt"]) == (seen["readSeq"], seen["readAt"])
    elif event == ServerEvent.SETTINGS_CHANGED:
        assert seen["settings"] == joined["settings"] == entry(listed["conversations"], id=chat)["settings"]
    elif event == ServerEvent.USER_TYPING:
        assert joined["typing"] == [seen["userId"]]
    elif event == ServerEvent.PROFILE_CHANGED:
        assert seen["name"] == "Ann A."
        found = entry(joined["participants"], userId=seen["userId"])
        assert seen == entry(listed["profiles"], userId=seen["userId"])
        assert seen == {key: found[key] for key in seen}
    else:
        found = entry(joined["participants"], userId=seen["userId"])
        assert seen == entry(listed["presence"], userId=seen["userId"])
        assert seen == {key: found[key] for key in seen}


@pytest.mark.parametrize("event", [event for event in ServerEvent if event.row.snapshot])
async def test_who_comes_later_knows_as_much(tmp_path: Path, event: ServerEvent) -> None:
    """Who joined or came back in the middle of things never heard that somebody types."""
    async with serving(tmp_path / "chat.db", sockets_per_user=2) as server, wire_to(server.url) as wire:
        ann, ben = await wire.people("ann", "ben")
        scene = Scene(server, wire, ann, ben, await ann.create("ben"))
        act: Callable[[], Awaitable[Any]] = getattr(scene, event.value)
        seen = await act()
        in_the_answers(event, seen, await scene.later(), scene.chat)


async def test_typing_that_has_ended_is_in_no_answer(tmp_path: Path) -> None:
    """Of two devices the one that stopped hid the other; and who types is not told to oneself."""
    async with serving(tmp_path / "chat.db", sockets_per_user=2) as server, wire_to(server.url) as wire:
        ann, phone, ben = await wire.people("ann", "ann", "ben")
        server.clock.hold()
        chat = await ann.create("ben")
        where = {"conversationId": chat}
        for each in (ann, phone, ben):
            await each.join(chat)
        for each in (ann, phone):
            await each.client.ok("set_typing", {**where, "typing": True})
        assert (await phone.join(chat))["typing"] == []
        await ann.send(chat, "sent, and typing on the phone")
        assert (await ben.join(chat))["typing"] == ["ann"]
        assert [seen["typing"] for seen in ben.client.seen("user_typing")] == [True]
        server.clock.advance(3)
        await phone.client.ok("set_typing", {**where, "typing": True})
        await ben.client.wait_count("user_typing", 2)
        await phone.client.close()
        await ben.client.wait_count("user_typing", 3)
        assert [seen["typing"] for seen in ben.client.seen("user_typing")] == [True, True, False]
        assert (await ben.join(chat))["typing"] == []
        assert ann.client.seen("user_typing") == []
