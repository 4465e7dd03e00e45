"""The websocket transport: aiohttp's handshake and frame parser, our own way of reading and closing.

Frames are taken in the parser's callback, so a pong or an ack is seen even while the client's handler is slow, and no
task, future or timer is spent on a message. Uses four insides of aiohttp 3.14, each held by a test: the parser hands
every message to `queue.feed_data`, stalls while the queue is over its limit, and `_post_start` creates both.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web
from aiohttp.http_websocket import WebSocketReader
from aiohttp.http_websocket import WebSocketWriter as _Writer

from . import kept
from . import packets as engine_packets
from . import session as sessions
from .intake import PACKET_BYTES, Intake, Meter
from .outbox import EAGER_BYTES
from .packets import NOOP, PROBE_ANSWER
from .skipping import FrameSkipper, Skipped, base64_bytes
from .tap import Tap

if TYPE_CHECKING:
    from aiohttp._websocket.reader import WebSocketDataQueue
    from aiohttp.web_request import BaseRequest

    from .engine import Engine
    from .session import Session
else:
    from aiohttp._websocket.reader import WebSocketDataQueue

QUEUE_LIMIT_BYTES: Final = 65536
CLOSE_WAIT_S: Final = 1.0
"""How long a client may take to answer our close frame."""
ABORT_WAIT_S: Final = 0.2
"""How long the last words to a client that does not drain may take."""
NOOP_WAIT_S: Final = 0.1


class Link:
    """One websocket connection: gives what comes in to `sink`, and can be plugged and closed.

    Attributes:
        sink: gets every message, str or bytes. Must not raise.
        lost: called once when the connection is over, however.
        plugged: whether reading is held back.
        closing: whether a close frame was sent.
        finished: whether the connection is over.
        noops: how many polls were ended so that the client can go on here.
        session: whose events `run` handles; None until an upgrade is complete.
        meter: the client's; what comes in here is charged to it.
        tap: what all bytes come through; None without limits on what comes in.
    """

    def __init__(
        self,
        engine: "Engine",
        meter: Meter,
        sink: Callable[[str | bytes], None],
        lost: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self.meter = meter
        self.tap: Tap | None = None
        self.sink = sink
        self.lost = lost
        self.plugged = False
        self.finished = False
        self.noops = 0
        self.session: Session | None = None
        self.closing = False
        self._timer: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.queue: _Frames | None = None
        self.skipper: FrameSkipper | None = None

    # Called by the parser

    def message(self, kind: WSMsgType, data: Any) -> None:
        """Take one WebSocket message. RFC 6455 section 5."""
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            if not self.closing:
                self.sink(data)
        elif kind is WSMsgType.PONG:
            skipped = self.skipper.skipped(data) if self.skipper is not None else None
            if skipped is not None and not self.closing:
                self._skip(skipped)
        elif kind is WSMsgType.PING:
            # a client that pings without reading gets no answer to all of them (RFC 6455 section 5.5.3 allows that)
            if self.transport is not None and self.transport.get_write_buffer_size() < EAGER_BYTES:
                self._write(engine_packets.frame(engine_packets.PONG, data))
        elif kind is WSMsgType.CLOSE:
            if not self.closing:
                self.lost(sessions.TRANSPORT_CLOSE)
                self.close(1000)
            self._end()

    def flooded(self) -> None:
        """More has come in than may, for too long."""
        if self.session is not None:
            self.session.drop(sessions.FLOODING, code=1008)
        self.close(1008)

    def broken(self, exc: BaseException | None) -> None:
        """The connection is gone, or what came over it is no WebSocket frame."""
        if isinstance(exc, WebSocketError) and not self.closing:
            # 1009 too big, 1002 protocol error, 1007 not UTF-8
            if self.session is not None and exc.code == WSCloseCode.MESSAGE_TOO_BIG:
                self.session.drop(sessions.TOO_LARGE, "beyond what is read past")
            elif self.session is not None:
                self.session.drop(sessions.MALFORMED, "no WebSocket message", code=exc.code)
            self.close(exc.code)
            self.lost(sessions.TRANSPORT_ERROR)
            # One that is too large is on its way still. Closed now, with bytes unread, TCP would reset the connection,
            # and the client would never read why: what comes is dropped until the close frame's time is over.
            if exc.code != WSCloseCode.MESSAGE_TOO_BIG:
                self._end()
        else:
            self.finished = True
            self.lost(sessions.TRANSPORT_CLOSE)
            self._end()

    # Called by the session

    def plug(self) -> None:
        """Stop reading. What the parser already holds stays unparsed."""
        if not self.plugged and self.queue is not None and not self.closing:
            self.plugged = True
            self.queue.plug()

    def unplug(self) -> None:
        """Go on reading."""
        if self.plugged and self.queue is not None:
            self.plugged = False
            self.queue.unplug()
            if self.tap is not None and not self.plugged:
                self.tap.wake()

    @property
    def unread(self) -> bool:
        """Whether the socket is not read from at present."""
        return self.plugged or (self.tap is not None and self.tap.gated)

    def close(self, code: int) -> None:
        """Send a close frame and end the connection when the client answers, or after a second."""
        if self.closing:
            return
        self.closing = True
        if self.transport is None:  # the handshake is still under way; whoever serves it looks at `finished`
            self._finish()
            return
        self._write(engine_packets.frame(engine_packets.CLOSE, code.to_bytes(2, "big")))
        self.unplug()
        if not self.finished:
            self._timer = self._engine.wheel.after(CLOSE_WAIT_S, self._end)

    def abort_soon(self) -> None:
        """End the connection in a moment, whether or not anything could be written."""
        if not self.finished:
            self._engine.wheel.cancel(self._timer)
            self._timer = self._engine.wheel.after(ABORT_WAIT_S, self.abort)

    def abort(self) -> None:
        """Cut the connection. What was not sent is lost."""
        self.closing = True
        self.unplug()
        if self.transport is not None:
            self.transport.abort()
        self._finish()

    def wake(self) -> bool:
        """Wake the request's task. Returns False when it is busy or gone."""
        waiter = self._waiter
        if waiter is None:
            return False
        self._waiter = None
        if waiter.done():
            return False
        waiter.set_result(None)
        return True

    async def run(self) -> None:
        """Handle the session's events in the request's task until the connection is over."""
        while True:
            session = self.session
            if session is not None and session.has_work:
                await session.work()
            elif self.finished:
                return
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def _skip(self, message: Skipped) -> None:
        if self.session is not None:
            self.session.skip(message)
        else:  # an upgrade that does not begin as one
            self.lost(sessions.TRANSPORT_ERROR)
            self.close(WSCloseCode.MESSAGE_TOO_BIG)

    def _write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def _end(self) -> None:
        # asyncio writes what is buffered before it closes
        if self.transport is not None:
            unsent = self.transport.get_write_buffer_size()
            self.transport.close()
            if unsent and not self.finished:
                self.abort_soon()
                return
        self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._engine.wheel.cancel(self._timer)
        self._timer = None
        if self.tap is not None:
            self.tap.stop()
        self.wake()


