"""Who is let in, and which sockets of a user stay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.chat.domain import UserId
from socketserver.wire.protocol import ClientEvent

import aiohttp
import pytest
from support.node import TRANSPORTS, VERSIONS, Node, Transport, Version, binary
from support.servers import LocalServer, serving, token
from support.stage import Stage
from support.waiting import eventually

CLIENTS = [(version, transport) for version in VERSIONS for transport in TRANSPORTS]
each_client = pytest.mark.parametrize(("version", "transport"), CLIENTS)


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


@pytest.fixture
def stage(server: LocalServer, node: Node) -> Stage:
    return Stage(server, node)


# One socket per user


@each_client
async def test_the_newest_socket_of_a_user_stays(
    server: LocalServer, node: Node, version: Version, transport: Transport
) -> None:
    """The old one is told why, disconnected by the server and stays away; its late end does not remove the new one."""
    stage = Stage(server, node, version=version, transport=transport)
    old = await stage.person("ana")
    chat = await old.create("ben")
    await old.join(chat)
    new = await stage.person("ana")
    ended = await old.client.wait("session_ended")
    assert {"code": ended["code"], "reconnect": ended["reconnect"]} == {"code": "replaced", "reconnect": False}
    assert ended["message"]
    assert await old.client.wait("disconnect") == "io server disconnect"
    assert (await old.client.state())["active"] is False
    await eventually("the old socket is gone", lambda: len(server.sessions) == 1)
    (own,) = server.sessions.of_user(UserId("ana"))
    assert own.sid == (await new.client.state())["sid"]

    ben = await stage.person("ben")
    await new.join(chat)
    await ben.send(chat, "to the new one")
    await new.client.wait("message_created")
    await new.settle()
    assert old.client.log[-1].event == "disconnect"
    assert old.client.seen("message_created") == []
    assert new.client.seen("session_ended") == []


async def test_many_sockets_after_one_another(server: LocalServer, stage: Stage) -> None:
    """Of five tabs opened at once one stays, and it works. (More, replacing one another, would be taken for a loop.)"""
    people = [await stage.open(auth={"token": token("ana")}) for _ in range(5)]
    await eventually("one is left", lambda: len(server.sessions) == 1 and all(c.seen("connect") for c in people))
    (own,) = server.sessions.of_user(UserId("ana"))
    states = [await client.state() for client in people]
    (left,) = [client for client, state in zip(people, states, strict=True) if state["sid"] == own.sid]
    assert left.seen("session_ended") == []
    await left.ok("list_conversations", {})
    for client in people:
        if client is not left:
            await client.wait("session_ended", lambda ended: ended["code"] == "replaced")
            await client.wait("disconnect", lambda reason: reason == "io server disconnect")


async def test_a_socket_that_was_cut_does_not_hurt_its_successor(server: LocalServer, stage: Stage) -> None:
    """The same user comes back while the server still believes in the dead socket: the new one stays registered."""
    old = await stage.person("ana", reconnection=False)
    await old.client.cut()
    new = await stage.person("ana")
    await eventually("the dead one is gone", lambda: len(server.sessions) == 1)
    (own,) = server.sessions.of_user(UserId("ana"))
    assert own.sid == (await new.client.state())["sid"]
    await new.settle()


@pytest.mark.parametrize(("allowed", "left"), [(2, 2), (0, 4)])
async def test_more_sockets_per_user(database: Path, node: Node, allowed: int, left: int) -> None:
    """With n sockets per user the oldest goes; with 0 all stay. All that stay get everything."""
    async with serving(database, sockets_per_user=allowed) as server:
        stage = Stage(server, node)
        tabs = [await stage.person("ana") for _ in range(4)]
        stay, go = tabs[4 - left :], tabs[: 4 - left]
        for tab in go:
            assert (await tab.client.wait("session_ended"))["code"] == "replaced"
            await tab.client.wait("disconnect")
        await eventually("the surplus is gone", lambda: len(server.sessions) == left)
        chat = await stay[0].create("ben")
        for tab in stay:
            await tab.client.wait("conversation_created")
            await tab.join(chat)
        await stay[-1].send(chat, "to all tabs")
        for tab in stay:
            await tab.client.wait("message_created")
            assert tab.client.seen("session_ended") == []


# Tokens at the handshake

BAD_TOKENS: dict[str, tuple[object, str]] = {
    "garbage": ("nonsense", "invalid_token"),
    "another key": (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbmEiLCJleHAiOjQxMDI0NDQ4MDB9."
        "Zm9yZ2VkLWZvcmdlZC1mb3JnZWQtZm9yZ2VkLWZvcmdlZA",
        "invalid_token",
    ),
    "no algorithm": ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEiLCJleHAiOjQxMDI0NDQ4MDB9.", "invalid_token"),
    "empty": ("", "invalid_token"),
    "too long": ("x" * 9000, "invalid_token"),
    "not ASCII": ("tökén.ü.ö", "invalid_token"),
    "a number": (7, "invalid_token"),
    "an object": ({"$ne": None}, "invalid_token"),
    "an array": ([token("ana")], "invalid_token"),
    "expired": (token("ana", ahead_s=-7200), "token_expired"),
}


@each_client
@pytest.mark.parametrize("label", ["garbage", "expired"])
async def test_a_bad_token_is_refused(
    server: LocalServer, node: Node, version: Version, transport: Transport, label: str
) -> None:
    """The client learns the code, and does not try again by itself."""
    await refused_at_the_handshake(Stage(server, node, version=version, transport=transport), server, label)


@pytest.mark.parametrize("label", BAD_TOKENS)
async def test_every_bad_token_is_refused(server: LocalServer, stage: Stage, label: str) -> None:
    """Whatever is passed for a token."""
    await refused_at_the_handshake(stage, server, label)


async def refused_at_the_handshake(stage: Stage, server: LocalServer, label: str) -> None:
    bad, code = BAD_TOKENS[label]
    client = await stage.open(auth={"token": bad})
    error = await client.wait("connect_error")
    assert error["data"]["code"] == code
    assert error["data"]["retryable"] is False
    assert error["message"] == error["data"]["message"]
    # Before 4.1 the client stays on its engine connection, without its namespace, and calls itself active.
    assert error["active"] is (stage.version != "4.8")
    await eventually("nothing of it is left", lambda: len(server.sessions) == 0)
    assert client.seen("reconnect_attempt") == []
    assert client.seen("connect") == []


@pytest.mark.parametrize(
    "auth", [{}, {"token": None}, {"pid": "p", "offset": "o"}, {"name": {"first": [1]}}, [1], []], ids=str
)
async def test_other_auth_is_no_user(stage: Stage, auth: object) -> None:
    """Without a token the socket is let in without a user; keys that are not known are nobody's business."""
    client = await stage.open(auth=auth)
    await client.wait("connect")
    assert (await client.refused("list_conversations", {}))["code"] == "auth_required"


