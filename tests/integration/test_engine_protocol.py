"""The rules of the Engine.IO protocol, revision 4, checked with raw HTTP and raw frames."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from socketserver.realtime import AsyncServer

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from support.engine import PATIENT, UNIT_S, Http, client_of, echo_server, serving, until
from support.waiting import measured_lag

MAX_PAYLOAD = 1_000_000
INTERVAL_S = 0.3


def heartbeat(ping_timeout: float) -> pytest.MarkDecorator:
    """For tests of the heartbeat; elsewhere no ping comes between."""
    options = {"ping_interval": INTERVAL_S, "ping_timeout": ping_timeout}
    return pytest.mark.parametrize("sio", [options], indirect=True, ids=str)


class EchoEngine:
    """What the echo server has been told of its clients' ends."""

    def __init__(self) -> None:
        self.reasons: list[str] = []


@pytest.fixture
async def echo() -> EchoEngine:
    return EchoEngine()


@pytest.fixture
async def sio(request: pytest.FixtureRequest, echo: EchoEngine) -> AsyncServer:
    """An Engine.IO echo server without Socket.IO, as the public conformance suite wants it."""
    sio = AsyncServer(**getattr(request, "param", PATIENT), max_http_buffer_size=MAX_PAYLOAD)

    @sio.eio.on("message")  # type: ignore[untyped-decorator]
    async def message(sid: str, data: str | bytes) -> None:
        await sio.eio.send(sid, data)

    sio.eio.on("disconnect", lambda sid, reason: echo.reasons.append(reason))
    return sio


@pytest.fixture
async def http(sio: AsyncServer) -> AsyncIterator[Http]:
    async with serving(sio) as url, client_of(url) as http:
        yield http


async def pending_poll(http: Http, sio: AsyncServer, sid: str) -> asyncio.Task[tuple[int, str]]:
    """A GET that waits at the server."""
    poll = asyncio.create_task(http.poll(sid))
    await until(lambda: sio.eio.sessions[sid].poll is not None, "the poll waits")
    return poll


# Handshake


@heartbeat(ping_timeout=0.2)
async def test_polling_handshake(http: Http) -> None:
    """Handshake: an OPEN packet with sid, upgrades, pingInterval, pingTimeout, maxPayload; fractions are kept."""
    status, text = await http.request("GET", "EIO=4&transport=polling")
    assert status == 200
    value = json.loads(text[1:])
    assert text[0] == "0"
    assert isinstance(value.pop("sid"), str)
    assert value == {"upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 200, "maxPayload": MAX_PAYLOAD}


async def test_websocket_handshake(http: Http) -> None:
    """Handshake: the same over a websocket, which cannot be upgraded further."""
    socket = await http.session.ws_connect(f"{http.url}?EIO=4&transport=websocket")
    value = json.loads((await socket.receive_str())[1:])
    assert value["upgrades"] == []
    await socket.close()


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", "transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "EIO=4&transport=constructor", 0),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("DELETE", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=polling&sid=nobody", 1),
        ("POST", "EIO=4&transport=polling&sid=nobody", 1),
        ("GET", "EIO=4&transport=websocket", 3),
        ("POST", "EIO=4&transport=websocket", 3),
    ],
)
async def test_a_bad_handshake_is_refused(http: Http, method: str, query: str, code: int) -> None:
    """Request path, Query parameters: 400 and a JSON body with a code."""
    status, text = await http.request(method, query)
    assert status == 400
    answer = json.loads(text)
    assert answer["code"] == code
    assert answer["message"]


