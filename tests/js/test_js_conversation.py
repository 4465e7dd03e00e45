"""Two people hold a conversation: every client version over every transport."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.node import TRANSPORTS, VERSIONS, Node
from support.servers import LocalServer, serving, token
from support.stage import Person, Stage, next_key
from support.waiting import eventually

BODIES = (
    "Hello Ben",
    "Hallo Ana 👋🏽",
    "שלום עולם مرحبا",
    "👩‍👩‍👧‍👦 e\u0301 \u202eabc\u202c ｆｕｌｌ 𝔘",
    'line\nbreak\ttab \\ " </script> \u2028 \ufeff',
    " kept as it is ",
)


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database, messages_per_second=0) as server:
        yield server


@pytest.fixture(params=[(version, transport) for version in VERSIONS for transport in TRANSPORTS], ids="-".join)
def stage(request: pytest.FixtureRequest, server: LocalServer, node: Node) -> Stage:
    version, transport = request.param
    return Stage(server, node, version=version, transport=transport)


async def test_two_people_chat_live_both_ways(stage: Stage) -> None:
    """What one sends is acked with its place, and appears at both, the same and in the same order."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    created = await ben.client.wait("conversation_created")
    assert created["conversation"] == {
        "id": chat,
        "kind": "direct",
        "title": None,
        "participantIds": ["ana", "ben"],
        "participantCount": 2,
        "createdBy": "ana",
        "createdAt": created["conversation"]["createdAt"],
        "metadata": None,
    }
    await ana.join(chat)
    await ben.join(chat)
    metadata = {"n": 1, "😀": [1.5, None, True, {"$ne": None}]}
    acked = []
    for number, body in enumerate(BODIES, start=1):
        sender = (ana, ben)[number % 2]
        ack = await sender.send(chat, body, key=f"k{number}", metadata=metadata)
        message = ack["message"]
        assert ack == {
            "ok": True,
            "duplicate": False,
            "message": {
                "id": message["id"],
                "conversationId": chat,
                "seq": number,
                "change": number,
                "senderId": sender.id,
                "idempotencyKey": f"k{number}",
                "body": body,
                "metadata": metadata,
                "createdAt": message["createdAt"],
            },
        }
        assert abs(message["createdAt"] - time.time() * 1000) < 60_000
        acked.append(message)
    for person in (ana, ben):
        seen = await person.client.wait_count("message_created", len(BODIES))
        assert seen == [{"message": message} for message in acked]
        assert (await person.client.ok("fetch_history", {"conversationId": chat}))["messages"] == acked


async def test_what_one_client_emits_in_a_tick_keeps_its_order(stage: Stage) -> None:
    """200 messages emitted at once are stored, acked and announced in the order of the emits."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ben.join(chat)
    await ana.join(chat)
    count = 200
    acks, order = await ana.client.burst(
        ["send_message", {"conversationId": chat, "idempotencyKey": f"burst-{n}", "body": f"message {n}"}]
        for n in range(count)
    )
    assert order == list(range(count))
    assert [ack["message"]["seq"] for ack in acks] == list(range(1, count + 1))
    for person in (ana, ben):
        seen = await person.client.wait_count("message_created", count)
        assert [event["message"]["body"] for event in seen] == [f"message {n}" for n in range(count)]


async def test_events_of_different_kinds_keep_their_order(stage: Stage) -> None:
    """What a client emits without waiting is handled in order: join, send, read, leave, send."""
    ana, _ = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    where = {"conversationId": chat}
    acks, order = await ana.client.burst(
        [
            ["set_typing", {**where, "typing": True}],
            ["join_conversation", where],
            ["send_message", {**where, "idempotencyKey": next_key(), "body": "one"}],
            ["mark_read", {**where, "seq": 1}],
            ["fetch_history", where],
            ["leave_conversation", where],
            ["set_typing", {**where, "typing": True}],
        ]
    )
    assert order == list(range(7))
    assert [ack["ok"] for ack in acks] == [False, True, True, True, True, True, False]
    assert acks[0]["error"]["code"] == acks[6]["error"]["code"] == "not_joined"
    assert [message["body"] for message in acks[4]["messages"]] == ["one"]


async def test_read_marks_and_unread_counts(stage: Stage) -> None:
    """Unread is the last seq less the read mark, exactly; a mark never moves back; the others are told once."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ana.join(chat)
    for body in ("one", "two", "three"):
        await ana.send(chat, body)

    assert await read_and_unread(ben) == (0, 3)
    ack = await ben.client.ok("mark_read", {"conversationId": chat, "seq": 2})
    assert ack == {"ok": True, "readSeq": 2, "unreadCount": 1}
    ack = await ben.client.ok("mark_read", {"conversationId": chat, "seq": 1})
    assert ack == {"ok": True, "readSeq": 2, "unreadCount": 1}
    assert await read_and_unread(ben) == (2, 1)
    ack = await ben.client.ok("mark_read", {"conversationId": chat, "seq": 1_000_000})
    assert ack == {"ok": True, "readSeq": 3, "unreadCount": 0}
    for person in (ana, ben):  # the reader too, whose other tabs count unread messages
        await person.client.wait("messages_read", lambda read: read["readSeq"] == 3)
        told = person.client.seen("messages_read")
        assert [(read["conversationId"], read["userId"], read["readSeq"]) for read in told] == [
            (chat, "ben", 2),
            (chat, "ben", 3),
        ]
        assert all(abs(read["readAt"] - time.time() * 1000) < 60_000 for read in told)


