"""One's own settings, unread mentions and previews, over real sockets: what each device of a user is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from support.servers import serving
from support.wire import Wire, WirePerson, wire_to

NOTHING: Final = {"muted": False, "pinned": False, "archived": False, "markedUnread": False}


class Scene:
    """Ann on one device, Ben on two, of which the second has joined nothing."""

    def __init__(self, wire: Wire, ann: WirePerson, ben: WirePerson, phone: WirePerson, chat: str) -> None:
        self.wire, self.ann, self.ben, self.phone, self.chat = wire, ann, ben, phone, chat

    async def settle(self, who: WirePerson, **what: bool) -> dict[str, Any]:
        ack = await who.client.ok("update_settings", {"conversationId": self.chat, **what})
        settings: dict[str, Any] = ack["settings"]
        return settings

    async def listed(self, who: WirePerson) -> dict[str, Any]:
        (summary,) = (await who.client.ok("list_conversations", {}))["conversations"]
        assert isinstance(summary, dict)
        return summary

    async def told(self, who: WirePerson) -> list[Any]:
        """Every settings_changed so far."""
        await who.settle()
        return [seen["settings"] for seen in who.client.seen("settings_changed")]

    async def edit(self, seq: int, body: str, *mentions: str) -> None:
        payload = {"conversationId": self.chat, "seq": seq, "idempotencyKey": f"e{len(body)}", "body": body}
        await self.ann.client.ok("edit_message", {**payload, "mentions": list(mentions)})

    async def delete(self, seq: int) -> None:
        await self.ann.client.ok("delete_message", {"conversationId": self.chat, "seq": seq})


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with serving(tmp_path / "chat.db", sockets_per_user=2) as server, wire_to(server.url) as wire:
        ann, ben, phone = await wire.people("ann", "ben", "ben")
        yield Scene(wire, ann, ben, phone, await ann.create("ben", "cat"))


async def test_what_is_settled_on_one_device_is_so_on_the_other(scene: Scene) -> None:
    assert (await scene.listed(scene.ben))["settings"] == NOTHING
    assert await scene.settle(scene.ben, muted=True) == {**NOTHING, "muted": True}
    assert await scene.settle(scene.phone, pinned=True, archived=True) == {
        **NOTHING,
        **dict.fromkeys(("muted", "pinned", "archived"), True),
    }
    now = await scene.settle(scene.ben, archived=False)
    assert (await scene.listed(scene.phone))["settings"] == (await scene.phone.join(scene.chat))["settings"] == now
    assert [each["archived"] for each in await scene.told(scene.phone)] == [False, True, False]
    assert await scene.told(scene.ben) == await scene.told(scene.phone)
    assert await scene.told(scene.ann) == []
    assert (await scene.listed(scene.ann))["settings"] == NOTHING
    stranger = await scene.wire.person("dan")
    error = await stranger.client.refused("update_settings", {"conversationId": scene.chat, "muted": True})
    assert error["code"] == "conversation_not_found"


@pytest.mark.parametrize("way", ["mark_read", "visible join", "set_visibility", "an older mark", "sending"])
async def test_reading_ends_marked_unread_where_all_was_read(scene: Scene, way: str) -> None:
    """Somebody marks a conversation to come back to it, and comes back."""
    where = {"conversationId": scene.chat}
    for body in ("one", "two"):
        await scene.ann.send(scene.chat, body)
    await scene.ben.join(scene.chat)
    await scene.ben.client.ok("mark_read", {**where, "seq": 2})
    await scene.settle(scene.phone, markedUnread=True)
    summary = await scene.listed(scene.ben)
    assert (summary["settings"]["markedUnread"], summary["unreadCount"], summary["readSeq"]) == (True, 0, 2)
    ended = way != "an older mark"
    if way == "mark_read":
        await scene.ben.client.ok("mark_read", {**where, "seq": 2})
    elif way == "an older mark":
        await scene.ben.client.ok("mark_read", {**where, "seq": 1})
    elif way == "visible join":
        assert (await scene.phone.join(scene.chat))["settings"]["markedUnread"]
        assert (await scene.ben.join(scene.chat, visible=True))["settings"] == NOTHING
    elif way == "set_visibility":
        await scene.ben.client.ok("set_visibility", {**where, "visible": True})
    else:
        await scene.ben.send(scene.chat, "three")
    assert (await scene.listed(scene.phone))["settings"]["markedUnread"] is not ended
    marks = [each["markedUnread"] for each in await scene.told(scene.phone)]
    assert marks == ([True, False] if ended and way != "sending" else [True])


async def test_unread_mentions_are_those_of_the_messages_as_they_are(scene: Scene) -> None:
    """Told live, to devices that have joined and to those that have not, as many as the list then says."""
    await scene.ben.join(scene.chat)
    await scene.ann.send(scene.chat, "hello", mentions=["ben"])
    await scene.ann.send(scene.chat, "you", mentions=["cat"])
    await scene.edit(2, "you two", "ben", "cat")
    await scene.edit(1, "hello again", "ben")
    await scene.ann.send(scene.chat, "three", mentions=["ben"])
    await scene.edit(3, "3")
    await scene.ann.send(scene.chat, "four", mentions=["ben"])
    await scene.delete(4)
    assert (await scene.listed(scene.phone))["unreadMentions"] == 2
    assert (await scene.phone.join(scene.chat))["unreadMentions"] == 2
    for who in (scene.ben, scene.phone):
        await who.settle()
        mentions = [seen["mentions"] for seen in who.client.seen("conversation_updated") if "mentions" in seen]
        assert mentions == [
            {"seq": 2, "added": ["ben"], "removed": []},
            {"seq": 3, "added": [], "removed": ["ben"]},
            {"seq": 4, "added": [], "removed": ["ben"]},
        ]
    activity = [seen.get("mentions", []) for seen in scene.phone.client.seen("conversation_activity")]
    assert activity == [["ben"], ["cat"], ["ben"], ["ben"]]
    await scene.ben.client.ok("mark_read", {"conversationId": scene.chat, "seq": 1})
    assert (await scene.listed(scene.phone))["unreadMentions"] == 1
    assert (await scene.ben.join(scene.chat, visible=True))["unreadMentions"] == 0


async def test_a_list_that_follows_events_shows_what_a_new_one_does(scene: Scene) -> None:
    """A device kept showing the text that was edited away, and counted a message that was deleted."""
    for body in ("one", "two", "three"):
        await scene.ann.send(scene.chat, body)
    await scene.edit(3, "tres")
    await scene.delete(2)
    await scene.delete(3)
    await scene.edit(1, "uno")
    await scene.phone.settle()
    updates = scene.phone.client.seen("conversation_updated")
    assert [each.get("uncountedSeq") for each in updates] == [None, 2, 3, None]
    shown = [each["lastMessage"]["body"] for each in updates if "lastMessage" in each]
    assert shown == ["tres", "one", "uno"]
    summary = await scene.listed(scene.phone)
    assert (summary["lastMessage"], summary["unreadCount"]) == (updates[-1]["lastMessage"], 1)
