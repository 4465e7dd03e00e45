"""`AsyncServer` as an application uses it: handlers, acks, rooms, sessions, ends. Raw frames, a real server."""

import asyncio
import io
import json
import logging
from socketserver.realtime import AsyncServer, Json, PacketError, rooms
from socketserver.realtime.membership import MAX_TRIES
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import web
from support.engine import UNIT_S, client_of, echo_server, serving, until

COMES_BACK = (400, '{"code":1,"message":"Session ID unknown"}')
INTERNAL = {"code": "internal_error", "message": "The server made a mistake.", "retryable": False}


def server(**options: Any) -> AsyncServer:
    return AsyncServer(**{"ping_interval": 5, "ping_timeout": 5, **options})


# Connecting


async def test_emits_of_the_connect_handler_follow_its_connect_packet() -> None:
    """To the client itself and to a room it has entered; another's broadcast during it is not lost either."""
    sio = server()

    @sio.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await sio.emit("first", to=sid)
        await sio.enter_room(sid, "room")
        sio.emit_now("second", {"a": 1}, room="room")
        await asyncio.sleep(0.01)
        await sio.emit("third", ("a", 2))

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        assert [await raw.next() for _ in range(3)] == ['42["first"]', '42["second",{"a":1}]', '42["third","a",2]']


async def test_whether_a_room_is_heard() -> None:
    """By those who are in it, and by an admin who watches what is emitted; so nobody has to encode it for nobody."""
    sio = server()
    sids: list[str] = []

    @sio.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await sio.enter_room(sid, "room")
        sids.append(sid)

    assert not sio.is_heard("room")
    async with serving(sio) as url, client_of(url) as http:
        await http.connected()
        assert (sio.is_heard("room"), sio.is_heard("other"), sio.is_heard("room", "/n")) == (True, False, False)
        await sio.leave_room(sids[0], "room")
        assert not sio.is_heard("room")
        sio.manager.taps.append(lambda event, namespace, clients: None)
        assert sio.is_heard("room")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_emits_of_a_refusing_connect_handler_are_dropped(transport: str) -> None:
    sio = server()

    @sio.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await sio.emit("never", to=sid)
        raise socketio.exceptions.ConnectionRefusedError("no", {"code": "banned"})

    async with serving(sio) as url, client_of(url) as http:
        refusal = '44{"message":"no","data":{"code":"banned"}}'
        if transport == "polling":
            eio_sid = await http.handshake()
            await http.post(eio_sid, "40")
            assert (await http.poll(eio_sid))[1] == refusal
        else:
            raw = await http.websocket()
            await raw.send("40")
            assert await raw.next() == refusal
        assert sio.stats()["clients"] == 0