async def test_a_badge_counts_all_conversations(stage: Stage) -> None:
    """The first page of the list says in how many there is something unread, whatever fits on it."""
    ana, ben = await stage.people("ana", "ben")
    chats = [await ana.create("ben", title=f"chat {number}") for number in range(3)]
    for chat in chats:
        await ana.send(chat, "hello")
    await ben.client.ok("mark_read", {"conversationId": chats[0], "seq": 1})
    first = await ben.client.ok("list_conversations", {"limit": 1})
    assert first["unreadConversations"] == 2
    second = await ben.client.ok("list_conversations", {"limit": 1, "before": first["nextBefore"]})
    assert "unreadConversations" not in second
    assert (await ana.client.ok("list_conversations", {}))["unreadConversations"] == 0


async def test_sending_counts_as_reading(stage: Stage) -> None:
    """Who answers has read what was there."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    for body in ("one", "two"):
        await ana.send(chat, body)
    await ben.send(chat, "three")
    assert await read_and_unread(ben) == (3, 0)
    assert await read_and_unread(ana) == (2, 1)
    (own,) = [mark for mark in (await ana.join(chat))["participants"] if mark["userId"] == "ben"]
    assert own["readSeq"] == 3


async def test_what_a_user_looks_at_becomes_read(stage: Stage, server: LocalServer) -> None:
    """A visible conversation is marked read, several messages by one mark; a hidden one is not."""
    ana, ben = await stage.people("ana", "ben")
    server.clock.hold()
    chat = await ana.create("ben")
    await ana.join(chat)
    await ana.send(chat, "before")
    joined = await ben.join(chat, visible=True)
    assert (joined["readSeq"], joined["unreadCount"]) == (1, 0)
    for body in ("one", "two", "three"):
        await ana.send(chat, body)
    server.clock.advance(1)
    await ana.client.wait("messages_read", lambda read: read["readSeq"] == 4)
    assert [read["readSeq"] for read in ana.client.seen("messages_read")] == [1, 4]

    await ben.client.ok("set_visibility", {"conversationId": chat, "visible": False})
    await ana.send(chat, "unseen")
    server.clock.advance(1)
    await ben.client.ok("set_typing", {"conversationId": chat, "typing": True})
    server.clock.advance(60)
    await ana.client.wait("user_typing", lambda typing: not typing["typing"])  # the server has looked at the clock
    await ana.settle()
    assert [read["readSeq"] for read in ana.client.seen("messages_read")] == [1, 4]
    await ben.client.ok("set_visibility", {"conversationId": chat, "visible": True})
    await ana.client.wait("messages_read", lambda read: read["readSeq"] == 5)
    assert await read_and_unread(ben) == (5, 0)


async def test_typing(stage: Stage, server: LocalServer) -> None:
    """Typing is shown to the others, now and then again, and ends by itself unless renewed, by sending, by saying so,
    by looking away, by leaving."""
    ana, ben = await stage.people("ana", "ben")
    server.clock.hold()
    chat, other = await ana.create("ben"), await ana.create("ben", "carl")
    for conversation in (chat, other):
        await ana.join(conversation)
        await ben.join(conversation)

    async def types(conversation: str, typing: bool = True) -> None:
        await ben.client.ok("set_typing", {"conversationId": conversation, "typing": typing})

    def signs() -> list[tuple[str, bool]]:
        seen = ana.client.seen("user_typing")
        assert all(sign["userId"] == "ben" for sign in seen)
        return [(sign["conversationId"], sign["typing"]) for sign in seen]

    await types(chat)
    await types(other)
    server.clock.advance(4)
    await types(chat)
    server.clock.advance(4)
    # The one that was not renewed has ended; the other, looked at by the same tick, has not.
    await ana.client.wait("user_typing", lambda sign: sign["conversationId"] == other and not sign["typing"])
    await ana.settle()
    assert signs() == [(chat, True), (other, True), (chat, True), (other, False)]
    server.clock.advance(4)
    await ana.client.wait("user_typing", lambda sign: sign["conversationId"] == chat and not sign["typing"])

    mark = len(signs())
    await types(chat)
    await types(chat, False)
    await types(chat, False)
    await types(chat)
    await ben.send(chat, "sent")
    await types(other)
    await ben.client.ok("leave_conversation", {"conversationId": other})
    await ben.join(other, visible=True)
    await types(other)
    await ben.client.ok("set_visibility", {"conversationId": other, "visible": False})
    await types(chat)
    await ben.client.disconnect()
    await ana.client.wait_count("user_typing", mark + 10)
    await ana.settle()
    assert signs()[mark:] == [
        (chat, True),
        (chat, False),
        (chat, True),
        (chat, False),
        (other, True),
        (other, False),
        (other, True),
        (other, False),
        (chat, True),
        (chat, False),
    ]
    assert ben.client.seen("user_typing") == []


async def test_presence_with_a_grace(stage: Stage, server: LocalServer) -> None:
    """The others see somebody come at once, and go only when a reconnect has had its time."""
    ana = await stage.person("ana")
    server.clock.hold()
    chat = await ana.create("ben")
    joined = await ana.join(chat)
    assert [(mark["userId"], mark["online"]) for mark in joined["participants"]] == [("ana", True), ("ben", False)]
    assert joined["participants"][1]["lastSeenAt"] is None

    ben = await stage.person("ben")
    await ben.join(chat)
    seen = await ana.client.wait("presence_changed")
    assert seen == {"userId": "ben", "online": True, "lastSeenAt": None}

    await ben.client.disconnect()
    await eventually("ben is gone", lambda: len(server.sessions) == 1)
    server.clock.advance(14)
    ben = await stage.person("ben")  # back within the grace: nobody noticed
    await ben.client.disconnect()
    await eventually("ben is gone", lambda: len(server.sessions) == 1)
    left_ms = server.clock.now_ms()
    (mark,) = [mark for mark in (await ana.join(chat))["participants"] if mark["userId"] == "ben"]
    assert (mark["online"], mark["lastSeenAt"]) == (True, None)
    server.clock.advance(16)
    await ana.client.wait("presence_changed", lambda presence: not presence["online"])
    assert ana.client.seen("presence_changed") == [
        {"userId": "ben", "online": True, "lastSeenAt": None},
        {"userId": "ben", "online": False, "lastSeenAt": left_ms},
    ]
    (mark,) = [mark for mark in (await ana.join(chat))["participants"] if mark["userId"] == "ben"]
    assert (mark["online"], mark["lastSeenAt"]) == (False, left_ms)


async def test_the_list_tells_who_is_online(stage: Stage, server: LocalServer) -> None:
    """A list of conversations comes with the presence of those one talks to directly, and news of it."""
    ana, ben = await stage.people("ana", "ben")
    carl = await stage.person("carl")
    for other in (ben, carl):
        await other.create("ana")
    await carl.client.disconnect()
    await eventually("carl is gone", lambda: len(server.sessions) == 2)
    server.clock.advance(16)

    async def listed() -> dict[str, bool]:
        ack = await ana.client.ok("list_conversations", {})
        return {item["userId"]: item["online"] for item in ack["presence"]}

    while (await listed())["carl"]:
        pass
    assert await listed() == {"ben": True, "carl": False}
    mark = len(ana.client.seen("presence_changed"))
    carl = await stage.person("carl")
    await ana.client.wait_count("presence_changed", mark + 1)
    assert ana.client.seen("presence_changed")[mark] == {"userId": "carl", "online": True, "lastSeenAt": None}
    await carl.client.disconnect()
    await ben.client.disconnect()


async def test_activity_reaches_those_who_have_not_joined(stage: Stage) -> None:
    """An online participant elsewhere is told that something came, with a preview; one who joined gets the message."""
    ana, ben, carl, eve = await stage.people("ana", "ben", "carl", "eve")
    chat = await ana.create("ben", "carl", title="Three")
    await ben.join(chat)
    body = "👋🏽" + "x" * 500
    message = (await ana.send(chat, body))["message"]
    assert await carl.client.wait("conversation_activity") == {
        "conversationId": chat,
        "seq": 1,
        "senderId": "ana",
        "preview": body[:120],
        "createdAt": message["createdAt"],
    }
    assert await ben.client.wait("message_created") == {"message": message}
    await ben.client.ok("leave_conversation", {"conversationId": chat})
    await ana.send(chat, "second")
    assert (await ben.client.wait("conversation_activity"))["seq"] == 2
    for person in (ben, carl, eve):
        await person.settle()
    assert len(ben.client.seen("message_created")) == 1
    assert carl.client.seen("message_created") == []
    created = [seen["conversation"]["title"] for seen in carl.client.seen("conversation_created")]
    assert created == ["Three"]
    assert [seen.event for seen in eve.client.log if seen.event not in {"connect", "upgrade"}] == ["welcome"]


async def test_the_list_page_by_page(stage: Stage, server: LocalServer) -> None:
    """Conversations come most recent activity first, every one once, with what the list shows of it."""
    ana = await stage.person("ana")
    server.clock.hold()
    chats = []
    for number in range(5):
        server.clock.advance(1)
        chats.append(await ana.create("ben", title=f"Group {number}"))
    server.clock.advance(1)
    last = (await ana.send(chats[1], "newest"))["message"]
    found: list[dict[str, Any]] = []
    before: dict[str, str] = {}
    pages = 0
    while True:
        page = await ana.client.ok("list_conversations", {"limit": 2, **before})
        found += page["conversations"]
        pages += 1
        if not page["hasMore"]:
            assert page["nextBefore"] is None
            break
        assert len(page["conversations"]) == 2
        before = {"before": page["nextBefore"]}
    assert pages == 3
    assert [summary["id"] for summary in found] == [chats[number] for number in (1, 4, 3, 2, 0)]
    assert found[0] == {
        "id": chats[1],
        "kind": "group",
        "title": "Group 1",
        "participantIds": ["ana", "ben"],
        "participantCount": 2,
        "createdBy": "ana",
        "createdAt": found[0]["createdAt"],
        "metadata": None,
        "lastMessage": last,
        "lastSeq": 1,
        "change": 1,
        "readSeq": 1,
        "unreadCount": 0,
        "unreadMentions": 0,
        "settings": {"muted": False, "pinned": False, "archived": False, "markedUnread": False},
        "activityAt": last["createdAt"],
    }
    assert found[1]["lastMessage"] is None
    assert found[1]["activityAt"] == found[1]["createdAt"]


async def test_history_in_both_directions(stage: Stage) -> None:
    """Pages of history are in seq order, meet without overlap, and say whether there is more."""
    ana = await stage.person("ana")
    chat = await ana.create("ben")
    acks, _ = await ana.client.burst(
        ["send_message", {"conversationId": chat, "idempotencyKey": f"h{n}", "body": f"{n}"}] for n in range(1, 11)
    )
    assert all(ack["ok"] for ack in acks)

    async def page(**more: int) -> tuple[list[int], bool]:
        ack = await ana.client.ok("fetch_history", {"conversationId": chat, "limit": 4, **more})
        assert all(message["body"] == str(message["seq"]) for message in ack["messages"])
        return [message["seq"] for message in ack["messages"]], ack["hasMore"]

    assert await page() == ([7, 8, 9, 10], True)
    assert await page(beforeSeq=7) == ([3, 4, 5, 6], True)
    assert await page(beforeSeq=3) == ([1, 2], False)
    assert await page(beforeSeq=1) == ([], False)
    assert await page(afterSeq=0) == ([1, 2, 3, 4], True)
    assert await page(afterSeq=4) == ([5, 6, 7, 8], True)
    assert await page(afterSeq=8) == ([9, 10], False)
    assert await page(afterSeq=10) == ([], False)
    assert await page(beforeSeq=2**53 - 1) == ([7, 8, 9, 10], True)
    assert await page(afterSeq=2**53 - 1) == ([], False)


async def test_resume_gives_exactly_what_was_missed(stage: Stage) -> None:
    """`after` brings what came since, in order; what does not fit is named as a gap that history fills."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    first = await ben.join(chat)
    assert (first["messages"], first["change"], first["lastSeq"], "gap" in first) == ([], 0, 0, False)
    await ana.send(chat, "1")
    await ben.client.wait("message_created")
    await ben.client.disconnect()
    for number in range(2, 9):
        await ana.send(chat, f"{number}")
    ben = await stage.person("ben")
    resumed = await ben.join(chat, after=1)
    assert [message["body"] for message in resumed["messages"]] == [f"{number}" for number in range(2, 9)]
    assert (resumed["change"], resumed["lastSeq"], "gap" in resumed) == (8, 8, False)
    again = await ben.join(chat, after=8)
    assert (again["messages"], again["change"], "gap" in again) == ([], 8, False)
    short = await ben.join(chat, after=1, limit=3)
    assert [message["seq"] for message in short["messages"]] == [6, 7, 8]
    assert short["gap"] == {"fromSeq": 2, "toSeq": 5}
    missing = await ben.client.ok("fetch_history", {"conversationId": chat, "afterSeq": 1, "limit": 4})
    assert [message["seq"] for message in missing["messages"]] == [2, 3, 4, 5]
    newest = await ben.join(chat, limit=3)
    assert [message["seq"] for message in newest["messages"]] == [6, 7, 8]
    assert "gap" not in newest
    await ana.send(chat, "live again")
    assert (await ben.client.wait("message_created"))["message"]["seq"] == 9