@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=x"])
async def test_a_bad_websocket_handshake_is_refused(http: Http, query: str) -> None:
    """Query parameters: also for a websocket, as an HTTP answer instead of the upgrade."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.session.ws_connect(f"{http.url}?{query}")
    assert caught.value.status == 400


# Messages


@pytest.mark.parametrize("body", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="])
async def test_polling_payloads(http: Http, body: str) -> None:
    """Packet encoding, HTTP long-polling: packets separated by 0x1e, binary ones in base64; a POST is answered ok."""
    sid = await http.handshake()
    assert await http.post(sid, body) == (200, "ok")
    received: list[str] = []
    while len(received) < len(body.split("\x1e")):
        status, text = await http.poll(sid)
        assert status == 200
        received += text.split("\x1e")
    assert received == body.split("\x1e")


@pytest.mark.parametrize(
    "body", ["abc", "", "4a\x1e", "7", "bAQ", "b!!!!", b"4\xff", "0{}", "2", "5", "2probe", "4a\x1ex"]
)
async def test_a_bad_payload_is_refused_and_ends_the_session(http: Http, body: str | bytes, echo: EchoEngine) -> None:
    """Packet encoding: 400, and the session is gone."""
    sid = await http.handshake()
    assert (await http.post(sid, body))[0] == 400
    assert (await http.poll(sid))[0] == 400
    assert echo.reasons == ["malformed"]


async def test_any_number_of_packets_in_one_post(http: Http) -> None:
    """More than 16 packets in one payload are all taken."""
    sid = await http.handshake()
    assert await http.post(sid, "\x1e".join(f"4{i}" for i in range(500))) == (200, "ok")
    received: list[str] = []
    while len(received) < 500:
        received += (await http.poll(sid))[1].split("\x1e")
    assert received == [f"4{i}" for i in range(500)]


async def test_chunked_and_slow_bodies_are_read_whole(http: Http) -> None:
    """Sending data: a body in pieces, without a length, is one payload."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"4he"
        await asyncio.sleep(0.02)
        yield b"llo\x1e"
        await asyncio.sleep(0.02)
        yield b"4world"

    sid = await http.handshake()
    assert await http.post(sid, pieces()) == (200, "ok")
    assert (await http.poll(sid))[1] == "4hello\x1e4world"


