"""Names and pictures on a running server: what they cost, what an outage costs, and that they fit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from socketserver.chat.domain import UserId
from socketserver.chat.identity import Profile, ProfileUpdate
from socketserver.errors import StoreUnavailable
from socketserver.store.results import ProfileSet
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

from support.servers import serving, token
from support.waiting import eventually
from support.wire import wire_to

PICTURE = "https://example.com/" + "x" * 1_000


class FaultyStore(SqliteStore):
    """A store that answers for profiles when a test says so.

    Attributes:
        away: it raises StoreUnavailable instead.
        answers: what a call waits for.
        asked: the calls of either kind.
        told: what came of set_profile.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.told: list[ProfileSet] = []

    async def set_profile(self, update: ProfileUpdate) -> ProfileSet:
        await self._answer()
        self.told.append(await super().set_profile(update))
        return self.told[-1]

    async def get_profiles(self, user_ids: Sequence[UserId]) -> Sequence[Profile]:
        await self._answer()
        return await super().get_profiles(user_ids)

    async def _answer(self) -> None:
        self.asked += 1
        await self.answers.wait()
        if self.away:
            raise StoreUnavailable


def names(participants: list[dict[str, Any]]) -> dict[str, str | bool | None]:
    return {each["userId"]: each.get("known", each.get("name")) for each in participants}


async def test_a_login_does_not_wait_for_the_profile(tmp_path: Path) -> None:
    """`welcome` comes while the store does not answer, and so does what the user does next."""
    store = FaultyStore(tmp_path / "chat.db")
    async with serving(tmp_path / "chat.db", store=store) as server, wire_to(server.url) as wire:
        store.answers.clear()
        ann = await wire.person("ann", name="Ann")
        await ann.client.ok("authenticate", {"token": token("ann", name="Ann")})
        await eventually("the store is asked", lambda: store.asked)
        store.answers.set()


async def test_an_outage_costs_names_and_nothing_else(tmp_path: Path) -> None:
    """Logins, conversations and messages go on; who is here has a name, and the others hear of it when it is stored."""
    store = FaultyStore(tmp_path / "chat.db")
    async with serving(tmp_path / "chat.db", store=store) as server, wire_to(server.url) as wire:
        ann = await wire.person("ann", name="Ann")
        chat = await ann.create("ben", "cat", title="a group")
        assert names((await ann.join(chat))["participants"]) == {"ann": "Ann", "ben": False, "cat": False}
        store.away = True
        server.clock.advance(90)  # what was looked up before is old
        ben = await wire.person("ben", name="Ben")
        told = names((await ben.join(chat))["participants"])
        assert told == {"ann": "Ann", "ben": "Ben", "cat": False}
        await ben.send(chat, "hello")
        other = await ben.create("dan")
        # Nobody can say whether dan has been here: nothing is said.
        assert names((await ben.join(other))["participants"]) == {"ben": "Ben", "dan": None}
        store.away = False
        await ann.client.wait("profile_changed", lambda seen: seen == {"userId": "ben", "name": "Ben"})
        assert names((await ann.join(chat))["participants"]) == {"ann": "Ann", "ben": "Ben", "cat": False}


async def test_who_has_no_user_costs_no_profile(tmp_path: Path) -> None:
    """Neither without a token, nor with one that is refused, nor by logging in over HTTP."""
    store = FaultyStore(tmp_path / "chat.db")
    async with serving(tmp_path / "chat.db", store=store) as server, wire_to(server.url) as wire:
        guest = await wire.open()
        await guest.wait("connect")
        assert (await guest.emit("list_conversations", {}))["error"]["code"] == "auth_required"
        refused = await wire.open({"token": token("ann", name="Ann")[:-4] + "AAAA"})
        await refused.wait("connect_error")
        assert (await guest.emit("authenticate", {"token": "x.y.z"}))["error"]["code"] == "invalid_token"
        assert store.asked == 0


