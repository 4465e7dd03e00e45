"""The rules of the Engine.IO protocol, revision 4, checked with raw HTTP and raw frames."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from socketserver.realtime import AsyncServer

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from engine_support import PATIENT, Http, client_of, echo_server, serving, until

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