class _Frames(WebSocketDataQueue):
    """Stands where aiohttp queues messages for `receive()`, and hands them to a link instead.

    The base class is used for its flow control alone: one item bigger than the limit stalls the parser (which keeps
    its unparsed bytes) and pauses the socket; taking it out again resumes both.
    """

    def __init__(self, protocol: Any, link: Link) -> None:
        super().__init__(protocol, QUEUE_LIMIT_BYTES, loop=asyncio.get_running_loop())
        self._link = link

    def feed_data(self, data: Any, size: int) -> None:
        self._link.message(data[0], data[1])

    def feed_eof(self) -> None:
        self._link.broken(None)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self._link.broken(exc)

    def plug(self) -> None:
        WebSocketDataQueue.feed_data(self, None, QUEUE_LIMIT_BYTES * 4)  # type: ignore[arg-type]

    def unplug(self) -> None:
        reading = self.read()
        try:
            reading.send(None)  # never suspends: the plug is there
        except StopIteration:
            return
        reading.close()  # pragma: no cover


class _WeighedFrames(_Frames):
    """The same, where what comes in is limited. The tap before the parser has charged the bytes as they came over the
    wire; here every frame is charged, and what inflating has made of it."""

    def __init__(self, protocol: Any, link: Link, engine: "Engine", inflated: bool) -> None:
        super().__init__(protocol, link)
        self._meter = link.meter
        self._intake = engine.intake
        self._inflated = inflated

    def feed_data(self, data: Any, size: int) -> None:
        weight = PACKET_BYTES + size if self._inflated else PACKET_BYTES
        self._meter.weight += weight
        self._intake.weight += weight
        self._link.message(data[0], data[1])


