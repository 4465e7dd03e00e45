"""What the delivery engine takes for granted of its pinned libraries; an upgrade that breaks it fails here."""

import asyncio
import inspect
from socketserver.realtime import AsyncServer, RoomManager, combine
from typing import Any

import orjson
import pytest
import socketio
from aiohttp import web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http_websocket import WebSocketReader, WebSocketWriter
from socketio.async_pubsub_manager import AsyncPubSubManager
from support.engine import UNIT_S, client_of, serving, until


class Protocol:
    """What a queue needs of aiohttp's protocol."""

    def __init__(self) -> None:
        self._reading_paused = False

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False


class Frames(WebSocketDataQueue):
    """A queue in which only flow control is the base class's."""

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol, 1000, loop=asyncio.get_running_loop())
        self.seen: list[Any] = []
        self.failed: list[BaseException] = []

    def feed_data(self, data: Any, size: int) -> None:
        self.seen.append(data[1])

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self.failed.append(exc)


def frame(text: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text


async def test_aiohttp_s_parser_calls_an_overridden_queue_and_can_be_plugged() -> None:
    """`feed_data` in Python is called by the compiled parser; an item over the limit stalls it, unparsed bytes kept."""
    protocol = Protocol()
    queue = Frames(protocol)
    reader = WebSocketReader(queue, 1000, compress=False, decode_text=True)
    reader.feed_data(frame(b"one") + frame(b"two"))
    assert queue.seen == ["one", "two"]
    WebSocketDataQueue.feed_data(queue, None, 4000)  # type: ignore[arg-type]
    assert protocol._reading_paused
    reader.feed_data(frame(b"three") + frame(b"four"))
    assert queue.seen == ["one", "two"]
    plug = queue.read()
    with pytest.raises(StopIteration):
        plug.send(None)
    assert queue.seen == ["one", "two", "three", "four"]
    assert not protocol._reading_paused


async def test_aiohttp_s_parser_reports_errors_to_the_queue() -> None:
    """With the close code to answer with."""
    for data, code in ((b"\x83\x80\0\0\0\0", 1002), (b"\x81\xfe\x07\xd0\0\0\0\0", 1009), (frame(b"\xff"), 1007)):
        queue = Frames(Protocol())
        reader = WebSocketReader(queue, 1000, compress=False, decode_text=True)
        reader.feed_data(data)
        assert [getattr(exc, "code", None) for exc in queue.failed] == [code]


def test_aiohttp_s_websocket_response_has_the_parts_that_are_replaced() -> None:
    assert list(inspect.signature(web.WebSocketResponse._post_start).parameters) == [
        "self",
        "request",
        "protocol",
        "writer",
    ]
    source = inspect.getsource(web.WebSocketResponse)
    for line in ("self._post_start(request, protocol, writer)", "request.protocol.set_parser(self._parser"):
        assert line in source
    assert "notakeover" in inspect.signature(WebSocketWriter).parameters


def test_orjson_refuses_what_javascript_cannot_read_and_keeps_fragments() -> None:
    for text in ("NaN", "[Infinity]", "1e999", '"\\ud800"'):
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(text)
    assert orjson.dumps(float("nan")) == b"null"
    assert orjson.dumps([orjson.Fragment(b'{"a":1}')]) == b'[{"a":1}]'
    with pytest.raises(TypeError):
        orjson.dumps(b"bytes")


def test_python_socketio_has_the_methods_that_are_overridden_or_called() -> None:
    """Same names and parameters: a drop-in."""
    for name in (
        "emit",
        "send",
        "call",
        "enter_room",
        "leave_room",
        "close_room",
        "get_session",
        "save_session",
        "session",
        "disconnect",
        "transport",
        "get_environ",
        "rooms",
        "on",
        "register_namespace",
        "start_background_task",
        "sleep",
        "attach",
    ):
        stock = list(inspect.signature(getattr(socketio.AsyncServer, name)).parameters)
        ours = list(inspect.signature(getattr(AsyncServer, name)).parameters)
        assert ours[: len(stock)] == stock, name
    for name in ("_get_event_handler", "_get_namespace_handler"):
        assert list(inspect.signature(getattr(socketio.AsyncServer, name)).parameters)[-1] == "args"
    for name, member in vars(RoomManager).items():
        stock_member = getattr(socketio.AsyncManager, name, None)
        if inspect.isfunction(stock_member) and not name.startswith("__"):
            assert inspect.iscoroutinefunction(stock_member) == inspect.iscoroutinefunction(member), name


def test_options_that_cannot_be_served_are_refused() -> None:
    with pytest.raises(TypeError, match="RoomManager"):
        AsyncServer(client_manager=socketio.AsyncManager())
    with pytest.raises(TypeError, match="unknown option"):
        AsyncServer(ping_intervall=3)
    with pytest.raises(ValueError, match="transports"):
        AsyncServer(transports=["carrier pigeon"])
    with pytest.raises(ValueError, match="serializer"):
        AsyncServer(serializer="msgpack")
    with pytest.raises(ValueError, match="auth"):
        AsyncServer().instrument()


class Bus:
    """What several nodes' managers share."""

    def __init__(self) -> None:
        self.queues: list[asyncio.Queue[Any]] = []


class BusManager(AsyncPubSubManager):  # type: ignore[misc]
    """python-socketio's pub/sub manager over a queue in memory."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self.bus = bus
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        bus.queues.append(self.queue)

    async def _publish(self, data: Any) -> None:
        for queue in self.bus.queues:
            queue.put_nowait(data)

    async def _listen(self) -> Any:
        while True:
            yield await self.queue.get()


async def test_python_socketio_s_pub_sub_managers_work_on_top_of_our_rooms() -> None:
    """Two nodes: rooms, acks, disconnects and calls across them."""
    bus = Bus()
    one, two = [AsyncServer(client_manager=combine(BusManager)(bus)) for _ in range(2)]
    async with serving(one) as url_one, serving(two) as url_two, client_of(url_one) as a, client_of(url_two) as b:
        raw_a, sid_a = await a.connected()
        raw_b, sid_b = await b.connected()
        await one.enter_room(sid_a, "room")
        await one.enter_room(sid_b, "room")
        await until(lambda: "room" in two.rooms(sid_b))
        await one.emit("hello", {"n": 1}, room="room")
        assert await raw_a.next() == '42["hello",{"n":1}]'
        assert await raw_b.next() == '42["hello",{"n":1}]'
        await two.emit("bytes", b"x", to=sid_a)
        assert (await raw_a.next()).startswith("451-")
        assert await raw_a.next() == b"x"
        call = asyncio.create_task(one.call("question", to=sid_b, timeout=UNIT_S))
        question = await raw_b.next()
        await raw_b.send("43" + question[2 : question.index("[")] + '["answer"]')
        assert await call == "answer"
        await one.disconnect(sid_b)
        assert await raw_b.next() == "41"
