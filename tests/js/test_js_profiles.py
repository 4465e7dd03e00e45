"""Two people see each other's names and pictures with the real client: in every answer, and live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.node import TRANSPORTS, Node
from support.servers import LocalServer, serving, token
from support.stage import Person, Stage

PICTURE = "https://example.com/ana.png"


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


@pytest.fixture(params=TRANSPORTS)
def stage(request: pytest.FixtureRequest, server: LocalServer, node: Node) -> Stage:
    return Stage(server, node, transport=request.param)


async def joined(person: Person, chat: str) -> dict[str, dict[str, Any]]:
    """How the participants are shown in the answer to a join, by id; list_participants agrees."""
    answer = shown((await person.join(chat))["participants"])
    listed = await person.client.ok("list_participants", {"conversationId": chat})
    assert shown(listed["participants"]) == answer
    return answer


async def listed(person: Person) -> dict[str, dict[str, Any]]:
    return shown((await person.client.ok("list_conversations", {}))["profiles"])


def shown(profiles: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    fields = ("name", "avatar", "known")
    return {each["userId"]: {key: each[key] for key in fields if key in each} for each in profiles}


async def test_two_people_see_each_others_names(stage: Stage) -> None:
    """A token's name reached nobody else: pages showed `u_1001: Bonjour`. It is in every answer now, and live when it
    has changed at the next connect."""
    ana = await stage.person("u_1001", auth={"token": token("u_1001", name="Ana A.", picture=PICTURE)})
    tokens = [{"token": token("u_1002", name=name)} for name in ("Ben", "Ben B.")]
    ben = Person("u_1002", await stage.open(auths=tokens))
    await ben.client.wait("welcome")
    both = {"u_1001": {"name": "Ana A.", "avatar": PICTURE}, "u_1002": {"name": "Ben"}}

    answer = await ana.client.ok("create_conversation", {"participantIds": ["u_1002"]})
    chat = answer["conversation"]["id"]
    assert shown(answer["profiles"]) == both
    assert shown((await ben.client.wait("conversation_created"))["profiles"]) == both
    for person in (ana, ben):
        assert await joined(person, chat) == both
        assert await listed(person) == both

    await ben.client.close_engine()  # comes back by itself, with the next token
    changed = await ana.client.wait("profile_changed", lambda seen: seen.get("name") == "Ben B.")
    assert changed == {"userId": "u_1002", "name": "Ben B."}
    both["u_1002"] = {"name": "Ben B."}
    assert await joined(ana, chat) == both
    assert await listed(ana) == both
    assert [event["userId"] for event in ana.client.seen("profile_changed")].count("u_1001") == 0


async def test_an_id_that_has_never_been_here_is_shown_as_such(stage: Stage) -> None:
    """Until somebody logs in with it, with a name or without, and comes into the conversation."""
    (ana,) = await stage.people("ana")
    answer = await ana.client.ok("create_conversation", {"participantIds": ["ben", "cat"]})
    chat = answer["conversation"]["id"]
    nobody: dict[str, dict[str, Any]] = {"ana": {}, "ben": {"known": False}, "cat": {"known": False}}
    assert shown(answer["profiles"]) == nobody
    assert await joined(ana, chat) == nobody
    assert await listed(ana) == nobody
    ben = await stage.person("ben")
    assert await joined(ben, chat) == {"ana": {}, "ben": {}, "cat": {"known": False}}
    assert await ana.client.wait("profile_changed") == {"userId": "ben"}
    assert await joined(ana, chat) == {"ana": {}, "ben": {}, "cat": {"known": False}}


async def test_a_renewed_token_brings_a_new_name(stage: Stage) -> None:
    """Without a reconnect; one that says nothing of the name leaves it, and a picture that is null is gone."""
    ana = await stage.person("ana")
    ben = await stage.person("ben", auth={"token": token("ben", name="Ben", picture=PICTURE)})
    chat = await ben.create("ana")
    assert (await joined(ana, chat))["ben"] == {"name": "Ben", "avatar": PICTURE}
    await ben.client.ok("authenticate", {"token": token("ben", picture="https://example.com/new.png")})
    seen = await ana.client.wait("profile_changed", lambda seen: seen["userId"] == "ben")
    assert seen == {"userId": "ben", "name": "Ben", "avatar": "https://example.com/new.png"}
    await ben.client.ok("authenticate", {"token": token("ben", picture="")})
    await ana.client.wait("profile_changed", lambda seen: "avatar" not in seen)
    assert (await joined(ana, chat))["ben"] == {"name": "Ben"}


async def test_names_outlive_the_server(database: Path, node: Node) -> None:
    """Who is away is shown by the name that was told last, also after a restart."""
    async with serving(database) as server:
        stage = Stage(server, node)
        ana = await stage.person("ana", auth={"token": token("ana", name="Ana", picture=PICTURE)})
        chat = await ana.create("ben")
        await ana.client.disconnect()
    async with serving(database) as server:
        ben = await Stage(server, node).person("ben")
        assert (await joined(ben, chat))["ana"] == {"name": "Ana", "avatar": PICTURE}
        assert (await listed(ben))["ana"] == {"name": "Ana", "avatar": PICTURE}