class _Parser:
    """aiohttp's parser behind a skipper. Once it has failed, what comes still is read and dropped, so that the client
    is not cut off (TCP resets who closes with unread bytes) before it has read why."""

    def __init__(self, parser: WebSocketReader, skipper: FrameSkipper, meter: Meter, intake: Intake) -> None:
        self._parser = parser
        self._skipper = skipper
        self._meter = meter
        self._intake = intake
        self._fragments = 0
        self._failed = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if not self._failed:
            self._failed = self._parser.feed_data(self._skipper.feed(data))[0]
            if self._skipper.fragments != self._fragments:
                weight = (self._skipper.fragments - self._fragments) * PACKET_BYTES
                self._fragments = self._skipper.fragments
                self._meter.weight += weight
                self._intake.weight += weight
        return False, b""

    def feed_eof(self) -> None:
        self._parser.feed_eof()


class Response(web.WebSocketResponse):
    """aiohttp's handshake, with our queue behind the parser.

    Args:
        engine: its `max_payload` is the largest message taken, 0 for any; `max_skipped` the largest that is read past
            beyond that; 1009 beyond it.
        compress: whether permessage-deflate may be negotiated. A compressed message cannot be read past.
    """

    def __init__(self, engine: "Engine", link: Link, compress: bool) -> None:
        # aiohttp refuses what reaches its limit; 0 is no limit for both
        max_bytes = engine.max_payload
        largest = max_bytes if compress else base64_bytes(max_bytes)
        super().__init__(max_msg_size=largest + 1 if max_bytes else 0, compress=compress)
        self._engine = engine
        self.link = link
        if max_bytes:
            link.skipper = FrameSkipper(max_bytes, engine.max_skipped)

    def _post_start(self, request: "BaseRequest", protocol: str | None, writer: _Writer) -> None:
        link = self.link
        engine = self._engine
        weighed = not engine.intake.limits.off
        link.queue = (
            _WeighedFrames(request.protocol, link, engine, bool(self._compress))
            if weighed
            else _Frames(request.protocol, link)
        )
        link.transport = writer.transport
        self._writer = writer
        self._reader = link.queue
        self._parser: Any = WebSocketReader(
            link.queue, self._max_msg_size, compress=bool(self._compress), decode_text=True
        )
        if link.skipper is not None:
            self._parser = _Parser(self._parser, link.skipper, link.meter, engine.intake)
        parser: Any = self._parser
        if weighed:
            parser = link.tap = Tap(engine.intake, link.meter, link, parser, request.protocol)
        request.protocol.set_parser(parser)
        request.protocol.keep_alive(False)
        self.keep_context = not writer.notakeover

    async def write_eof(self) -> None:  # type: ignore[override]
        """Nothing: the link has said goodbye, or lost the connection."""
        self._eof_sent = True

    def _cancel(self, exc: BaseException) -> None:
        self.link.broken(exc)


async def serve(engine: "Engine", request: web.Request, session: "Session") -> web.StreamResponse:
    """Serve a session that begins on a websocket. Its OPEN packet is in the outbox already."""
    link = Link(engine, session.meter, session.receive, session.close)
    session.link = link
    link.session = session
    response = Response(engine, link, engine.websocket_compression)
    try:
        if not await _prepare(response, request):
            return _nobody()
        assert link.transport is not None
        if session.open:
            session.outbox.to_websocket(
                link.transport, int(response.compress), response.keep_context, _text_only(request)
            )
        await link.run()
    finally:
        link.abort()
        session.close(sessions.TRANSPORT_ERROR, abort=True)
        session.hand_over()
    return response


