"""The namespace of the Socket.IO Admin UI, to stock clients that connect as the UI does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from socketserver.app import GUARDS
from socketserver.ops import admin_ui
from socketserver.realtime import admin_ui as engine
from typing import Any, Final

import aiohttp
import pytest
from support.node import Client, Node
from support.servers import LocalServer, serving, token
from support.stage import Stage
from support.waiting import DEADLINE_S, eventually

PASSWORD: Final = "the-password-of-the-administrator"
LOGIN: Final = {"username": "admin", "password": PASSWORD}
MARK: Final = "withhold-this"


@pytest.fixture
async def server(database: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalServer]:
    """A server that may be watched, and looks at itself more often than it does by default."""
    monkeypatch.setattr(admin_ui, "INTERVAL_S", 0.05)
    async with serving(database, admin_ui=True, admin_token=PASSWORD) as server:
        yield server


@pytest.fixture
def stage(server: LocalServer, node: Node) -> Stage:
    return Stage(server, node)


async def open_ui(node: Node, server: LocalServer, auth: object = LOGIN, **options: Any) -> Client:
    """What the UI does when somebody presses Connect."""
    return await node.open(
        f"{server.url}/admin", **{"auth": auth, "transport": "upgrade", "reconnection": False, **options}
    )


async def watch(node: Node, server: LocalServer) -> Client:
    """A UI in which somebody has logged in."""
    ui = await open_ui(node, server)
    await ui.wait("all_sockets")
    return ui


def all_of(ui: Client, event: str) -> list[list[Any]]:
    """The arguments of all events of that name."""
    return [seen.args for seen in ui.log if seen.event == event]


async def until(ui: Client, event: str, holds: Callable[[list[Any]], object]) -> list[Any]:
    """The arguments of the first event of that name for which `holds`."""
    found = await eventually(event, lambda: [args for args in all_of(ui, event) if holds(args)])
    return found[0]


def described(ui: Client) -> list[dict[str, Any]]:
    """All sockets that were described, some of them repeatedly."""
    listed = [socket for sockets in ui.seen("all_sockets") for socket in sockets]
    return [*listed, *ui.seen("socket_connected")]


# Getting in


async def test_off_by_default(database: Path, node: Node) -> None:
    """Without the setting there is no such namespace, whatever the password."""
    async with serving(database, admin_token=PASSWORD) as server:
        ui = await open_ui(node, server)
        assert (await ui.wait("connect_error"))["message"] == "Invalid namespace"


@pytest.mark.parametrize(
    "auth",
    [
        None,
        {},
        {"username": "admin"},
        {"username": "admin", "password": ""},
        {"username": "admin", "password": PASSWORD[:-1]},
        {"username": "root", "password": PASSWORD},
        {"username": "admin", "password": PASSWORD, "more": 1},
        {"username": ["admin"], "password": {"$ne": None}},
        {"sessionId": None},
        {"sessionId": ""},
        {"sessionId": PASSWORD},
        {"sessionId": ["a"]},
        {"token": PASSWORD},
        [LOGIN],
    ],
    ids=str,
)
async def test_other_credentials_are_refused(node: Node, server: LocalServer, auth: object) -> None:
    """With the words at which the UI asks again; a chat user's token is none either."""
    ui = await open_ui(node, server, auth)
    assert await ui.wait("connect_error") == {"message": "invalid credentials", "data": None, "active": False}
    assert [seen.event for seen in ui.log if seen.event in ("connect", "config", "session", "server_stats")] == []


async def test_wrong_passwords_are_counted(database: Path, node: Node) -> None:
    """Wrong passwords kept out who has the right one. Now they count as connects of which no user comes, and it is let
    in."""
    async with serving(database, admin_ui=True, admin_token=PASSWORD, failed_connects_per_minute_address=3) as server:
        for _ in range(5):
            ui = await open_ui(node, server, {**LOGIN, "password": "guess"})
            await ui.wait("connect_error")
        guards = server.app[GUARDS]
        assert guards.sizes()["connects"] == 1
        ui = await open_ui(node, server)
        await ui.wait("config")
        assert guards.sizes()["open_addresses"] == 1