async def test_unknown_keys_beside_the_token(stage: Stage) -> None:
    """The client may add keys of its own to `auth`."""
    client = await stage.open(auth={"token": token("ana"), "pid": "p", "offset": 3})
    assert (await client.wait("welcome"))["user"]["id"] == "ana"


# Cookies


async def log_in(server: LocalServer, user: str, origin: str) -> str:
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {token(user)}", "Origin": origin}
        async with session.post(f"{server.url}/session", headers=headers) as response:
            assert response.status == 200
            (cookie,) = response.cookies.values()
            return f"{cookie.key}={cookie.value}"


@each_client
async def test_a_login_cookie(server: LocalServer, node: Node, version: Version, transport: Transport) -> None:
    """The cookie of POST /session, sent from an allowed origin, is as good as a token."""
    origin = "http://localhost:3000"
    cookie = await log_in(server, "ana", origin)
    stage = Stage(server, node, version=version, transport=transport)
    client = await stage.open(headers={"Cookie": cookie, "Origin": origin})
    assert (await client.wait("welcome"))["user"]["id"] == "ana"
    await client.ok("list_conversations", {})


async def test_a_cookie_without_an_origin(server: LocalServer, stage: Stage) -> None:
    """A cookie that comes without an Origin is not believed: the socket has no user."""
    client = await stage.open(headers={"Cookie": await log_in(server, "ana", server.url)})
    await client.wait("connect")
    assert (await client.refused("list_conversations", {}))["code"] == "auth_required"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_cookie_from_a_foreign_page(server: LocalServer, stage: Stage, transport: Transport) -> None:
    """A page of another origin does not even connect."""
    cookie = await log_in(server, "ana", server.url)
    client = await stage.open(
        transport=transport, headers={"Cookie": cookie, "Origin": "https://evil.example"}, reconnection=False
    )
    await client.wait("connect_error")
    assert client.seen("connect") == []
    assert len(server.sessions) == 0