async def upgrade(engine: "Engine", request: web.Request, session: "Session") -> web.StreamResponse:
    """Serve a websocket on which a polling session wants to go on.

    Until the client's UPGRADE packet the session belongs to polling; a websocket that dies or stalls before it, or
    says anything else, changes nothing.
    Source: the Engine.IO protocol, "Upgrade".
    """
    attempt = _Upgrade(engine, session, _text_only(request))
    link = attempt.link
    session.upgrade = link
    timer = engine.wheel.after(engine.upgrade_timeout, attempt.give_up)
    response = Response(engine, link, engine.websocket_compression)
    attempt.response = response
    try:
        if not await _prepare(response, request):
            return _nobody()
        _forget(request)
        await link.run()
    finally:
        engine.wheel.cancel(timer)
        attempt.give_up()
        link.abort()
        if session.link is link:
            session.close(sessions.TRANSPORT_ERROR, abort=True)
            session.hand_over()
    return response


async def refuse(engine: "Engine", request: web.Request) -> web.StreamResponse:
    """Open a websocket and close it at once: a second one for a session, which goes on with the first.

    Not an HTTP error, because Engine.IO's own server does not answer with one, and its conformance suite holds to that.
    """
    link = Link(engine, engine.meter(request), lambda data: None, lambda reason: None)
    response = Response(engine, link, False)
    try:
        if not await _prepare(response, request):
            return _nobody()
        link.close(1000)
        await link.run()
    finally:
        link.abort()
    return response


async def _prepare(response: Response, request: web.Request) -> bool:
    """Answer the handshake; False if the client has cut the connection, which aiohttp would log as a fault of ours."""
    try:
        await response.prepare(request)
    except ConnectionError:
        return False
    return True


def _forget(request: web.Request) -> None:
    """Let go of the headers of a request that is of no more use, but lives as long as its websocket."""
    kept.let_go(request, kept.trimmed(request, kept.CONNECTED_BYTES))


def _nobody() -> web.Response:
    """What a handler has to return; nobody is there to get it."""
    return web.Response(status=400)


def _text_only(request: web.Request) -> bool:
    """Whether the client cannot take binary frames (`forceBase64`)."""
    return bool(request.query.get("b64"))


class _Upgrade:
    def __init__(self, engine: "Engine", session: "Session", text_only: bool) -> None:
        self.engine = engine
        self.session = session
        self.text_only = text_only
        self.link = Link(engine, session.meter, self._receive, self._lost)
        self.response: Response | None = None
        self.probed = False

    def give_up(self) -> None:
        if self.session.upgrade is self.link:
            self.session.upgrade = None
            self.link.abort()

    def _lost(self, reason: str) -> None:
        if self.session.link is self.link:
            self.session.close(reason)
        elif self.session.upgrade is self.link:
            self.session.upgrade = None

    def _receive(self, data: str | bytes) -> None:
        session, link = self.session, self.link
        if data == "2probe" and not self.probed:
            self.probed = True
            assert link.transport is not None
            link.transport.write(PROBE_ANSWER.ws)
            link.noops = 1
            if session.poll is not None:  # the client waits for its GET to end before it goes on
                session.poll.answer(None if session.outbox.frames else NOOP.poll)
        elif data == "5" and self.probed and (session.open or session.ending is not None):
            self._complete()
        else:
            session.upgrade = None
            link.close(1002)

    def _complete(self) -> None:
        session, link, response = self.session, self.link, self.response
        assert response is not None
        assert link.transport is not None
        if session.poll is not None:
            session.poll.answer(NOOP.poll)
            if not session.open and session.ending is None:
                return  # its poll was cut off, and it is gone
        session.upgrade = None
        session.link = link
        link.session = session
        link.sink = session.receive
        session.outbox.to_websocket(link.transport, int(response.compress), response.keep_context, self.text_only)
        if session.ending is not None:
            session.close(session.ending)
        elif session.crowded:
            link.plug()
