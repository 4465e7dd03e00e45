"""The chat's bounds and finer rules, on a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socketserver.chat.domain import UserId
from typing import Any

import pytest
from support import database as db
from support.servers import LocalServer, serving, token
from support.stage import Actor
from support.waiting import eventually
from support.wire import Wire, wire_to


@asynccontextmanager
async def chat_server(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[LocalServer, Wire]]:
    async with serving(tmp_path / "chat.db", **options) as server, wire_to(server.url) as wire:
        yield server, wire


async def test_large_conversations_are_quiet(tmp_path: Path) -> None:
    """Above the bound for small ones, messages are live, but typing, presence and the others' reading are not."""
    async with chat_server(tmp_path, small_conversation=2) as (_, wire):
        ana, ben = await wire.people("ana", "ben")
        small, large = await ana.create("ben"), await ana.create("ben", "carl")
        for chat in (small, large):
            await ana.join(chat)
            await ben.join(chat)
        await ana.send(large, "live")
        await ben.client.wait("message_created")
        await ben.client.ok("set_typing", {"conversationId": large, "typing": True})
        await ben.client.ok("mark_read", {"conversationId": large, "seq": 1})
        await ben.client.ok("set_typing", {"conversationId": small, "typing": True})
        await ana.client.wait("user_typing")
        await ben.client.wait("messages_read")  # the reader's own other sockets count unread messages
        await ana.settle()
        assert [seen["conversationId"] for seen in ana.client.seen("user_typing")] == [small]
        assert ana.client.seen("messages_read") == []
        carl = await wire.person("carl")
        await carl.join(large)
        await ana.settle()
        assert {seen["userId"] for seen in ana.client.seen("presence_changed")} == {"ben"}


async def test_how_many_conversations_a_socket_may_join(tmp_path: Path) -> None:
    """One more is refused until another is left; joining again what is joined is no more."""
    async with chat_server(tmp_path, joined_per_socket=2) as (_, wire):
        ana = await wire.person("ana")
        chats = [await ana.create("ben", title=f"{number}") for number in range(3)]
        await ana.join(chats[0])
        await ana.join(chats[1])
        await ana.join(chats[1])
        error = await ana.client.refused("join_conversation", {"conversationId": chats[2]})
        assert (error["code"], error["retryable"]) == ("limit_exceeded", False)
        await ana.client.ok("leave_conversation", {"conversationId": chats[0]})
        await ana.client.ok("leave_conversation", {"conversationId": chats[0]})  # twice does no harm
        await ana.join(chats[2])


async def test_how_many_people_a_socket_watches(tmp_path: Path) -> None:
    """The presence of the open conversation was missing once a list had filled the bound: now the watch that was begun
    longest ago goes, those of a list first."""
    async with chat_server(tmp_path, watched_per_socket=2) as (server, wire):
        ana = await wire.person("ana")
        chats = {}
        for other in ("ben", "carl", "dora", "emil"):
            friend = await wire.person(other)
            chats[other] = await friend.create("ana")
            await friend.client.close()
        (socket,) = server.sessions.of_user(UserId("ana"))

        def watches() -> set[str]:
            rooms = server.sio.manager.get_rooms(socket.sid, "/") or []
            assert set(socket.watched) == {room[2:] for room in rooms if room.startswith("p:")}
            return set(socket.watched)

        async def after_a_list() -> set[str]:
            await ana.client.ok("list_conversations", {})
            return watches()

        assert await after_a_list() == {"dora", "emil"}  # the top of it
        await ana.join(chats["ben"])
        assert await after_a_list() == {"ben", "emil"}
        await ana.join(chats["carl"])
        assert await after_a_list() == {"ben", "carl"}
        await ana.client.ok("set_visibility", {"conversationId": chats["ben"], "visible": True})
        await ana.join(chats["dora"])
        assert await after_a_list() == {"ben", "dora"}
        await ana.join(chats["ben"])  # again
        await ana.client.ok("leave_conversation", {"conversationId": chats["ben"]})
        assert watches() == {"ben", "dora"}
        await ana.join(chats["emil"])
        assert await after_a_list() == {"dora", "emil"}
        for chat in chats.values():
            await ana.client.ok("leave_conversation", {"conversationId": chat})
        ben = await wire.person("ben")
        await ana.join(chats["ben"])
        await ben.client.close()
        await eventually("ben is gone", lambda: len(server.sessions) == 1)
        server.clock.advance(16)
        await ana.client.wait("presence_changed", lambda seen: (seen["userId"], seen["online"]) == ("ben", False))