async def test_one_try_per_handshake(server: LocalServer) -> None:
    """Whoever goes on trying over the same connection is not listened to, and is closed soon."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/socket.io/?EIO=4&transport=websocket") as socket,
    ):
        await socket.receive_str(timeout=DEADLINE_S)
        for password in ("guess", PASSWORD):
            await socket.send_str("40/admin," + json.dumps({**LOGIN, "password": password}))
            answer = await socket.receive_str(timeout=DEADLINE_S)
            assert answer == '44/admin,{"message":"invalid credentials"}'
        assert (await socket.receive(timeout=DEADLINE_S)).type is aiohttp.WSMsgType.CLOSE


async def test_a_reloaded_page_needs_no_password(node: Node, server: LocalServer) -> None:
    """The UI keeps a session id instead, which is good for some hours and for this server only."""
    ui = await watch(node, server)
    (session_id,) = ui.seen("session")
    again = await open_ui(node, server, {"sessionId": session_id})
    await again.wait("config")
    await again.wait("server_stats")
    assert again.seen("session") == []


async def test_only_who_logged_in_is_told_anything(node: Node, server: LocalServer, stage: Stage) -> None:
    """Not a chat user, and nobody who was refused."""
    refused = await open_ui(node, server, {"username": "admin", "password": "guess"})
    await refused.wait("connect_error")
    ana = await stage.person("ana")
    ui = await watch(node, server)
    await ui.wait_count("server_stats", 3)
    await ana.settle()
    ours = {"session", "config", "server_stats", "all_sockets", "socket_connected"}
    for client in (refused, ana.client):
        assert not ours & {seen.event for seen in client.log}


# What is shown


async def test_the_server_is_described(node: Node, server: LocalServer, stage: Stage) -> None:
    """What it supports, how many are connected and how, and the connections that came and went meanwhile."""
    ui = await watch(node, server)
    assert ui.seen("config") == [{"supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS", "DISCONNECT"]}]
    await stage.person("ana")
    await stage.person("ben", transport="polling")
    await stage.person("ana")  # replaces the first one
    stats = await ui.wait("server_stats", lambda stats: stats["namespaces"] == [{"name": "/", "socketsCount": 2}])
    assert set(stats) == {
        "serverId",
        "hostname",
        "pid",
        "uptime",
        "clientsCount",
        "pollingClientsCount",
        "aggregatedEvents",
        "namespaces",
    }
    await ui.wait("server_stats", lambda stats: (stats["clientsCount"], stats["pollingClientsCount"]) == (3, 1))

    def counted(kind: str) -> int:
        return sum(
            each["count"]
            for stats in ui.seen("server_stats")
            for each in stats["aggregatedEvents"]
            if each["type"] == kind
        )

    await eventually(
        "three came and one went", lambda: (counted("rawConnection"), counted("rawDisconnection")) == (3, 1)
    )


async def test_sockets_come_and_go(node: Node, server: LocalServer, stage: Stage) -> None:
    """With address, transport and rooms; what a socket joins and leaves; and why it went."""
    ana = await stage.person("ana")
    ui = await watch(node, server)
    (shown,) = ui.seen("all_sockets")[0]
    state = await ana.client.state()
    assert (shown["id"], shown["nsp"], shown["transport"]) == (state["sid"], "/", "websocket")
    assert shown["handshake"]["address"] == "127.0.0.1"
    assert shown["handshake"]["query"] == {"EIO": "4", "transport": "websocket"}
    assert shown["rooms"] == [state["sid"], "u:ana"]
    assert shown["data"] == {}

    ben = await stage.person("ben", transport="upgrade")
    ben_sid = (await ben.client.state())["sid"]
    (described, when) = await until(ui, "socket_connected", lambda args: args[0]["id"] == ben_sid)
    assert described["handshake"]["time"] == when
    if described["transport"] == "polling":
        assert (await ui.wait("socket_updated", lambda told: told["id"] == ben_sid))["transport"] == "websocket"

    chat = await ana.create("ben")
    await ben.join(chat)
    await until(ui, "room_joined", lambda args: args[:3] == ["/", f"c:{chat}", ben_sid])
    await ben.client.ok("leave_conversation", {"conversationId": chat})
    await until(ui, "room_left", lambda args: args[:3] == ["/", f"c:{chat}", ben_sid])

    await ben.client.disconnect()
    await until(ui, "socket_disconnected", lambda args: args[:3] == ["/", ben_sid, "client disconnect"])
    again = await stage.person("ana")
    await again.settle()
    await until(ui, "socket_disconnected", lambda args: args[1] == state["sid"])


async def test_events_are_shown_by_name_only(node: Node, server: LocalServer, stage: Stage) -> None:
    """Who sent and who got which event; a name that the server does not know is the client's own text, and withheld."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ben.join(chat)
    ui = await watch(node, server)
    ana_sid, ben_sid = [(await person.client.state())["sid"] for person in (ana, ben)]
    await ana.send(chat, MARK)
    await ana.client.refused(MARK, {MARK: MARK})
    received = await until(ui, "event_received", lambda args: args[2] == ["send_message"])
    assert received[:2] == ["/", ana_sid]
    await until(ui, "event_sent", lambda args: args[1:3] == [ben_sid, ["message_created"]])
    await until(ui, "event_received", lambda args: args[2] == ["(unknown)"])
    assert all(len(args[2]) == 1 for event in ("event_received", "event_sent") for args in all_of(ui, event))
    assert MARK not in json.dumps([seen.args for seen in ui.log])