async def test_the_same_login_again_writes_nothing(tmp_path: Path) -> None:
    """The file is as it was after a reconnect with the same name."""
    store = FaultyStore(tmp_path / "chat.db")
    async with serving(tmp_path / "chat.db", store=store) as server, wire_to(server.url) as wire:

        def has_told(stored: int) -> bool:
            return len(store.told) == stored

        with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as look:
            versions = []
            for name, stored in (("Ann", 1), ("Ann", 1), ("Ann B.", 2)):
                await wire.person("ann", name=name)
                await eventually("it is stored, or need not be", partial(has_told, stored))
                versions.append(look.execute("PRAGMA data_version").fetchone())
        assert [result.changed for result in store.told] == [True, True]
        assert versions[0] == versions[1] != versions[2]


async def test_long_pictures_find_room(tmp_path: Path) -> None:
    """Forty people with addresses of a thousand characters: no answer ends its client as a slow consumer, and one finds
    oneself in it."""
    store = SqliteStore(str(tmp_path / "chat.db"))
    options = {"outbox_bytes": 65_536, "listed_participants": 1_000, "joined_participants": 1_000}
    async with serving(tmp_path / "chat.db", store=store, **options) as server, wire_to(server.url) as wire:
        others = [f"a{number:02}" for number in range(40)]
        for other in others:
            await store.set_profile(ProfileUpdate(UserId(other), "name", PICTURE))
        zoe = await wire.person("zoe", name="Zoe")
        answer = await zoe.client.ok("create_conversation", {"participantIds": others})
        chat = answer["conversation"]["id"]
        joined = await zoe.join(chat)
        listed = await zoe.client.ok("list_conversations", {})
        created = await zoe.client.wait("conversation_created")
        for profiles in (answer["profiles"], listed["profiles"], created["profiles"], joined["participants"]):
            assert 1 < len(profiles) < 40
            assert len(json.dumps(profiles)) < 65_536 / 4 + 2_000
        assert joined["participants"][-1]["userId"] == "zoe"
        assert joined["participants"][-1]["name"] == "Zoe"
        assert joined["conversation"]["participantCount"] == 41
        pages: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = await zoe.client.ok("list_participants", {"conversationId": chat, **after})
            pages += page["participants"]
            if not page["hasMore"]:
                break
            after = {"after": page["nextAfter"]}
        assert names(pages) == {**dict.fromkeys(others, "name"), "zoe": "Zoe"}


async def test_senders_in_a_conversation_that_names_not_everybody(tmp_path: Path) -> None:
    """A message of somebody beyond the participants that a join tells came from a mere id."""
    path = tmp_path / "chat.db"
    async with serving(path, joined_participants=2, listed_participants=2) as server, wire_to(server.url) as wire:
        ann = await wire.person("ann", name="Ann")
        zoe = await wire.person("zoe", name="Zoe")
        yan = await wire.person("yan", name="Yan")
        chat = await ann.create("ben", "cat", "yan", "zoe")
        await ann.join(chat)
        await zoe.send(chat, "hello")
        profile = {"userId": "zoe", "name": "Zoe"}
        assert (await ann.client.wait("message_created"))["sender"] == profile
        assert (await yan.client.wait("conversation_activity"))["sender"] == profile
        for reader, strangers in ((ann, {"zoe": "Zoe"}), (yan, {"zoe": "Zoe"})):
            joined = await reader.join(chat)
            assert names(joined["profiles"]) == strangers
            history = await reader.client.ok("fetch_history", {"conversationId": chat})
            assert names(history["profiles"]) == {"zoe": "Zoe"}
            for event, which in (("fetch_changes", {"after": 0}), ("fetch_messages", {"seqs": [1]})):
                page = await reader.client.ok(event, {"conversationId": chat, **which})
                assert names(page["profiles"]) == {"zoe": "Zoe"}
            listed = await reader.client.ok("list_conversations", {})
            assert names(listed["profiles"]) == {"ann": "Ann", "ben": False, "zoe": "Zoe"}
        assert "profiles" not in await zoe.join(chat)
        small = await ann.create("zoe")
        await ann.send(small, "hello")
        assert "profiles" not in await zoe.client.ok("fetch_history", {"conversationId": small})
        assert "sender" not in await zoe.client.wait("conversation_activity", lambda seen: seen["senderId"] == "ann")