async def test_an_oversize_post_is_refused(http: Http, echo: EchoEngine) -> None:
    """maxPayload: 413, announced or chunked, whether or not a poll is pending; the session ends."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"4" * 50_000

    for body in (b"4" * (MAX_PAYLOAD + 1), endless()):
        sid = await http.handshake()
        assert (await http.post(sid, body))[0] == 413
        assert (await http.poll(sid))[0] == 400
    sid = await http.handshake()
    assert (await http.post(sid, b"4" * MAX_PAYLOAD))[0] == 200
    assert len((await http.poll(sid))[1]) == MAX_PAYLOAD


async def test_two_polls_at_once_end_the_session(http: Http, sio: AsyncServer) -> None:
    """HTTP long-polling: the first is answered with CLOSE, the second with an error."""
    sid = await http.handshake()
    first = await pending_poll(http, sio, sid)
    second = await http.poll(sid)
    assert await first == (200, "1")
    assert second[0] == 400
    assert (await http.poll(sid))[0] == 400


@pytest.mark.parametrize("meanwhile", [True, False])
async def test_a_poll_that_is_cut_off_ends_its_session(http: Http, sio: AsyncServer, meanwhile: bool) -> None:
    """Its client begins anew then; whether or not there is a message for it meanwhile."""
    sid = await http.handshake()
    poll = await pending_poll(http, sio, sid)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    session = sio.eio.sessions[sid]
    await until(lambda: session.poll is None or not session.poll.alive)
    if meanwhile:
        await sio.eio.send(sid, "for nobody")
        await until(lambda: sid not in sio.eio.sessions, "it is over")
        assert session.reason == "transport close"
    assert (await http.poll(sid))[0] == 400
    assert sid not in sio.eio.sessions


@pytest.mark.parametrize("packet", ["4hello", b"\1\2\3\4", "4" + "x" * 200_000, b"y" * 200_000])
async def test_websocket_packets(http: Http, packet: str | bytes) -> None:
    """Packet encoding, WebSocket: text in text frames, binary bare."""
    raw = await http.websocket()
    await raw.send(packet)
    assert await raw.next() == packet


async def test_the_maximum_over_a_websocket(http: Http) -> None:
    """maxPayload: exactly as much is taken, one byte more ends the client with 1009."""
    raw = await http.websocket()
    await raw.send("4" + "x" * (MAX_PAYLOAD - 1))
    assert len(await raw.next()) == MAX_PAYLOAD
    await raw.send("4" + "x" * MAX_PAYLOAD)
    assert await raw.closed() == 1009


@pytest.mark.parametrize("packet", ["abc", "", "0", "2", "5", "7x"])
async def test_an_invalid_packet_ends_the_websocket(http: Http, packet: str) -> None:
    raw = await http.websocket()
    await raw.send(packet)
    assert await raw.closed() == 1008


# Heartbeat


@heartbeat(ping_timeout=20)
async def test_heartbeat_over_polling(http: Http) -> None:
    """Heartbeat: the server pings, the client answers, and only then comes the next ping."""
    sid = await http.handshake()
    for _ in range(4):
        assert await http.poll(sid) == (200, "2")
        assert await http.post(sid, "3") == (200, "ok")


@heartbeat(ping_timeout=20)
async def test_heartbeat_over_a_websocket_is_exact(http: Http) -> None:
    """Heartbeat: fractional intervals, measured from ping to ping."""
    raw = await http.websocket()
    times = []
    async with measured_lag() as lag:
        for _ in range(4):
            assert await raw.frame() == "2"
            times.append(time.monotonic())
            await raw.send("3")
        assert times[-1] - times[0] == pytest.approx(3 * INTERVAL_S, abs=0.15 + lag.seconds)


@heartbeat(ping_timeout=0.2)
async def test_a_silent_polling_client_is_gone_after_interval_and_timeout(http: Http, echo: EchoEngine) -> None:
    """Heartbeat: at 0.5 s the session does not exist any more, to the request."""
    sid = await http.handshake()
    await asyncio.sleep(0.5)  # counted from its answer; the session began a moment before
    assert (await http.post(sid, "3"))[0] == 400
    assert echo.reasons == ["ping timeout"]


@heartbeat(ping_timeout=0.2)
async def test_a_silent_websocket_is_closed_after_interval_and_timeout(http: Http, echo: EchoEngine) -> None:
    started = time.monotonic()
    async with measured_lag() as lag:
        raw = await http.websocket()
        await raw.closed()
        assert 0.5 <= time.monotonic() - started < 1 + lag.seconds
    assert echo.reasons == ["ping timeout"]


# Close


async def test_close_over_polling_ends_the_pending_poll(http: Http, sio: AsyncServer, echo: EchoEngine) -> None:
    """Close: the pending GET is answered with a NOOP before any ping is due, and the session is gone."""
    sid = await http.handshake()
    poll = await pending_poll(http, sio, sid)
    assert (await http.post(sid, "1"))[0] == 200
    assert await asyncio.wait_for(poll, UNIT_S) == (200, "6")
    assert (await http.poll(sid))[0] == 400
    assert echo.reasons == ["client disconnect"]


async def test_close_over_a_websocket(http: Http, echo: EchoEngine) -> None:
    raw = await http.websocket()
    await raw.send("1")
    assert await raw.closed() == 1000
    assert echo.reasons == ["client disconnect"]


async def test_close_by_the_server(http: Http, sio: AsyncServer) -> None:
    """The clients come back: an error in the pending GET, a close frame on a websocket; nothing is waited for."""
    sid = await http.handshake()
    raw = await http.websocket()
    poll = await pending_poll(http, sio, sid)
    closed = asyncio.create_task(raw.closed())
    async with asyncio.timeout(UNIT_S):
        await sio.shutdown(3 * UNIT_S)
        assert await poll == (400, '{"code":1,"message":"Session ID unknown"}')
        assert await closed == 1000
    assert (await http.request("GET", "EIO=4&transport=polling"))[0] == 503


# Upgrade


async def test_upgrade(http: Http, sio: AsyncServer) -> None:
    """Upgrade: probe, the pending poll ends with a NOOP, then the session goes on over the websocket."""
    sid = await http.handshake()
    poll = await pending_poll(http, sio, sid)
    raw = await http.websocket(f"&sid={sid}")
    await raw.send("2probe")
    assert await raw.next() == "3probe"
    assert await poll == (200, "6")
    await raw.send("5", "4hello")
    assert await raw.next() == "4hello"


async def test_requests_after_an_upgrade_are_refused(http: Http, sio: AsyncServer) -> None:
    """Upgrade: HTTP requests with that sid get 400, another websocket is closed at once, and nothing changes."""
    sid = await http.handshake()
    raw = await http.websocket(f"&sid={sid}")
    await raw.send("2probe", "5")
    assert await raw.next() == "3probe"
    await until(lambda: sio.eio.sessions[sid].link is not None, "the upgrade is complete")
    assert (await http.poll(sid))[0] == 400
    assert (await http.post(sid, "4x"))[0] == 400
    second = await http.websocket(f"&sid={sid}")
    assert await second.closed() == 1000
    await raw.send("4hello")
    assert await raw.next() == "4hello"


async def test_a_second_websocket_during_an_upgrade_is_refused(http: Http) -> None:
    """Upgrade: one attempt at a time."""
    sid = await http.handshake()
    raw = await http.websocket(f"&sid={sid}")
    second = await http.websocket(f"&sid={sid}")
    assert await second.closed() == 1000
    await raw.send("2probe", "5", "4hello")
    assert await raw.next() == "3probe"
    assert await raw.next() == "4hello"


@pytest.mark.parametrize("sent", [[], ["2probe"], ["4hello"], ["5"], ["2probe", "2probe"], ["2probe", "4x"]])
async def test_an_upgrade_that_fails_leaves_the_session_polling(http: Http, sent: list[str]) -> None:
    """Upgrade: until the UPGRADE packet, whatever happens to the websocket, polling goes on."""
    sid = await http.handshake()
    raw = await http.websocket(f"&sid={sid}")
    await raw.send(*sent)
    await raw.socket.close()
    assert await http.post(sid, "4hello") == (200, "ok")
    while (answer := await http.poll(sid)) == (200, "6"):
        pass
    assert answer == (200, "4hello")
    again = await http.websocket(f"&sid={sid}")
    await again.send("2probe", "5", "4world")
    assert await again.next() == "3probe"
    assert await again.next() == "4world"


async def test_a_stalled_upgrade_ends_at_its_deadline_and_does_not_make_the_client_spin() -> None:
    """Upgrade: a probe that gets no further ends; meanwhile polls are not answered with NOOPs in a loop."""
    sio = echo_server(**PATIENT, upgrade_timeout=1)
    async with serving(sio) as url, client_of(url) as http:
        sid = await http.handshake()
        raw = await http.websocket(f"&sid={sid}")
        await raw.send("2probe")
        assert await raw.next() == "3probe"
        closed = asyncio.create_task(raw.closed())
        polls = 0
        while not closed.done():
            with_deadline = asyncio.create_task(http.poll(sid))
            await asyncio.wait({with_deadline, closed}, return_when=asyncio.FIRST_COMPLETED)
            polls += 1
            if not with_deadline.done():
                await sio.eio.send(sid, "done")
            assert (await with_deadline)[0] == 200
        assert polls < 8
        assert (await http.post(sid, "40"))[0] == 200


async def test_an_upgrade_in_the_middle_of_traffic_loses_and_reorders_nothing(http: Http, sio: AsyncServer) -> None:
    """Upgrade: what was queued for polling leaves over the websocket first."""
    sid = await http.handshake()
    raw = await http.websocket(f"&sid={sid}")
    await raw.send("2probe")
    assert await raw.next() == "3probe"
    for i in range(50):
        await sio.eio.send(sid, f"{i}")
        await sio.eio.send(sid, bytes([i]))
    await raw.send("5")
    await until(lambda: sio.eio.sessions[sid].link is not None)
    for i in range(50, 100):
        await sio.eio.send(sid, f"{i}")
    received = [await raw.next() for _ in range(150)]
    assert received[:100] == [x for i in range(50) for x in (f"4{i}", bytes([i]))]
    assert received[100:] == [f"4{i}" for i in range(50, 100)]


# Headers


async def test_permessage_deflate_is_off_unless_asked_for() -> None:
    """A browser offers it always; it costs 100 KB a connection."""
    for enabled in (False, True):
        sio = echo_server(**PATIENT, websocket_compression=enabled)
        async with serving(sio) as url, client_of(url) as http:
            socket = await http.session.ws_connect(f"{http.url}?EIO=4&transport=websocket", compress=15)
            assert bool(socket.compress) is enabled
            assert (await socket.receive_str())[0] == "0"
            await socket.send_str("40")
            assert (await socket.receive_str())[:2] == "40"
            await socket.receive_str()
            for i in range(5):
                text = f'["message","{"repeated " * 500}{i}"]'
                await socket.send_str("42" + text)
                assert await socket.receive_str() == "42" + text.replace("message", "message-back")
            await socket.send_str('451-["message",{"_placeholder":true,"num":0}]')
            await socket.send_bytes(b"z" * 3000)
            assert (await socket.receive_str()).startswith("451-")
            assert await socket.receive_bytes() == b"z" * 3000
            await socket.close()


async def test_answers_to_polls_are_compressed_from_a_size_on(http: Http, sio: AsyncServer) -> None:
    sid = await http.handshake()
    for size, encoding in ((10, None), (5000, "gzip")):
        await sio.eio.send(sid, "x" * size)
        async with http.session.get(
            f"{http.url}?EIO=4&transport=polling&sid={sid}", headers={"Accept-Encoding": "gzip"}
        ) as response:
            assert response.headers.get("Content-Encoding") == encoding
            assert await response.text() == "4" + "x" * size


async def test_a_post_that_is_cut_off_ends_the_session(
    http: Http, sio: AsyncServer, echo: EchoEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Each one that was cut off logged a traceback. Its packets are lost: going on would be a hole."""
    sid = await http.handshake()
    host, port = http.url.removeprefix("http://").split("/")[0].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4hel".encode())
    await writer.drain()
    await until(lambda: sio.eio.sessions[sid].posting, "the server reads it")
    writer.close()
    await until(lambda: echo.reasons == ["transport error"])
    await http.handshake()
    assert not errors(caplog)