async def test_welcome(stage: Stage, server: LocalServer) -> None:
    """Who one is, by which connection, and what the server recommends and allows."""
    ana = await stage.person("ana", auth={"token": token("ana", name="Ana 🎈")})
    welcome = await ana.client.wait("welcome")
    state = await ana.client.state()
    now_ms = server.clock.now_ms()
    assert abs(welcome.pop("serverTime") - now_ms) < 60_000
    assert welcome == {
        "user": {"id": "ana", "name": "Ana 🎈"},
        "connectionId": state["sid"],
        "reconnection": {"attempts": 3, "delayMs": 2000, "delayMaxMs": 10000},
        "limits": {
            "bodyChars": 4000,
            "metadataBytes": 4096,
            "eventBytes": 65536,
            "participants": 1000,
            "page": 200,
            "joinedConversations": 200,
            "messagesPerSecond": 0,
            "messagesBurst": 20,
            "editWindowS": 86_400,
            "deleteWindowS": -1,
            "mentions": 50,
            "reactions": 20,
            "reactionsPerUser": 5,
            "reactionsInAll": 1000,
            "reactionChars": 32,
        },
    }
    assert state["transport"] == ("polling" if stage.transport == "polling" else "websocket")


async def test_messages_as_large_as_allowed(stage: Stage) -> None:
    """The longest body arrives whole, in whatever pieces it travels; so does a page full of them."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ben.join(chat)
    body = "🦄" * 4000
    for number in range(20):
        await ana.send(chat, body, metadata={"text": "x" * 4000, "number": number})
    seen = await ben.client.wait_count("message_created", 20)
    assert all(event["message"]["body"] == body for event in seen)
    page = await ben.client.ok("fetch_history", {"conversationId": chat})
    assert [message["metadata"]["number"] for message in page["messages"]] == list(range(20))


async def read_and_unread(person: Person) -> tuple[int, int]:
    """What the list says of somebody's only conversation."""
    (summary,) = (await person.client.ok("list_conversations", {}))["conversations"]
    return summary["readSeq"], summary["unreadCount"]