@pytest.mark.parametrize("spoilt", ["", "garbage", "=%00%ff"])
async def test_a_spoilt_cookie(server: LocalServer, stage: Stage, spoilt: str) -> None:
    """A cookie that cannot be read is none, and no error."""
    name = (await log_in(server, "ana", server.url)).partition("=")[0]
    client = await stage.open(headers={"Cookie": f"{name}={spoilt}", "Origin": server.url})
    await client.wait("connect")
    assert (await client.refused("list_conversations", {}))["code"] == "auth_required"


async def test_the_token_goes_before_the_cookie(server: LocalServer, stage: Stage) -> None:
    """With both, the token says who it is; a bad one is not mended by a good cookie."""
    headers = {"Cookie": await log_in(server, "ana", server.url), "Origin": server.url}
    client = await stage.open(headers=headers, auth={"token": token("ben")})
    assert (await client.wait("welcome"))["user"]["id"] == "ben"
    client = await stage.open(headers=headers, auth={"token": "bad"})
    assert (await client.wait("connect_error"))["data"]["code"] == "invalid_token"


# The authenticate event


@each_client
async def test_the_authenticate_event(server: LocalServer, node: Node, version: Version, transport: Transport) -> None:
    """A socket without a user is refused at once, may try tokens, gets its user, and keeps it."""
    stage = Stage(server, node, version=version, transport=transport)
    client = await stage.open()
    await client.wait("connect")
    error = await client.refused("list_conversations", {})
    assert (error["code"], error["retryable"]) == ("auth_required", True)
    for bad, code in BAD_TOKENS.values():
        if isinstance(bad, str) and 0 < len(bad) < 8192:
            assert (await client.refused("authenticate", {"token": bad}))["code"] == code
    assert client.seen("welcome") == []
    ack = await client.ok("authenticate", {"token": token("ana", name="Ana")})
    assert ack == {"ok": True, "user": {"id": "ana", "name": "Ana"}}
    assert (await client.wait("welcome"))["user"] == {"id": "ana", "name": "Ana"}
    await client.ok("authenticate", {"token": token("ana", name="Ana")})
    assert (await client.refused("authenticate", {"token": token("ben")}))["code"] == "user_mismatch"
    assert (await client.refused("authenticate", {"token": "bad"}))["code"] == "invalid_token"
    chat = (await client.ok("create_conversation", {"participantIds": ["carl"]}))["conversation"]
    assert chat["createdBy"] == "ana"
    assert len(client.seen("welcome")) == 1
    assert len(server.sessions.of_user(UserId("ana"))) == 1
    assert len(server.sessions.of_user(UserId("ben"))) == 0


@pytest.mark.parametrize("event", [event for event in ClientEvent if event != ClientEvent.AUTHENTICATE])
async def test_every_event_needs_a_user(stage: Stage, event: ClientEvent) -> None:
    """Without a user nothing is even looked at: a good payload and a bad one get the same answer."""
    client = await stage.open()
    await client.wait("connect")
    answers = [await client.refused(event, payload) for payload in ({}, {"conversationId": "x"}, 7, binary(b"x"))]
    assert [answer["code"] for answer in answers] == ["auth_required"] * 4
    assert all(answer == answers[0] for answer in answers)


async def test_what_was_emitted_before_the_authentication(stage: Stage) -> None:
    """An event sent before `authenticate` is refused at once, and the client can go on: nothing is held back."""
    client = await stage.open()
    acks, order = await client.burst(
        [["list_conversations", {}], ["authenticate", {"token": token("ana")}], ["list_conversations", {}]]
    )
    assert [ack["ok"] for ack in acks] == [False, True, True]
    assert order == [0, 1, 2]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_socket_that_does_not_authenticate_in_time(
    server: LocalServer, node: Node, transport: Transport
) -> None:
    """After the time for it the socket is told so and ended; one with a user is not."""
    stage = Stage(server, node, transport=transport)
    ana = await stage.person("ana")
    client = await stage.open()
    await client.wait("connect")
    server.clock.advance(9)
    late = await stage.open()
    await late.wait("connect")
    server.clock.advance(2)
    ended = await client.wait("session_ended")
    assert {key: ended[key] for key in ("code", "reconnect")} == {"code": "auth_timeout", "reconnect": False}
    assert await client.wait("disconnect") == "io server disconnect"
    assert (await client.state())["active"] is False
    await late.ok("authenticate", {"token": token("late")})
    server.clock.advance(20)
    await eventually("the silent one is gone", lambda: len(server.sessions) == 2)
    for other in (ana.client, late):
        await other.ok("list_conversations", {})
        assert other.seen("session_ended") == []