async def test_a_body_that_is_no_http_is_a_bad_request(caplog: pytest.LogCaptureFixture) -> None:
    """Each one logged a traceback, and "Unhandled exception" with another when aiohttp read on behind the answer."""
    sio = AsyncServer()
    sio.eio.on("disconnect", lambda sid, reason: reasons.append(reason))
    reasons: list[str] = []

    @web.middleware
    async def broken(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":  # as aiohttp's parser in Python does; the one in C answers by itself
            request.content.set_exception(web.RequestPayloadError("no chunk"))
        return await handler(request)

    app = web.Application(middlewares=[broken])
    sio.attach(app)
    async with TestServer(app) as server, client_of(str(server.make_url(""))) as http:
        sid = await http.handshake()
        status, text = await http.post(sid, "4hello")
        assert (status, json.loads(text)["code"]) == (400, 3)
        assert reasons == ["transport error"]
        await http.handshake()
    assert not errors(caplog)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_posts_at_once_end_the_session(http: Http, sio: AsyncServer, echo: EchoEngine) -> None:
    """A client sends one POST at a time, else their order is unknown."""
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"4one"
        await go_on.wait()

    sid = await http.handshake()
    first = asyncio.create_task(http.post(sid, slow()))
    await until(lambda: sio.eio.sessions[sid].posting, "the server reads the first")
    assert (await http.post(sid, "4two"))[0] == 400
    go_on.set()
    await first
    assert echo.reasons == ["transport error"]


async def test_websocket_pings_are_answered(http: Http) -> None:
    """RFC 6455 section 5.5.2."""
    socket = await http.session.ws_connect(f"{http.url}?EIO=4&transport=websocket", autoping=False)
    await socket.receive()
    await socket.ping(b"data")
    answer = await asyncio.wait_for(socket.receive(), 5)
    assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"data")
    await socket.close()


