"""People, roles and titles of conversations, on a running server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from socketserver.chat.domain import UserId
from typing import Any

from support.servers import serving
from support.stage import Actor, next_key
from support.waiting import eventually
from support.wire import WirePerson, wire_to


async def add(actor: Actor, chat: str, *users: str, history: str = "all", **more: Any) -> dict[str, Any]:
    payload = {"conversationId": chat, "userIds": users, "history": history, "idempotencyKey": next_key(), **more}
    return await actor.client.ok("add_participants", payload)


async def remove(actor: Actor, chat: str, user: str, **more: Any) -> dict[str, Any]:
    return await actor.client.ok("remove_participant", {"conversationId": chat, "userId": user, **more})


async def refused(actor: Actor, event: str, **payload: Any) -> str:
    return str((await actor.client.refused(event, payload))["code"])


async def make_group(ann: Actor, *others: str) -> str:
    return await ann.create(*others, title="plans")


async def test_people_come_and_go(tmp_path: Path) -> None:
    """What everybody is told, in which order."""
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, ben, cat = await wire.people("ann", "ben", "cat")
        chat = await make_group(ann, "ben")
        await ann.join(chat)
        await ben.join(chat)
        ack = await add(ann, chat, "cat", role="admin", history="none")
        assert ack["conversation"]["participantIds"] == ["ann", "ben", "cat"]
        message = ack["message"]
        assert (message["kind"], message["body"], message["seq"]) == ("system", "ann added cat as an admin.", 1)
        assert message["system"] == {"type": "added", "userIds": ["cat"], "role": "admin"}
        created = await cat.client.wait("conversation_created")
        assert created["conversation"] == ack["conversation"]
        assert (await ben.client.wait("message_created"))["message"] == message
        told = {"conversationId": chat, "change": 1, "removed": [], "roles": []}
        assert await ben.client.wait("participants_changed") == {
            **told,
            "added": [{"userId": "cat", "role": "admin"}],
            "profiles": [{"userId": "cat"}],
        }
        updated = await cat.client.wait("conversation_updated")
        assert updated["conversation"] == ack["conversation"]
        assert updated["activityAt"] >= message["createdAt"]
        joined = await cat.join(chat)
        assert (joined["role"], joined["firstSeq"], joined["unreadCount"]) == ("admin", 1, 0)
        roles = {each["userId"]: each["role"] for each in joined["participants"]}
        assert roles == {"ann": "owner", "ben": "member", "cat": "admin"}

        ack = await remove(cat, chat, "ben")
        assert (ack["message"]["body"], ack["message"]["senderId"]) == ("cat removed ben.", "cat")
        assert await ben.client.wait("conversation_removed") == {"conversationId": chat, "reason": "removed"}
        await ann.client.wait("participants_changed", lambda seen: seen["removed"] == ["ben"])

        ack = await ann.client.ok("set_role", {"conversationId": chat, "userId": "cat", "role": "owner"})
        assert ack["message"]["system"] == {"type": "role", "userIds": ["cat"], "role": "owner"}
        await cat.client.wait(
            "participants_changed", lambda seen: seen["roles"] == [{"userId": "cat", "role": "owner"}]
        )

        ack = await ann.client.ok(
            "update_conversation", {"conversationId": chat, "title": "Sunday", "metadata": {"a": 1}}
        )
        assert (ack["conversation"]["title"], ack["conversation"]["metadata"]) == ("Sunday", {"a": 1})
        await cat.client.wait("conversation_updated", lambda seen: seen["conversation"]["title"] == "Sunday")
        quiet = await ann.client.ok("update_conversation", {"conversationId": chat, "metadata": None})
        assert "message" not in quiet
        await cat.client.wait("conversation_updated", lambda seen: seen["conversation"]["metadata"] is None)

        await ann.client.ok("remove_participant", {"conversationId": chat, "userId": "ann"})
        assert await ann.client.wait("conversation_removed") == {"conversationId": chat, "reason": "left"}
        left = await cat.client.wait(
            "message_created", lambda seen: seen["message"].get("system", {})["type"] == "left"
        )
        assert left["message"]["body"] == "ann left."
        again = await cat.join(chat)
        assert again["change"] == 5
        assert [each["userId"] for each in again["participants"]] == ["cat"]
        (listed,) = (await cat.client.ok("list_conversations", {}))["conversations"]
        assert (listed["lastMessage"], listed["unreadCount"], listed["title"]) == (None, 0, "Sunday")
        assert (await ann.client.ok("list_conversations", {}))["conversations"] == []


async def test_who_is_added_has_a_name_at_once(tmp_path: Path) -> None:
    """Whoever had the conversation open saw an id where somebody was added, until they joined or read their list again;
    also where a list names so few that the added one is none of them."""
    async with serving(tmp_path / "chat.db", listed_participants=2) as server, wire_to(server.url) as wire:
        ann = await wire.person("ann", name="Ann A.")
        cat = await wire.person("cat", name="Cat C.", picture="https://example.com/cat.png")
        chat = await make_group(ann, "ben")
        await ann.join(chat)
        await add(ann, chat, "cat", "dan")
        assert (await ann.client.wait("participants_changed"))["profiles"] == [
            {"userId": "cat", "name": "Cat C.", "avatar": "https://example.com/cat.png"},
            {"userId": "dan", "known": False},
        ]
        created = await cat.client.wait("conversation_created")
        assert [each["userId"] for each in created["profiles"]] == ["ann", "ben"]
        await remove(ann, chat, "dan")
        left = await ann.client.wait("participants_changed", lambda seen: seen["removed"] == ["dan"])
        assert left["profiles"] == []


async def test_a_deletion_is_counted_by_who_has_no_history(tmp_path: Path) -> None:
    """Who was added without the history had one unread too many when a message was deleted, until the next list."""
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, ben = await wire.people("ann", "ben")
        chat = await make_group(ann, "cat")
        await ann.send(chat, "before")
        await add(ann, chat, "ben", history="none")
        await ann.send(chat, "yours")
        await ann.client.ok("delete_message", {"conversationId": chat, "seq": 3})
        updated = await ben.client.wait("conversation_updated", lambda seen: "lastMessage" in seen)
        assert (updated["lastMessage"], updated["uncountedSeq"]) == (None, 3)
        (listed,) = (await ben.client.ok("list_conversations", {}))["conversations"]
        assert (listed["lastMessage"], listed["unreadCount"], listed["readSeq"]) == (None, 0, 1)


async def test_who_may_do_what(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, ben, cat = await wire.people("ann", "ben", "cat")
        chat = await make_group(ann, "ben", "cat", "dan")
        key = next_key()
        people = {"userIds": ["eve"], "history": "all", "idempotencyKey": key}
        assert await refused(ben, "add_participants", conversationId=chat, **people) == "forbidden"
        assert await refused(ben, "remove_participant", conversationId=chat, userId="cat") == "forbidden"
        assert await refused(ben, "set_role", conversationId=chat, userId="ben", role="owner") == "forbidden"
        assert await refused(ben, "update_conversation", conversationId=chat, title="x") == "forbidden"
        await ann.client.ok("set_role", {"conversationId": chat, "userId": "ben", "role": "admin"})
        await ben.client.ok("add_participants", {"conversationId": chat, **people})
        assert await refused(ben, "remove_participant", conversationId=chat, userId="ann") == "forbidden"
        assert await refused(ben, "set_role", conversationId=chat, userId="cat", role="admin") == "forbidden"
        given = {"userIds": ["fay"], "history": "all", "idempotencyKey": next_key(), "role": "admin"}
        assert await refused(ben, "add_participants", conversationId=chat, **given) == "forbidden"
        sent = await cat.send(chat, "rude")
        assert await refused(cat, "delete_message", conversationId=chat, seq=1) == "forbidden"
        deleted = await ben.client.ok("delete_message", {"conversationId": chat, "seq": sent["message"]["seq"]})
        assert deleted["message"]["deletedBy"] == "ben"
        own = await ann.send(chat, "mine")
        assert await refused(cat, "delete_message", conversationId=chat, seq=own["message"]["seq"]) == "forbidden"
        edit = {"seq": own["message"]["seq"], "idempotencyKey": "e", "body": "x"}
        assert await refused(ben, "edit_message", conversationId=chat, **edit) == "forbidden"
        error = await ann.client.refused("set_role", {"conversationId": chat, "userId": "zoe", "role": "admin"})
        assert (error["code"], list(error["fields"])) == ("invalid_payload", ["userId"])
        direct = await ann.create("ben")
        more = {"userIds": ["cat"], "history": "all", "idempotencyKey": key}
        assert await refused(ann, "add_participants", conversationId=direct, **more) == "forbidden"
        assert await refused(ann, "remove_participant", conversationId=direct, userId="ann") == "forbidden"
        stranger = await wire.person("zoe")
        assert (
            await refused(stranger, "remove_participant", conversationId=chat, userId="ben") == "conversation_not_found"
        )


async def test_members_add_people_where_the_setting_says_so(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "chat.db", members_add=True, max_participants=3) as server,
        wire_to(server.url) as wire,
    ):
        ann, ben = await wire.people("ann", "ben")
        chat = await make_group(ann, "ben")
        await add(ben, chat, "cat")
        more = {"conversationId": chat, "userIds": ["dan"], "history": "all", "idempotencyKey": next_key()}
        assert await refused(ben, "add_participants", **more) == "limit_exceeded"


async def test_every_repeat_has_one_effect(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, ben = await wire.people("ann", "ben")
        chat = await make_group(ann, "ben", "cat")
        await ben.join(chat)
        requests: list[tuple[str, dict[str, Any]]] = [
            ("add_participants", {"userIds": ["dan", "ben"], "history": "all", "idempotencyKey": "k"}),
            ("set_role", {"userId": "dan", "role": "admin"}),
            ("update_conversation", {"title": "x", "idempotencyKey": "t"}),
            ("update_conversation", {"metadata": {"a": 1}}),
            ("remove_participant", {"userId": "dan", "idempotencyKey": "r"}),
        ]
        for event, payload in requests:
            first = await ann.client.ok(event, {"conversationId": chat, **payload})
            assert not first["duplicate"]
            for _ in range(2):
                again = await ann.client.ok(event, {"conversationId": chat, **payload})
                assert again["duplicate"]
                if "idempotencyKey" in payload:
                    assert again["message"] == first["message"]
                else:
                    assert "message" not in again
        conflict = {"userIds": ["eve"], "history": "all", "idempotencyKey": "k"}
        assert await refused(ann, "add_participants", conversationId=chat, **conflict) == "idempotency_conflict"
        assert (await ben.join(chat))["change"] == 4
        await ben.settle()
        told = {seen["message"]["seq"] for seen in ben.client.seen("message_created")}
        assert told == {1, 2, 3, 4}


async def test_who_is_added_without_the_history_never_sees_it(tmp_path: Path) -> None:
    """By no request and no event: also not by a change of what was before, or a preview that falls back to it."""
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, cat = await wire.people("ann", "cat")
        chat = await make_group(ann, "ben")
        for number in range(1, 6):
            await ann.send(chat, f"secret {number}")
        await add(ann, chat, "cat", history="none")  # 6
        await cat.client.wait("conversation_created")
        joined = await cat.join(chat, after=0)
        assert (joined["firstSeq"], [each["seq"] for each in joined["messages"]]) == (6, [6])
        assert (joined.get("gap"), joined["unreadCount"], joined["updates"]) == (None, 0, [])
        await ann.send(chat, "for all")  # 7
        await ann.client.ok("set_reaction", {"conversationId": chat, "seq": 2, "reaction": "+", "on": True})
        edit = {"conversationId": chat, "seq": 3, "idempotencyKey": "e", "body": "secret and new"}
        await ann.client.ok("edit_message", edit)
        await ann.client.ok("delete_message", {"conversationId": chat, "seq": 7})  # lists fall back to 5
        asked = {
            "join": await cat.join(chat, after=0),
            "join again": await cat.join(chat),
            "history": await cat.client.ok("fetch_history", {"conversationId": chat}),
            "before": await cat.client.ok("fetch_history", {"conversationId": chat, "beforeSeq": 6}),
            "after": await cat.client.ok("fetch_history", {"conversationId": chat, "afterSeq": 0, "limit": 2}),
            "changes": await cat.client.ok("fetch_changes", {"conversationId": chat, "after": 0}),
            "messages": await cat.client.ok("fetch_messages", {"conversationId": chat, "seqs": [1, 2, 3, 4, 5, 6]}),
            "list": await cat.client.ok("list_conversations", {}),
        }
        await cat.settle()
        everything = [*asked.values(), *(seen.args for seen in cat.client.log)]
        assert "secret" not in str(everything)
        assert asked["join"]["change"] == (await ann.join(chat))["change"]
        assert asked["changes"]["change"] == asked["join"]["change"]
        assert (asked["before"]["messages"], asked["before"]["hasMore"]) == ([], False)
        assert [each["seq"] for each in asked["after"]["messages"]] == [6, 7]
        assert asked["list"]["conversations"][0]["lastMessage"] is None
        for event, payload in (
            ("set_reaction", {"reaction": "+", "on": True}),
            ("delete_message", {}),
            ("edit_message", {"idempotencyKey": "x", "body": "x"}),
        ):
            assert await refused(cat, event, conversationId=chat, seq=3, **payload) == "message_not_found"
        reply = {"conversationId": chat, "idempotencyKey": "r", "body": "so?", "replyTo": 3}
        assert await refused(cat, "send_message", **reply) == "message_not_found"
        await ann.client.ok("set_role", {"conversationId": chat, "userId": "cat", "role": "admin"})
        await add(cat, chat, "dan", history="all")  # as much as cat sees
        dan = await wire.person("dan")
        assert (await dan.join(chat))["firstSeq"] == 6
        assert "secret" not in str(await dan.client.ok("fetch_history", {"conversationId": chat}))


async def test_a_direct_partner_is_none_the_wiser(tmp_path: Path) -> None:
    """Who is added is shown as having been there only when they have: a stranger added somebody to a conversation with
    messages in it, and saw when they came and went."""
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, cat = await wire.people("ann", "cat")
        chat = await make_group(ann, "ben")
        await ann.send(chat, "1")
        await add(ann, chat, "cat", "nobody")
        people = {each["userId"]: each for each in (await ann.join(chat))["participants"]}
        assert (people["cat"]["online"], people["cat"]["readSeq"]) == (False, 1)
        assert people["nobody"]["known"] is False
        await cat.join(chat)
        assert (await ann.client.wait("presence_changed", lambda seen: seen["userId"] == "cat"))["online"]


async def test_what_the_removed_were_doing_ends(tmp_path: Path) -> None:
    """Their typing ends for the others, what they look at is not read any more, and whom they watched for it alone."""
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, ben = await wire.people("ann", "ben")
        chat = await make_group(ann, "ben")
        await ann.join(chat)
        await ben.join(chat, visible=True)
        await ben.client.ok("set_typing", {"conversationId": chat, "typing": True})
        await ann.client.wait("user_typing", lambda seen: seen["typing"])
        await ann.send(chat, "look")
        await remove(ann, chat, "ben")
        await ann.client.wait("user_typing", lambda seen: not seen["typing"])
        await ben.client.wait("conversation_removed")
        (connection,) = server.sessions.of_user(UserId("ben"))
        assert (connection.joined, connection.watched) == ({}, {})
        assert server.sio.manager.get_rooms(connection.sid, "/") == [connection.sid, "u:ben"]
        for event, payload in (
            ("join_conversation", {}),
            ("fetch_history", {}),
            ("send_message", {"idempotencyKey": "k", "body": "x"}),
            ("mark_read", {"seq": 1}),
            ("set_typing", {"typing": True}),
            ("leave_conversation", {}),
            ("list_participants", {}),
            ("update_settings", {"muted": True}),
            ("remove_participant", {"userId": "ben"}),
        ):
            assert await refused(ben, event, conversationId=chat, **payload) == "conversation_not_found", event


async def test_who_made_a_group_and_left_it_does_not_get_it_by_asking_again(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann = await wire.person("ann")
        asked = {"participantIds": ["ben"], "title": "plans", "idempotencyKey": "k"}
        chat = (await ann.client.ok("create_conversation", asked))["conversation"]["id"]
        await remove(ann, chat, "ann")
        assert await refused(ann, "create_conversation", **asked) == "conversation_not_found"


async def test_no_answer_and_no_event_comes_after_the_end(tmp_path: Path) -> None:
    """Answers that were under way when somebody was removed came afterwards, with what was written meanwhile."""
    options: dict[str, Any] = {
        "messages_per_second": 0,
        "messages_burst": 1_000_000,
        "events_per_second": 0,
        "sockets_per_user": 2,
    }
    async with serving(tmp_path / "chat.db", **options) as server, wire_to(server.url) as wire:
        ann, cat, *bens = await wire.people("ann", "cat", "ben", "ben")
        for ben in bens:
            ben.client.notes_acks = True
        chat = await make_group(ann, "ben", "cat")
        writing = True

        async def write() -> None:
            while writing:
                await cat.send(chat, "secret")

        async def ask(who: WirePerson) -> None:
            while writing:
                here = {"conversationId": chat}
                await asyncio.gather(
                    who.client.emit("join_conversation", {**here, "limit": 5, "visible": True}),
                    who.client.emit("fetch_history", {**here, "limit": 5}),
                    who.client.emit("fetch_changes", {**here, "after": 0, "limit": 5}),
                    who.client.emit("list_participants", here),
                    who.client.emit("list_conversations", {}),
                    who.client.emit("mark_read", {**here, "seq": 1_000}),
                    who.client.emit("update_settings", {**here, "muted": True}),
                    who.client.emit("send_message", {**here, "body": "mine", "idempotencyKey": next_key()}),
                )

        tasks = [asyncio.ensure_future(write()), *(asyncio.ensure_future(ask(ben)) for ben in bens)]
        try:
            for _ in range(8):
                marks = [ben.client.mark() for ben in bens]
                await remove(ann, chat, "ben")
                for ben, mark in zip(bens, marks, strict=True):
                    await ben.client.wait("conversation_removed", after=mark)
                    await ben.settle()
                marks = [ben.client.mark() for ben in bens]
                await add(ann, chat, "ben", history="none")
                for ben, mark in zip(bens, marks, strict=True):
                    await ben.client.wait("conversation_created", after=mark)
        finally:
            writing = False
            await asyncio.gather(*tasks)
        for ben in bens:
            late, known = [], True
            for seen in ben.client.log:
                if seen.event in {"conversation_removed", "conversation_created"}:
                    known = seen.event == "conversation_created"
                elif not known and chat in str(seen.args):
                    late.append(seen)
            assert not late
            assert ben.client.seen("messages_read")


async def test_another_process_on_the_database_learns_of_a_removal(tmp_path: Path) -> None:
    """Within the time for which conversations are kept in memory, whoever uses the conversation there."""
    path = tmp_path / "chat.db"
    async with serving(path) as here, serving(path) as there, wire_to(here.url) as wire, wire_to(there.url) as other:
        ann, cat = await wire.person("ann"), await other.person("cat")
        ben = await other.person("ben")
        chat = await make_group(ann, "ben", "cat")
        await ben.join(chat)
        await remove(ann, chat, "ben")
        there.clock.advance(11)
        await cat.send(chat, "secret")
        assert await ben.client.wait("conversation_removed") == {"conversationId": chat, "reason": "removed"}
        await ben.settle()
        assert "secret" not in str(ben.client.log)
        await ann.client.ok("update_conversation", {"conversationId": chat, "title": "new"})
        assert (await cat.join(chat))["conversation"]["title"] == "new", "a join is as new as its messages"


async def test_a_change_whose_author_goes_away_is_done_and_told(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db") as server, wire_to(server.url) as wire:
        ann, ben = await wire.people("ann", "ben")
        chat = await make_group(ann, "ben", "cat")
        await ben.join(chat)
        await ann.client.start("remove_participant", {"conversationId": chat, "userId": "ben"})
        ann.client.abort()
        await ben.client.wait("conversation_removed")
        await eventually("ann is gone", lambda: len(server.sessions) == 1)