async def test_presence_shows_when_somebody_has_taken_part(tmp_path: Path) -> None:
    """A conversation made with somebody who was away told a stranger when they came and went, before they had written
    or joined; it survives a restart who has."""
    silent = {"online": False, "lastSeenAt": None}

    async def shown(ana: Actor, chat: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What ana is told of ben: by joining, and by the list."""
        joined = (await ana.join(chat))["participants"]
        listed = (await ana.client.ok("list_conversations", {}))["presence"]
        found = [next(each for each in some if each["userId"] == "ben") for some in (joined, listed)]
        first, second = ({key: each[key] for key in silent} for each in found)
        return first, second

    async with chat_server(tmp_path, presence_grace_s=0) as (_, wire):
        ana = await wire.person("ana")
        chat, group = await ana.create("ben"), await ana.create("ben", "carl")
        await ana.join(group)
        assert await shown(ana, chat) == (silent, silent)
        ben = await wire.person("ben")
        assert await shown(ana, chat) == (silent, silent)
        await ben.client.close()
        ben = await wire.person("ben")
        await ben.client.ok("list_conversations", {})
        await ben.client.ok("fetch_history", {"conversationId": chat})
        await ana.settle()
        assert ana.client.seen("presence_changed") == []
        await ben.send(chat, "hello")  # not joined
        online = {"online": True, "lastSeenAt": None}
        assert await ana.client.wait("presence_changed") == {"userId": "ben", **online}
        assert await shown(ana, chat) == (online, online)
        await ben.send(chat, "hello again")
        await ben.client.close()
        gone = await ana.client.wait("presence_changed", lambda seen: not seen["online"])
        assert len(ana.client.seen("presence_changed")) == 2
        assert gone["lastSeenAt"] is not None
        (carl,) = await wire.people("carl")
        (seen,) = [each for each in (await carl.join(group))["participants"] if each["userId"] == "ben"]
        assert {key: seen[key] for key in silent} == silent  # in the group ben has not been so far

    async with chat_server(tmp_path, presence_grace_s=0) as (_, wire):
        ana, ben = await wire.people("ana", "ben")
        assert await shown(ana, chat) == (online, online)


@pytest.mark.parametrize("how", ["join_conversation", "mark_read", "send_message"])
async def test_who_has_the_conversation_open_is_told_when_somebody_takes_part(tmp_path: Path, how: str) -> None:
    """From then on: who joins, reads or writes for the first time comes into view for those who are there."""
    async with chat_server(tmp_path) as (_, wire):
        ana, ben, carl = await wire.people("ana", "ben", "carl")
        chat = await ana.create("ben", "carl")
        await ana.join(chat)
        await ana.send(chat, "hello")
        more: dict[str, Any] = {"mark_read": {"seq": 1}, "send_message": {"idempotencyKey": "k", "body": "hello"}}
        await ben.client.ok(how, {"conversationId": chat, **more.get(how, {})})
        assert (await ana.client.wait("presence_changed"))["userId"] == "ben"
        await carl.settle()
        assert carl.client.seen("presence_changed") == []


@pytest.mark.parametrize(
    ("options", "accepted", "refused"),
    [
        ({"max_body_chars": 5}, {"body": "12345"}, {"body": "123456"}),
        ({"max_metadata_bytes": 9}, {"metadata": {"a": 123}}, {"metadata": {"a": 1234}}),
    ],
)
async def test_configured_sizes(
    tmp_path: Path, options: dict[str, Any], accepted: dict[str, Any], refused: dict[str, Any]
) -> None:
    """The longest body and the largest metadata that the settings allow go in, one more does not."""
    async with chat_server(tmp_path, **options) as (_, wire):
        ana = await wire.person("ana")
        chat = await ana.create("ben")
        payload = {"conversationId": chat, "idempotencyKey": "k", "body": "x"}
        error = await ana.client.refused("send_message", payload | refused)
        assert set(error["fields"]) == set(refused)
        await ana.client.ok("send_message", payload | accepted)


async def test_how_many_may_take_part(tmp_path: Path) -> None:
    """The creator counts, and nobody twice."""
    async with chat_server(tmp_path, max_participants=3) as (_, wire):
        ana = await wire.person("ana")
        await ana.create("ben", "carl")
        error = await ana.client.refused("create_conversation", {"participantIds": ["ben", "carl", "dora"]})
        assert set(error["fields"]) == {"participantIds"}


async def test_a_page_is_never_larger_than_allowed(tmp_path: Path) -> None:
    """Without a limit of its own a request gets the configured page at most."""
    async with chat_server(tmp_path, max_page=2, messages_per_second=0) as (_, wire):
        ana = await wire.person("ana")
        chat = await ana.create("ben")
        for number in range(4):
            await ana.send(chat, f"{number}")
            await ana.create("ben", title=f"{number}")
        joined = await ana.join(chat, after=0)
        assert [message["seq"] for message in joined["messages"]] == [3, 4]
        assert joined["gap"] == {"fromSeq": 1, "toSeq": 2}
        assert len((await ana.client.ok("fetch_history", {"conversationId": chat}))["messages"]) == 2
        assert len((await ana.client.ok("list_conversations", {}))["conversations"]) == 2
        error = await ana.client.refused("fetch_history", {"conversationId": chat, "limit": 3})
        assert set(error["fields"]) == {"limit"}


async def test_an_after_from_another_database(tmp_path: Path) -> None:
    """A cursor beyond the newest change gets the newest page, and the right one to go on from."""
    async with chat_server(tmp_path) as (_, wire):
        ana = await wire.person("ana")
        chat = await ana.create("ben")
        await ana.send(chat, "one")
        joined = await ana.join(chat, after=1000)
        assert [message["seq"] for message in joined["messages"]] == [1]
        assert (joined["change"], "gap" in joined) == (1, False)


async def test_conversations_are_kept_apart(tmp_path: Path) -> None:
    """With room for one conversation in memory only, every one still has its own people."""
    async with chat_server(tmp_path, cached_conversations=1) as (_, wire):
        ana, ben, eve = await wire.people("ana", "ben", "eve")
        with_ben, with_eve = await ana.create("ben"), await ana.create("eve")
        for _ in range(2):
            await ben.join(with_ben)
            await eve.join(with_eve)
            for stranger, chat in ((ben, with_eve), (eve, with_ben)):
                error = await stranger.client.refused("join_conversation", {"conversationId": chat})
                assert error["code"] == "conversation_not_found"


async def test_without_a_rate(tmp_path: Path) -> None:
    """0 messages per second means no limit."""
    async with chat_server(tmp_path, messages_per_second=0, messages_burst=1) as (server, wire):
        ana = await wire.person("ana")
        chat = await ana.create("ben")
        server.clock.hold()
        for number in range(50):
            await ana.send(chat, f"{number}")
        assert len(db.messages(server.database)) == 50


async def test_the_sweep_heals_the_registry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that is registered but does not exist is forgotten by the regular sweep, and its user goes offline."""
    async with chat_server(tmp_path) as (server, wire):
        ben = await wire.person("ben")
        ghost = await wire.person("ghost")
        await ben.join(await ghost.create("ben"))
        sid = ghost.client.seen("connect")[0]
        await ghost.client.close()
        await eventually("the ghost is gone", lambda: len(server.sessions) == 1)
        server.clock.advance(16)
        await ben.client.wait("presence_changed", lambda presence: not presence["online"])
        server.sessions.add(sid, server.clock.monotonic_s())
        server.clock.advance(31)
        await eventually("the sweep", lambda: len(server.sessions) == 1)
        assert f"swept connection_id={sid}" in caplog.text


async def test_a_token_that_ends_during_the_connection(tmp_path: Path) -> None:
    """A repeated `authenticate` renews the login; another user's is refused."""
    async with chat_server(tmp_path) as (server, wire):
        ana = await wire.person("ana")
        await ana.client.ok("authenticate", {"token": token("ana", lifetime_s=7200)})
        (connection,) = server.sessions.of_user(UserId("ana"))
        assert connection.identity is not None
        assert connection.identity.expires_at_ms is not None
        assert connection.identity.expires_at_ms - server.clock.now_ms() > 7000_000
        assert (await ana.client.refused("authenticate", {"token": token("eve")}))["code"] == "user_mismatch"
        assert ana.client.seen("welcome") == ana.client.seen("welcome")[:1]


async def test_a_connect_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug while a socket is let in is told to the client, logged, and forgets the socket."""
    async with chat_server(tmp_path) as (server, wire):

        async def broken(connection: object, identity: object) -> None:
            raise RuntimeError("injected")

        from socketserver.live.lifecycle import Lifecycle

        with monkeypatch.context() as patch:
            patch.setattr(Lifecycle, "authenticate", lambda self, connection, identity: broken(connection, identity))
            client = await wire.open({"token": token("ana")})
            refused = await client.wait("connect_error")
            assert refused["data"]["code"] == "internal_error"
            assert "injected" not in str(refused)
        assert len(server.sessions) == 0
        assert any("RuntimeError: injected" in line for line in server.errors)
        server.errors.clear()
        await wire.person("ana")