async def test_the_handshake_cookie() -> None:
    sio = AsyncServer(cookie={"name": "io", "path": "/", "HttpOnly": True})
    async with (
        serving(sio) as url,
        client_of(url) as http,
        http.session.get(f"{http.url}?EIO=4&transport=polling") as response,
    ):
        sid = json.loads((await response.text())[1:])["sid"]
        assert response.headers["Set-Cookie"] == f"io={sid}; path=/; HttpOnly"


async def test_one_transport_only() -> None:
    for served, refused in (("polling", "websocket"), ("websocket", "polling")):
        async with serving(AsyncServer(transports=served)) as url, client_of(url) as http:
            status, text = await http.request("GET", f"EIO=4&transport={refused}")
            assert (status, json.loads(text)["code"]) == (400, 0)
            if served == "polling":
                _, text = await http.request("GET", "EIO=4&transport=polling")
                assert json.loads(text[1:])["upgrades"] == []


async def test_plain_engine_handlers() -> None:
    """python-engineio's three handlers; connect refuses by returning False."""
    sio = AsyncServer()
    seen: list[str] = []

    @sio.eio.on("connect")  # type: ignore[untyped-decorator]
    def connect(sid: str, environ: dict[str, object]) -> bool:
        seen.append(str(environ["QUERY_STRING"]))
        return "refuse" not in seen[-1]

    with pytest.raises(ValueError, match="Invalid event"):
        sio.eio.on("nonsense", connect)
    async with serving(sio) as url, client_of(url) as http:
        raw = await http.websocket("&refuse=1")
        assert await raw.closed() == 1000
        await http.websocket()
        assert len(seen) == 2
        assert len(sio.eio.sessions) == 1
        await sio.eio.disconnect()
        assert not sio.eio.sessions