async def test_nothing_secret_is_shown(node: Node, server: LocalServer, stage: Stage) -> None:
    """No token, cookie, header that is not listed, query, auth, body, metadata, session id or engine session id."""
    ui = await watch(node, server)
    secret = token("ana", name=f"{MARK}-name")
    ana = await stage.person(
        "ana",
        auth={"token": secret, "more": f"{MARK}-auth"},
        headers={
            "Cookie": f"a={MARK}-cookie",
            "Authorization": f"Bearer {MARK}-authorization",
            "X-Api-Key": f"{MARK}-header",
            "User-Agent": "an agent",
            "Origin": "http://localhost:3000",
        },
        query={"token": f"{MARK}-query"},
    )
    chat = await ana.create("ben")
    await ana.join(chat)
    await ana.send(chat, f"{MARK}-body", metadata={"a": f"{MARK}-metadata"})
    await server.sio.save_session((await ana.client.state())["sid"], {"a": f"{MARK}-session"})
    late = await watch(node, server)
    await ana.client.disconnect()
    for each in (ui, late):
        await until(each, "socket_disconnected", bool)
        text = json.dumps([seen.args for seen in each.log])
        assert MARK not in text
        assert secret not in text
        assert PASSWORD not in text
        for name in server.sio.eio.sessions:
            assert name not in text
        shown = described(each)[0]
        assert shown["handshake"]["headers"] == {"user-agent": "an agent", "origin": "http://localhost:3000"}