@pytest.mark.parametrize(
    ("outcome", "refusal"),
    [
        (False, {"message": "Connection rejected by server"}),
        (ConnectionRefusedError(), {"message": "Connection refused by server"}),
        (RuntimeError("bug"), {"message": "internal_error", "data": INTERNAL}),
        (TypeError("bug"), {"message": "internal_error", "data": INTERNAL}),
        (
            socketio.exceptions.ConnectionRefusedError("nan", float("nan")),
            {"message": "internal_error", "data": INTERNAL},
        ),
    ],
)
async def test_how_a_connect_handler_refuses(outcome: Any, refusal: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One that raises refuses with a code, and is called once; nothing is left behind."""
    sio = server()
    calls = 0

    @sio.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> Any:
        nonlocal calls
        calls += 1
        await sio.enter_room(sid, "room")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        pytest.fail("a refused client was never connected")

    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket()
        await raw.send("40")
        assert json.loads((await raw.next())[2:]) == refusal
        assert calls == 1
        stats = sio.stats()
        assert (stats["clients"], stats["rooms"]) == (0, 0)


@pytest.mark.parametrize("auth", ["", "[1]", '"text"', "false", "{}", "null", '{"token":"x"}'])
async def test_auth_may_be_any_json_value(auth: str) -> None:
    """Falsy values arrive as they are; no payload is None, and so is the empty object that python-socketio sends."""
    sio = server()
    seen: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen.append(auth)

    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket()
        await raw.send("40" + auth)
        assert (await raw.next()).startswith("40{")
        assert seen == [json.loads(auth) if auth not in ("", "{}") else None]


async def test_environ_tells_the_true_peer_and_the_request() -> None:
    """Forwarded headers do not change it."""
    sio = server()
    seen: list[Any] = []

    @sio.event
    def connect(sid: str, environ: dict[str, Any]) -> None:
        seen.append(environ)

    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket("&a=b", headers={"X-Forwarded-For": "1.2.3.4", "X-Custom": "c"})
        await raw.send("40")
        await raw.next()
        sid = json.loads((await raw.next())[2:])["sid"]
        environ = seen[0]
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert int(environ["REMOTE_PORT"]) > 0
        assert environ["HTTP_X_CUSTOM"] == "c"
        assert "a=b" in environ["QUERY_STRING"]
        assert environ["aiohttp.request"].path == "/socket.io/"
        assert sio.get_environ(sid) == environ
        assert sio.transport(sid) == "websocket"


@pytest.mark.parametrize("noted", [True, False])
async def test_an_environ_that_an_application_notes_something_in_is_kept(noted: bool) -> None:
    """One that it only reads is made anew when somebody asks, and costs an idle connection nothing."""
    sio = server()
    seen: list[Any] = []

    @sio.event
    def connect(sid: str, environ: dict[str, Any]) -> None:
        if noted:
            environ["app.user"] = "ann"
        seen.append(environ)

    async with serving(sio) as url, client_of(url) as http:
        _, sid = await http.connected()
        environ = sio.get_environ(sid)
        assert environ == seen[0]
        assert (environ is seen[0]) is noted


async def test_a_client_that_leaves_in_the_middle_of_connect_is_told_of_and_forgotten() -> None:
    """A slow database in connect, and the client is gone: connect, then disconnect, and nothing left."""
    sio = server()
    order: list[str] = []
    inside, go_on = asyncio.Event(), asyncio.Event()

    @sio.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        order.append("connect")
        inside.set()
        await go_on.wait()
        await sio.enter_room(sid, "room")

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        order.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket()
        await raw.send("40")
        await inside.wait()
        await raw.socket.close()
        await until(lambda: not sio.stats()["sessions"])
        go_on.set()
        await until(lambda: not sio.stats()["clients"])
        assert order == ["connect", "transport close"]
        assert not any(sio.stats().values())


async def test_a_session_that_never_connects_is_closed() -> None:
    """Also one that has been refused, or has left its last namespace."""
    sio = server()

    @sio.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> bool:
        return auth is None

    async with serving(sio) as url, client_of(url) as http:
        left, _ = await http.connected()
        stays, _ = await http.connected()
        sio.eio.connect_timeout = 0.2
        never = await http.websocket()
        refused = await http.websocket()
        await refused.send('40{"a":1}')
        await left.send("41")
        for raw in (never, refused, left):
            assert await raw.closed() == 1000  # by its timeout: who does not answer pings is cut off
        assert sio.stats()["clients"] == 1
        await stays.socket.close()


# Events


async def test_events_of_one_client_are_handled_in_order_and_the_others_do_not_wait() -> None:
    """A handler that waits holds back its own client only."""
    sio = server()
    order: list[Any] = []
    gate = asyncio.Event()

    @sio.event
    async def slow(sid: str, number: int) -> int:
        if number == 0:
            await gate.wait()
        order.append(number)
        return number

    async with serving(sio) as url, client_of(url) as http:
        first, _ = await http.connected()
        second, _ = await http.connected()
        await first.send(*[f'42{i}["slow",{i}]' for i in range(20)])
        await second.send('420["slow",99]')
        assert await second.next() == "430[99]"
        assert order == [99]
        gate.set()
        assert [await first.next() for _ in range(20)] == [f"43{i}[{i}]" for i in range(20)]
        assert order == [99, *range(20)]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_slow_handler_does_not_cost_its_client_the_heartbeat(transport: str) -> None:
    """Pongs are seen while a handler runs: without one there is no next ping."""
    sio = server(ping_interval=0.1, ping_timeout=UNIT_S)
    gate = asyncio.Event()
    pings = 4

    @sio.event
    async def slow(sid: str) -> str:
        await gate.wait()
        return "done"

    async with serving(sio) as url, client_of(url) as http:
        if transport == "websocket":
            raw, _ = await http.connected()
            await raw.send('420["slow"]')
            for _ in range(pings):
                assert await raw.frame() == "2"
                await raw.send("3")
            gate.set()
            assert await raw.next() == '430["done"]'
        else:
            sid = await http.handshake()
            assert await http.post(sid, '40\x1e420["slow"]') == (200, "ok")
            received: list[str] = []
            while '430["done"]' not in received:
                status, text = await http.poll(sid)
                assert status == 200
                received += text.split("\x1e")
                if "2" in text.split("\x1e"):
                    assert await http.post(sid, "3") == (200, "ok")
                    if received.count("2") == pings:
                        gate.set()


async def test_a_handler_that_raises_is_logged_and_acked(caplog: pytest.LogCaptureFixture) -> None:
    """The ack says internal_error; so does one whose result has no JSON. The client stays."""
    sio = server()

    @sio.event
    async def bug(sid: str) -> None:
        raise ValueError("secret detail")

    @sio.event
    async def nan(sid: str) -> float:
        return float("nan")

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        for name in ("bug", "nan"):
            await raw.send(f'425["{name}"]', f'42["{name}"]')
            answer = await raw.next()
            assert json.loads(answer[3:]) == [{"ok": False, "error": INTERNAL}]
        assert "secret detail" in caplog.text
        assert "Traceback" in caplog.text


async def test_the_error_ack_can_be_made_by_the_application() -> None:
    sio = server(error_ack=lambda exc: {"oops": type(exc).__name__})

    @sio.event
    def bug(sid: str) -> None:
        raise KeyError

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('421["bug"]')
        assert await raw.next() == '431[{"oops":"KeyError"}]'


async def test_catch_all_handlers_and_class_based_namespaces() -> None:
    sio = server()

    @sio.on("*")
    async def anything(event: str, sid: str, *args: Any) -> list[Any]:
        return [event, *args]

    class Chat(socketio.AsyncNamespace):  # type: ignore[misc]
        def on_connect(self, sid: str, environ: Any) -> None:
            self.seen = sid

        async def on_hello(self, sid: str, name: str) -> str:
            return f"hello {name}"

        async def on_disconnect(self, sid: str) -> None:
            self.seen = ""

    chat = Chat("/chat")
    sio.register_namespace(chat)
    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('421["x",1]')
        assert await raw.next() == '431[["x",1]]'
        await raw.send("40/chat,")
        assert (await raw.next()).startswith("40/chat,")
        await raw.send('42/chat,2["hello","you"]')
        assert await raw.next() == '43/chat,2["hello you"]'
        await raw.send("41/chat,")
        await until(lambda: chat.seen == "")


async def test_a_catch_all_namespace() -> None:
    sio = server(namespaces="*")

    @sio.on("*", namespace="*")
    async def anywhere(event: str, namespace: str, sid: str, *args: Any) -> list[Any]:
        return [namespace, event, *args]

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected("/any")
        await raw.send('42/any,1["x",1]')
        assert await raw.next() == '43/any,1[["/any","x",1]]'


async def test_async_handlers_run_side_by_side_and_are_bounded() -> None:
    sio = server(async_handlers=True)
    running = 0
    most = 0
    gate = asyncio.Event()

    @sio.event
    async def slow(sid: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send(*['42["slow"]'] * 100, '421["slow"]')
        await until(lambda: most >= 64)
        gate.set()
        assert await raw.next() == "431[]"
        assert most == 64


# Emitting


async def test_rooms_and_recipients() -> None:
    """Each recipient once, over several rooms; skipped ones not at all; the count says how many."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        (a, sid_a), (b, sid_b), (c, sid_c) = [await http.connected() for _ in range(3)]
        for sid, room in [(sid_a, "x"), (sid_b, "x"), (sid_b, "y"), (sid_c, "y")]:
            await sio.enter_room(sid, room)
        assert sio.rooms(sid_b) == [sid_b, "x", "y"]
        assert sio.emit_now("e", 1, room="x") == 2
        assert sio.emit_now("e", 2, room=["x", "y"]) == 3
        assert sio.emit_now("e", 3, room=["x", "y"], skip_sid=sid_b) == 2
        assert sio.emit_now("e", 4, skip_sid=[sid_a, sid_b]) == 1
        assert sio.emit_now("e", 5, to=sid_a) == 1
        assert sio.emit_now("e", 6, to="nobody") == 0
        assert sio.emit_now("e", 7, room=["x", sid_c, "nowhere"]) == 3
        await sio.leave_room(sid_a, "x")
        await sio.emit("e", 8, room="x")
        await sio.close_room("y")
        assert sio.emit_now("e", 9, room="y") == 0
        await sio.send("bye")
        received = []
        for raw in (a, b, c):
            packets = []
            while (packet := await raw.next()) != '42["message","bye"]':
                packets.append(int(packet[7:-1]))
            received.append(packets)
        assert received == [[1, 2, 3, 5, 7], [1, 2, 7, 8], [2, 3, 4, 7]]
        assert sio.stats()["rooms"] == 1
        with pytest.raises(ValueError, match="sid"):
            await sio.enter_room(sid_a, sid_b)
        with pytest.raises(ValueError, match="sid"):
            await sio.enter_room("nobody", "x")
        assert [info.transport for info in sio.clients()] == ["websocket"] * 3


async def test_nan_and_unknown_types_never_go_out() -> None:
    """They raise, and nobody gets anything."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        for data in (float("nan"), {"a": [float("inf")]}, object(), [b"x"] * 11, "\ud800"):
            with pytest.raises(PacketError):
                sio.emit_now("e", data)
            with pytest.raises(PacketError):
                await sio.emit("e", data, room="empty")
        sio.emit_now("e", {1: None, "b": b"x"})
        assert await raw.next() == '451-["e",{"1":null,"b":{"_placeholder":true,"num":0}}]'
        assert await raw.next() == b"x"


async def test_encoded_json_goes_into_events_and_acks() -> None:
    """A payload that is encoded once serves the ack and the broadcast."""
    sio = server()

    @sio.event
    async def send(sid: str) -> Any:
        message = Json(b'{"id":1}')
        sio.emit_now("created", {"message": message})
        return {"ok": True, "message": message}

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('427["send"]')
        assert await raw.next() == '42["created",{"message":{"id":1}}]'
        assert await raw.next() == '437[{"ok":true,"message":{"id":1}}]'


async def test_an_emit_runs_nobody_s_handler() -> None:
    """Also when it finds that a client is too slow."""
    sio = server(outbox_bytes=100_000)
    ran = False

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        nonlocal ran
        ran = True

    async with serving(sio) as url, client_of(url) as http:
        await http.connected()
        for _ in range(200):
            await sio.emit("e", "x" * 100_000)
        assert not ran
        await until(lambda: ran)


async def test_calls_and_callbacks() -> None:
    """Acks from the client: values, several values, none, a callback, a timeout, a client that goes."""
    sio = server()
    got: list[Any] = []

    async def callback(*args: Any) -> None:
        got.append(args)

    @sio.event
    async def ask_me(sid: str) -> Any:
        return await sio.call("question", to=sid, timeout=UNIT_S)  # from the client's own handler

    async with serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        for answer, expected in [("[]", None), ("[1]", 1), ("[1,2]", (1, 2))]:
            call = asyncio.create_task(sio.call("q", {"a": 1}, to=sid, timeout=UNIT_S))
            question = await raw.next()
            assert question.endswith('["q",{"a":1}]')
            await raw.send("43" + question[2 : question.index("[")] + answer)
            assert await call == expected
        call = asyncio.create_task(sio.call("q", to=sid, timeout=UNIT_S))
        number = (await raw.next())[2:-5]
        await raw.send(f'461-{number}[{{"_placeholder":true,"num":0}}]', b"binary")
        assert await call == b"binary"
        await sio.emit("q", to=sid, callback=callback)
        number = (await raw.next())[2:-5]
        await raw.send(f"43{number}[7]", f"43{number}[8]", "43999[]")
        await until(lambda: got == [(7,)])
        await raw.send('420["ask_me"]')
        number = (await raw.next())[2:].split("[")[0]
        await raw.send(f'43{number}["me"]')
        assert await raw.next() == '430["me"]'
        with pytest.raises(socketio.exceptions.TimeoutError):
            await sio.call("q", to=sid, timeout=0.01)
        assert sio.stats()["pending_acks"] == 0
        call = asyncio.create_task(sio.call("q", to=sid, timeout=3 * UNIT_S))
        await asyncio.sleep(0)
        await raw.socket.close()
        with pytest.raises(socketio.exceptions.TimeoutError):
            await asyncio.wait_for(call, UNIT_S)
        assert len(got) == 1


async def test_what_an_application_may_ask_of_its_clients() -> None:
    """Without reaching into the manager or the engine."""
    sio = server()
    asked: list[tuple[bool, bool, list[str]]] = []

    @sio.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await sio.enter_room(sid, "room")
        asked.append((sio.is_connecting(sid), sio.knows(sid), sio.rooms_of(sid)))

    async with serving(sio) as url, client_of(url) as http:
        _, sid = await http.connected()
        (session,) = sio.sessions()
        assert asked == [(True, True, [sid, "room"])]
        assert (sio.is_connecting(sid), sio.knows(sid), sio.rooms_of(sid)) == (False, True, [sid, "room"])
        assert sio.sids_of(session) == [sid]
        assert sio.room_count() == 1
        assert (sio.is_connecting("nobody"), sio.knows("nobody"), sio.rooms_of("nobody")) == (False, False, [])
        gate = asyncio.Event()
        task = sio.spawn(gate.wait())
        assert sio.stats()["tasks"] == 1
        gate.set()
        assert await task
        assert sio.meter_of(session.id) is session.meter
        assert sio.meter_of("nobody") is None
        assert set(sio.intake.counts()) == {"paused", "deferred", "flooding"}


async def test_ids_of_clients_and_of_their_sessions() -> None:
    """python-socketio's manager translates one into the other, and lists a room as pairs of them."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        _, sid = await http.connected()
        (session,) = sio.sessions()
        await sio.enter_room(sid, "room")
        assert list(sio.manager.get_participants("/", "room")) == [(sid, session.id)]
        assert list(sio.manager.get_participants("/nowhere", "room")) == []
        assert sio.manager.eio_sid_from_sid(sid, "/") == session.id
        assert sio.manager.sid_from_eio_sid(session.id, "/") == sid
        assert sio.manager.eio_sid_from_sid("nobody", "/") is None
        assert sio.manager.sid_from_eio_sid("nobody", "/") is None


async def test_user_sessions() -> None:
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        _, sid = await http.connected()
        assert await sio.get_session(sid) == {}
        await sio.save_session(sid, {"a": 1})
        async with sio.session(sid) as session:
            session["b"] = 2
        assert await sio.get_session(sid) == {"a": 1, "b": 2}
        with pytest.raises(KeyError):
            await sio.get_session("nobody")


# Ends


async def test_disconnect_by_the_server_is_final_even_if_the_client_ignores_it() -> None:
    """DISCONNECT after what was emitted; nothing the client sends is handled; closed after the grace."""
    sio = server(disconnect_grace=0.2)
    handled: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        handled.append("connect")

    @sio.event
    async def anything(sid: str) -> None:
        handled.append("anything")

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        handled.append(reason)
        assert sio.rooms(sid) == [sid, "room"]

    async with serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        await sio.enter_room(sid, "room")
        await sio.emit("last", to=sid)
        await sio.disconnect(sid)
        await sio.disconnect(sid)
        await raw.send('42["anything"]', "40", "41", '42["anything"]')
        assert await raw.next() == '42["last"]'
        assert await raw.next() == "41"
        assert sio.emit_now("x", to=sid) == 0
        assert await raw.closed() == 1000
        assert handled == ["connect", "server disconnect"]


async def test_disconnect_of_one_namespace_keeps_the_other() -> None:
    sio = server(namespaces=["/", "/b"], disconnect_grace=0.05)
    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send("40/b,")
        sid = json.loads((await raw.next())[5:])["sid"]
        await sio.disconnect(sid, namespace="/b")
        assert await raw.next() == "41/b,"
        await asyncio.sleep(0.15)
        sio.emit_now("still")
        assert await raw.next() == '42["still"]'


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_leaving_a_namespace_and_coming_back_at_once(transport: str) -> None:
    """It was taken for a second CONNECT, and the other namespace was ended with it."""
    sio = echo_server(ping_interval=25, ping_timeout=20)
    reasons: list[str] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        if transport == "websocket":
            raw, _ = await http.connected()
            assert await raw.next() == '42["auth",{}]'
            await raw.send("40/custom,")
            for _ in range(2):
                assert "/custom" in await raw.next()
            await raw.send("41", "40")
            assert (await raw.next()).startswith("40{")
            assert await raw.next() == '42["auth",{}]'
            await raw.send('42/custom,["message","still here"]')
            assert await raw.next() == '42/custom,["message-back","still here"]'
        else:
            sid = await http.handshake()
            await http.post(sid, "40")
            await http.poll(sid)
            assert (await http.post(sid, "41\x1e40"))[0] == 200
            assert (await http.poll(sid))[1].startswith("40{")
        assert reasons == ["client disconnect"]


async def test_a_namespace_that_connects_while_the_other_is_ended_is_heard() -> None:
    """Its packets were ignored for ever, because the server waited for the client to go."""
    sio = server()
    started, go = asyncio.Event(), asyncio.Event()

    @sio.on("connect", namespace="/slow")
    async def slow(sid: str, environ: dict[str, Any], auth: Any) -> None:
        started.set()
        await go.wait()

    @sio.on("hello", namespace="/slow")
    async def hello(sid: str) -> str:
        return "hello"

    async with serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        await raw.send("40/slow,")
        await started.wait()
        await sio.disconnect(sid)
        go.set()
        assert await raw.next() == "41"
        assert (await raw.next()).startswith("40/slow,")
        await raw.send('42/slow,1["hello"]')
        assert await raw.next() == '43/slow,1["hello"]'


@pytest.mark.parametrize("packets", [["40/nowhere,"], ["40", "41"], ["40/refuses,"]])
async def test_connecting_again_and_again_over_one_session_ends_it(packets: list[str]) -> None:
    """Each try has a handler called and, in an application, a line in the log, and no limit on handshakes sees it."""
    sio = server()
    tries = 0

    @sio.on("connect", namespace="/refuses")
    async def refuse(sid: str, environ: dict[str, Any], auth: Any) -> bool:
        nonlocal tries
        tries += 1
        return False

    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket()
        for _ in range(MAX_TRIES):
            await raw.send(*packets)
            await raw.next()
        await raw.send(packets[0])
        assert await raw.next() == 1008
        assert tries <= MAX_TRIES


async def test_disconnect_inside_connect_lets_in_and_throws_out() -> None:
    sio = server()
    reasons: list[str] = []

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await sio.disconnect(sid)

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        assert await raw.next() == "41"
        await until(lambda: reasons == ["server disconnect"])


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_close_transport_flushes_and_hands_on_its_reason(transport: str) -> None:
    """No DISCONNECT packet, so that the JS client comes back."""
    sio = server(finish_timeout=UNIT_S)
    reasons: list[str] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        if transport == "websocket":
            raw, sid = await http.connected()
        else:
            eio_sid = await http.handshake()
            await http.post(eio_sid, "40")
            sid = json.loads((await http.poll(eio_sid))[1][2:])["sid"]
        await sio.emit("session_ended", {"code": "restart"}, to=sid)
        await sio.close_transport(sid, reason="restart")
        await sio.close_transport(sid, reason="again")
        last = '42["session_ended",{"code":"restart"}]'
        if transport == "websocket":
            assert await raw.next() == last
            assert await raw.closed() == 1000
        else:
            await until(lambda: reasons == ["restart"], "it is gone for the application before its last poll")
            assert not sio.is_open(sid)
            assert await http.poll(eio_sid) == (200, last)
            assert await http.poll(eio_sid) == COMES_BACK
        await until(lambda: reasons == ["restart"])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("41", "client disconnect"),
        ("1", "client disconnect"),
        ("41 and close", "client disconnect"),  # as the JS client does, which does not wait
        ("close", "transport close"),
        ("abort", "transport close"),
    ],
)
async def test_the_disconnect_handler_runs_once_after_the_events(how: str, reason: str) -> None:
    """Whatever came before the end is handled before it."""
    sio = server()
    order: list[Any] = []

    @sio.event
    async def work(sid: str, number: int) -> None:
        await asyncio.sleep(0.005)
        order.append(number)

    @sio.event
    async def disconnect(sid: str, why: str) -> None:
        order.append(why)

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('42["work",1]', '42["work",2]', '42["work",3]')
        if how.endswith("close"):
            await raw.send(*how.split()[:-2])
            await raw.socket.close()
        elif how == "abort":
            await until(lambda: 1 in order)
            await raw.cut()
        else:
            await raw.send(how)
        await until(lambda: reason in order)
        assert order == [1, 2, 3, reason]