async def test_a_client_that_cuts_its_handshake_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Regression: a websocket handshake that the client cut was logged as an error of ours, with a traceback."""
    asked, cut = asyncio.Event(), asyncio.Event()

    requests: list[web.Request] = []

    async def allow(request: web.Request) -> None:
        requests.append(request)
        asked.set()
        await cut.wait()

    sio = echo_server(allow_request=allow)
    async with serving(sio) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await asked.wait()
        writer.transport.abort()
        await until(lambda: requests[0].transport is None, "the server has seen the cut")
        cut.set()
        await until(lambda: not sio.eio.sessions, "the session is forgotten")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("slash", ["/", ""])
async def test_the_last_slash(sio: AsyncServer, slash: str) -> None:
    """`/socket.io` was answered 404: Next.js strips the slash in its rewrites, and clients may leave it out."""
    async with serving(sio) as url, client_of(url) as http:
        http.url = f"{url}/socket.io{slash}"
        sid = await http.handshake()
        assert await http.post(sid, "4hello") == (200, "ok")
        raw = await http.websocket()
        await raw.socket.close()


async def test_errors_are_those_of_nodes_server(http: Http) -> None:
    """Byte by byte, and their content type: the official client's suite compares them as text."""
    async with http.session.get(f"{http.url}?EIO=4&transport=polling&sid=none") as response:
        assert (response.status, await response.text()) == (400, '{"code":1,"message":"Session ID unknown"}')
        assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_binary_message_in_base64(http: Http, transport: str) -> None:
    """`forceBase64`: over a websocket the text "b…" ended its client as malformed, again and again."""
    if transport == "websocket":
        raw = await http.websocket("&b64=1")
        assert (await raw.next())[0] == "0"
        await raw.send("bAQIDBA==")
        assert await raw.next() == "bAQIDBA=="
        await raw.send(b"\1\2")
        assert await raw.next() == "bAQI="
        await raw.send("bno base64")
        assert await raw.closed() == 1008
    else:
        sid = await http.handshake()
        assert (await http.post(sid, "bAQIDBA=="))[0] == 200
        assert await http.poll(sid) == (200, "bAQIDBA==")


async def test_who_asks_for_text_gets_text_after_an_upgrade_too(http: Http, sio: AsyncServer) -> None:
    """What was queued for polling, and what comes after it."""
    sid = await http.handshake()
    raw = await http.websocket(f"&b64=1&sid={sid}")
    await raw.send("2probe")
    assert await raw.next() == "3probe"
    await sio.eio.send(sid, b"\1\2\3\4")
    await raw.send("5")
    assert await raw.next() == "bAQIDBA=="
    await sio.eio.send(sid, b"\1\2")
    assert await raw.next() == "bAQI="
    await raw.socket.close()