async def test_what_is_told_at_a_time_is_bounded(
    node: Node, server: LocalServer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More sockets than that are told of bit by bit, until a number at which the list ends; of events some."""
    monkeypatch.setattr(engine, "MAX_CHANGES", 2)
    monkeypatch.setattr(engine, "MAX_SOCKETS", 5)
    monkeypatch.setattr(engine, "MAX_ROOMS", 1)
    monkeypatch.setattr(engine, "MAX_EVENTS", 3)
    people = await stage.people(*"abcdef")
    ui = await watch(node, server)
    assert len(ui.seen("all_sockets")[0]) == 2
    await ui.wait_count("socket_connected", 3)
    chat = await people[0].create(*"bcdef")
    for person in people:
        await person.join(chat)
    await people[0].send(chat, "hello")
    await ui.wait("event_sent")
    (mark, ticks) = ui.mark(), len(ui.seen("server_stats"))
    await ui.wait_count("server_stats", ticks + 3)
    assert len(ui.seen("socket_connected")) == 3
    assert all(len(shown["rooms"]) == 2 for shown in described(ui))
    told = 0
    for seen in ui.log[:mark]:
        told = told + 1 if seen.event in ("event_sent", "event_received") else 0
        assert told <= 3


async def test_unwatched_nothing_is_recorded(node: Node, server: LocalServer, stage: Stage) -> None:
    """The taps on events are there while somebody watches; afterwards nothing is left, and a second time it works."""
    ana = await stage.person("ana")
    idle = server.sio.stats()
    for _ in range(2):
        assert not server.sio.manager.taps
        ui = await watch(node, server)
        server.sio.emit_now("seen", {})
        await until(ui, "event_sent", lambda args: args[2] == ["seen"])
        await ui.disconnect()
        await eventually("as before", lambda: server.sio.stats() == idle)
    assert not server.sio.manager.taps
    await ana.settle()


async def test_the_guards_are_told_as_before(server: LocalServer, stage: Stage) -> None:
    """Of sessions that begin and end, and of requests that the engine refuses."""
    guards = server.app[GUARDS]
    ana = await stage.person("ana")
    assert guards.sizes()["open_addresses"] == 1
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/socket.io/?EIO=3&transport=polling") as response,
    ):
        assert response.status == 400
    await ana.client.disconnect()
    await eventually("nobody is counted", lambda: guards.sizes()["open_addresses"] == 0)


# What it may do


async def test_it_disconnects_a_socket(
    node: Node, server: LocalServer, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is told why, and stays away; the others stay. The log says from where it was done."""
    caplog.set_level("INFO")
    ana, ben = await stage.people("ana", "ben")
    ui = await watch(node, server)
    await ui.forget("_disconnect", "/", True, (await ana.client.state())["sid"])
    ended = await ana.client.wait("session_ended")
    assert (ended["code"], ended["reconnect"]) == ("kicked", False)
    assert any("kicked" in line and "user_id=ana by_address=127.0.0.1" in line for line in caplog.messages)
    assert await ana.client.wait("disconnect") == "io server disconnect"
    await until(ui, "socket_disconnected", bool)
    await ben.settle()


async def test_it_does_nothing_else(node: Node, server: LocalServer, stage: Stage) -> None:
    """Emitting and rooms would go round the chat's permissions; a room or everybody is too easily disconnected."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ana.create("ben")
    await ana.join(chat)
    ui = await watch(node, server)
    ben_sid = (await ben.client.state())["sid"]
    for event, *args in (
        ("emit", "/", None, "message_created", {}),
        ("emit", "/", ben_sid, "message_created", {}),
        ("join", "/", f"c:{chat}", ben_sid),
        ("leave", "/", f"c:{chat}"),
        ("_disconnect", "/", True),
        ("_disconnect", "/", True, f"c:{chat}"),
        ("_disconnect", "/", True, [ben_sid]),
        ("_disconnect", ["/"], True, ben_sid),
        ("_disconnect", "/admin", True, (await ui.state())["sid"]),
        ("_disconnect",),
    ):
        await ui.forget(event, *args)
    await ui.wait_count("server_stats", 3, after=ui.mark())
    assert f"c:{chat}" not in server.sio.manager.get_rooms(ben_sid, "/")
    await ana.send(chat, "still here")
    for person in (ana, ben):
        await person.settle()
        assert person.client.seen("session_ended") == []
    assert [message["message"]["body"] for message in ana.client.seen("message_created")] == ["still here"]
    assert ben.client.seen("message_created") == []