async def test_a_disconnect_handler_that_raises_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is called once, also when it raises TypeError."""
    sio = server()
    calls = 0

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        nonlocal calls
        calls += 1
        raise TypeError("bug")

    async with serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        await sio.enter_room(sid, "room")
        await raw.send("41")
        await until(lambda: not sio.stats()["clients"])
        assert sio.stats()["rooms"] == 0
        assert calls == 1


async def test_a_malformed_packet_is_told_by_the_end_event(caplog: pytest.LogCaptureFixture) -> None:
    """The end event, a reason for the handler, a quiet line in the log; never a traceback."""
    caplog.set_level(logging.INFO)
    sio = server(finish_timeout=UNIT_S, end_event=lambda reason: ("session_ended", {"code": reason}))
    reasons: list[str] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('42["connect",{}]')
        assert await raw.next() == '42["session_ended",{"code":"malformed"}]'
        assert await raw.closed() == 1008
        sid = await http.handshake()
        await http.post(sid, "40")
        await http.poll(sid)
        assert (await http.post(sid, "4nonsense"))[0] == 400
        # Its end is known at once, so that it cannot come back before and be taken for one that replaces it.
        await until(lambda: reasons == ["malformed", "malformed"])
        assert (await http.poll(sid))[1] == '42["session_ended",{"code":"malformed"}]'
        assert (await http.poll(sid))[1] == "1"
        assert "Traceback" not in caplog.text


async def test_shutdown_tells_everybody_and_leaves_nothing() -> None:
    """Clients of every kind notice at once; handlers run; no task and no timer is left."""
    sio = server()
    reasons: list[str] = []

    @sio.event
    async def slow(sid: str) -> None:
        await asyncio.sleep(0.05)

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        reasons.append(reason)

    before = asyncio.all_tasks()
    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('42["slow"]')
        never = await http.websocket()
        closed = [asyncio.create_task(one.closed()) for one in (raw, never)]
        sid = await http.handshake()
        await http.post(sid, "40")
        await http.poll(sid)
        poll = asyncio.create_task(http.poll(sid))
        await until(lambda: sio.eio.sessions[sid].poll is not None)
        await asyncio.wait_for(sio.shutdown(3 * UNIT_S), UNIT_S)
        assert await asyncio.gather(*closed) == [1000, 1000]
        assert await poll == COMES_BACK
        assert reasons == ["server shutdown"] * 2
        assert not any(sio.stats().values())
    await until(lambda: asyncio.all_tasks() <= before, "no task is left")


async def test_an_empty_room_name_is_a_room_and_not_everybody() -> None:
    """With python-socketio an empty string, a mistake of the application, reaches all clients."""
    sio = server()
    async with serving(sio) as url, client_of(url) as http:
        await http.connected()
        assert sio.emit_now("secret", room="") == 0
        assert sio.emit_now("secret", to="") == 0
        assert sio.emit_now("secret", to=[]) == 0
        assert sio.emit_now("news") == 1


async def test_a_limit_of_zero_is_no_limit() -> None:
    sio = server(max_http_buffer_size=0, outbox_bytes=0, inbox_bytes=0, connect_timeout=0)

    @sio.event
    async def size(sid: str, body: str) -> int:
        return len(body)

    async with serving(sio) as url, client_of(url) as http:
        raw, _ = await http.connected()
        await raw.send('421["size","' + "x" * 5_000_000 + '"]')
        assert await raw.next() == "431[5000000]"
        sid = await http.handshake()
        body = '40\x1e421["size","' + "x" * 5_000_000 + '"]'
        assert await http.post(sid, io.BytesIO(body.encode())) == (200, "ok")
        received = ""
        while "431[5000000]" not in received:
            received += (await http.poll(sid))[1]


async def test_a_refused_handshake_can_be_answered_by_the_application() -> None:
    """Before there is a session; with the headers that let a page read the answer."""

    async def allow(request: web.Request) -> web.Response | None:
        if request.headers.get("X-Flood"):
            return web.json_response({"code": "rate_limited"}, status=429, headers={"Retry-After": "3"})
        return None

    sio = server(allow_request=allow, cors_allowed_origins=["http://page.example"])
    async with serving(sio) as url, client_of(url) as http:
        await http.handshake()
        headers = {"X-Flood": "1", "Origin": "http://page.example"}
        async with http.session.get(f"{http.url}?EIO=4&transport=polling", headers=headers) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "3")
            assert response.headers["Access-Control-Allow-Origin"] == "http://page.example"
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.websocket(headers={"X-Flood": "1"})
        assert caught.value.status == 429
        assert sio.stats()["sessions"] == 1


async def test_a_handler_that_hangs_is_cancelled_at_shutdown_and_its_client_s_end_is_told() -> None:
    """Shutting down takes a bounded time whatever the handlers do."""
    sio = server()
    order: list[str] = []

    @sio.event
    async def hang(sid: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            order.append("cancelled")
            raise

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        order.append(reason)

    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        await http.post(sid, '40\x1e42["hang"]')
        await http.poll(sid)
        await asyncio.wait_for(sio.shutdown(0.1), UNIT_S)
        assert order == ["cancelled", "server shutdown"]
        assert not any(sio.stats().values())


async def test_a_slow_polling_client_is_told_why() -> None:
    """Its next poll got "Session ID unknown"."""
    sio = server(
        finish_timeout=UNIT_S, outbox_bytes=10_000, end_event=lambda reason: ("session_ended", {"code": reason})
    )
    async with serving(sio) as url, client_of(url) as http:
        eio_sid = await http.handshake()
        await http.post(eio_sid, "40")
        await http.poll(eio_sid)
        for _ in range(30):
            await sio.emit("m", "x" * 5_000)
        await until(lambda: not sio.stats()["clients"], "it is gone")
        assert await http.poll(eio_sid) == (200, '42["session_ended",{"code":"slow_consumer"}]')
        assert await http.poll(eio_sid) == COMES_BACK


async def test_a_polling_client_that_is_slow_to_poll_hears_that_it_was_disconnected() -> None:
    """When the grace was over before its next poll, it took the end for a lost connection and came back."""
    sio = server(finish_timeout=UNIT_S, disconnect_grace=0.05)
    async with serving(sio) as url, client_of(url) as http:
        eio_sid = await http.handshake()
        await http.post(eio_sid, "40")
        sid = json.loads((await http.poll(eio_sid))[1][2:])["sid"]
        await sio.disconnect(sid)
        await until(lambda: not sio.eio.sessions[eio_sid].open, "the grace is over")
        assert await http.poll(eio_sid) == (200, "41")
        assert await http.poll(eio_sid) == (200, "1")


@pytest.mark.parametrize("how", ["disconnect", "close_transport", "shutdown", "engine", "malformed"])
async def test_what_the_connect_handler_sent_leaves_before_any_end(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held back for a moment after CONNECT, and was lost when the server ended the session in that moment."""
    monkeypatch.setattr(rooms, "WELCOME_GAP_S", 60)
    sio = server()

    @sio.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await sio.emit("history", 1, to=sid)

    async with serving(sio) as url, client_of(url) as http:
        raw, sid = await http.connected()
        client = sio.manager.client(sid, "/")
        assert client is not None
        if how == "disconnect":
            await sio.disconnect(sid)
        elif how == "close_transport":
            await sio.close_transport(sid)
        elif how == "shutdown":
            await sio.shutdown()
        elif how == "engine":
            await sio.eio.disconnect()
        else:
            client.session.receive("4nonsense")
        assert await raw.next() == '42["history",1]'
