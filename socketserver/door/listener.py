"""The HTTP server under the application: aiohttp's, with bounds on what comes in before a request is one.

What aiohttp (3.14) leaves open, and this closes: how many connections there are, how large a head is as a whole, how
long it may take, how many requests are parsed ahead, how much is read and parsed in one turn of the event loop, and
bodies that unpack to a thousand times their size. It overrides `data_received`, `_handle_request`, `handle_error` and
`_resume_transport_reading` of aiohttp's protocol; tests hold each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from ..realtime.engine.intake import (
    LOOK_BYTES,
    MAX_WAIT_S,
    READ_BYTES,
    REQUEST_BYTES,
    SLICE_BYTES,
    Allowance,
    Intake,
    Meter,
    Meters,
)
from ..realtime.engine.slices import Slices
from ..settings import Settings
from .head_refusals import ENCODED, FULL, HEADS, Refusal, cors, first_line, origin_in
from .tcp_connections import MALFORMED, NO_ROOM, TOO_LARGE, TOO_SLOW, Connections

# What a line of a head, or of a chunked body, weighs beside its length.
LINE_BYTES: Final = 512
# Seconds that a refused client has to read why, before its connection is closed.
GOODBYE_S: Final = 0.5
# Seconds for which a body that nobody wants is read, so that its client sees the answer.
LINGER_S: Final = 2.0
SWEEP_S: Final = 1.0

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Runner(web.AppRunner):
    """An AppRunner whose connections are bounded.

    Args:
        connections: counts them.
        intake: shares out the turns of the event loop.
        meter_of: gives the meter of the session that a request belongs to, None if it belongs to none.
        client_of: says whose a request is that came through a trusted proxy, given the meter of its session.
        allows: whether pages of an origin may read why they are refused.
        options: aiohttp's.
    """

    def __init__(
        self,
        app: web.Application,
        settings: Settings,
        connections: Connections,
        intake: Intake,
        *,
        meter_of: Callable[[web.BaseRequest], Meter | None] = lambda request: None,
        client_of: Callable[[web.BaseRequest, Meter | None], Hashable] = lambda request, session: request.remote,
        allows: Callable[[str], bool] = lambda origin: False,
        **options: Any,
    ) -> None:
        head = settings.max_head_bytes or 1 << 30
        super().__init__(
            app,
            auto_decompress=False,
            lingering_time=LINGER_S,
            max_field_size=head,
            max_line_size=head,
            **options,
        )
        self.connections = connections
        self.intake = intake
        self.meter_of = meter_of
        self.client_of = client_of
        self.allows = allows
        rate = settings.http_bytes_per_second
        self.allowance = Allowance(rate, 2 * rate)
        self.proxied = Meters(self.allowance)
        self._timer: asyncio.TimerHandle | None = None

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        cast(_Server, server).runner = self
        self._sweep()
        return server

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self.connections.late(loop.time()):
            connection.too_slow()
        self._timer = loop.call_later(SWEEP_S, self._sweep)

    async def _cleanup_server(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await super()._cleanup_server()


class _Server(web.Server):
    """aiohttp's, which makes our connections."""

    runner: Runner

    def __call__(self) -> Connection:
        return Connection(self, self.runner, loop=self._loop, **self._kwargs)


class Connection(web.RequestHandler):
    """One TCP connection. Everything it brings comes through `data_received`, until it is a websocket, which has a tap
    of its own (realtime/engine/tap.py)."""

    __slots__ = (
        "_address",
        "_admitted",
        "_answering",
        "_body",
        "_connections",
        "_goodbye",
        "_head",
        "_head_held",
        "_intake",
        "_meter",
        "_network",
        "_origin",
        "_refused",
        "_runner",
        "_slices",
    )

    def __init__(self, server: web.Server, runner: Runner, **options: Any) -> None:
        super().__init__(server, **options)
        self._runner = runner
        self._connections = runner.connections
        self._intake = runner.intake
        self._address = ""
        self._admitted = False
        self._answering = False
        self._network: str | None = None
        self._meter = Meter(runner.allowance, self, runner.intake.wheel.clock())
        self._slices = Slices(runner.intake, self._meter, self)
        self._refused = False
        self._goodbye: asyncio.TimerHandle | None = None
        self._body: Any = None
        self._head = bytearray()
        self._head_held = 0
        self._origin: str | None = None

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, unless there are too many."""
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._network = self._connections.network(self._address)
        if self._network is not None:
            self._meter.group = self._network
        now_s = self._loop.time()
        self._refused = not self._connections.admit(self._address, self._network, now_s)
        if self._refused:
            self.transport = cast(asyncio.Transport, transport)
            self._say_goodbye(FULL)
            self.force_close()
            return
        self._admitted = True
        super().connection_made(transport)
        self._connections.began(self, now_s)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone."""
        self._forget()
        if self._goodbye is not None:
            self._goodbye.cancel()
            self._goodbye = None
        self._connections.completed(self)
        self._release_head()
        if self._admitted:
            self._admitted = False
            self._connections.gone(self._network)
        super().connection_lost(exc)

    def too_slow(self) -> None:
        """No complete head has come in time."""
        if self._head:
            self._refuse(TOO_SLOW)
        elif self._waiter is not None:
            self.force_close()

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Take what has been read, or what aiohttp has left for later (b"")."""
        if self._refused:
            return
        slices = self._slices
        if not data:
            self._feed(data)
        elif slices.gated:
            slices.hold(data)
        elif self._payload_parser is not None:
            super().data_received(data)
        elif self._intake.closed or self._messages:
            slices.begin(data, later=True)
        elif len(data) > SLICE_BYTES:
            slices.begin(data, later=False)
        else:
            self._weigh(data)
            self._feed(data)
            if self._intake.weight > LOOK_BYTES:
                self._intake.look()
            if self._meter.weight > LOOK_BYTES:
                slices.settle()

    def _weigh(self, data: bytes) -> None:
        weight = len(data) + READ_BYTES + LINE_BYTES * data.count(b"\n")
        self._meter.weight += weight
        self._intake.weight += weight

    def _feed(self, data: bytes) -> None:
        """Give aiohttp a part, and see how far the head of a request is."""
        if self._payload_parser is not None:
            super().data_received(data)
            return
        count = self._request_count
        body = self._body
        in_body = body is not None and not body.is_eof()
        super().data_received(data)
        if self._request_count != count:
            self._completed(data)
            if in_body and not body.is_eof():
                self._break(body)
        elif data and not in_body and not self._upgraded and not self._close and not self._force_close:
            self._grow(data)

    def _grow(self, data: bytes) -> None:
        if not self._head:
            data = data.lstrip(b"\r\n")  # allowed between two requests
            if not data:
                return
            self._release_head()
            self._connections.began(self, self._loop.time())
        before = len(self._head)
        self._head += data
        self._head_held = len(self._head)
        room = self._connections.hold(before, self._head_held)
        limit = self._connections.max_head_bytes
        if 0 < limit < self._head_held:
            self._refuse(TOO_LARGE)
        elif not room:
            self._refuse(NO_ROOM)

    def _completed(self, data: bytes) -> None:
        self._connections.completed(self)
        if self._messages:
            message, self._body = self._messages[-1]
            if not hasattr(message, "headers"):  # an error
                self._origin = self._readable(origin_in(bytes(self._head) + data))
        self._head = bytearray()

    def _break(self, body: Any) -> None:
        """The rest of a body is not HTTP: who reads it is told, where aiohttp lets it wait, and has the last word."""
        self._messages.pop()  # aiohttp's error: the answer to this request is the last one
        self._close = True
        if self._answering:
            body.set_exception(web.RequestPayloadError("The body is not HTTP."))
        body.feed_eof()  # after the answer aiohttp reads on, and takes that for a fault of ours

    def _release_head(self) -> None:
        self._connections.hold(self._head_held, 0)
        self._head_held = 0

    # Called by the slices

    def stalled(self) -> bool:
        return bool(self._reading_paused or self._buffer_paused or self._messages)

    def take(self, part: bytes) -> bool:
        if self._payload_parser is None:
            self._weigh(part)
        self._feed(part)
        return not self._refused

    def bounded(self) -> bool:
        """Not a trusted proxy's: it carries everybody's requests, and these are charged one by one."""
        return self._network is not None

    def flooding(self) -> bool:
        return False

    def pause(self) -> None:
        self._pause_transport_reading()

    def resume(self) -> None:
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        """aiohttp has room again."""
        if self._slices.gated:
            self._slices.wake()
        elif not self._refused:
            super()._resume_transport_reading()

    def _forget(self) -> None:
        self._slices.clear()
        self._head = bytearray()

    # Requests

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: Any
    ) -> tuple[web.StreamResponse, bool]:
        """Answer one request, in a turn that has room for it."""
        if not self._messages:
            self._slices.wake()
        intake = self._intake
        meter = self._meter
        session: Meter | None = None
        if self._network is None and not isinstance(request.headers, dict):  # as of what was no request
            session = self._runner.meter_of(request)
            meter = self._runner.proxied.get(self._runner.client_of(request, session), intake.wheel.clock())
        meter.weight += REQUEST_BYTES
        intake.weight += REQUEST_BYTES
        while (wait_s := meter.settle(intake.wheel.clock())) and self.transport is not None:
            intake.paused += 1
            await asyncio.sleep(min(wait_s, MAX_WAIT_S))
        if intake.weight > LOOK_BYTES and intake.look():
            await intake.turn(session or self._runner.meter_of(request) or self._meter, REQUEST_BYTES)
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
            request_handler = self._refuse_encoding
        self._answering = True
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            self._answering = False
            if not self._head and not self._messages:
                self._release_head()

    async def _refuse_encoding(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {hdrs.ACCEPT_ENCODING: "identity", **cors(self._readable(request.headers.get(hdrs.ORIGIN)))}
        response = web.json_response(ENCODED.body(), status=ENCODED.status, headers=headers)
        response.force_close()
        return response

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to one whose handler has failed."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        large = isinstance(exc, LineTooLong) or "Too many headers" in exc.message
        why = TOO_LARGE if large else MALFORMED
        self._connections.refuse_head(why, self._address, self._loop.time())
        refusal = HEADS[why]
        body = refusal.body(None if large else first_line(exc.message))
        response = web.json_response(body, status=refusal.status, headers=cors(self._origin))
        response.force_close()
        return response

    # Refusals

    def _refuse(self, why: str) -> None:
        """End a connection by the head of a request that is no request yet."""
        self._connections.refuse_head(why, self._address, self._loop.time())
        self._origin = self._readable(origin_in(bytes(self._head)))
        self._refused = True
        idle = self._waiter is not None and not self._waiter.done()
        self._forget()
        self._release_head()
        self._connections.completed(self)
        if idle:
            self._say_goodbye(HEADS[why])
        else:  # an answer is under way, and this one would fall into it
            self.force_close()

    def _say_goodbye(self, refusal: Refusal) -> None:
        transport = self.transport
        assert transport is not None
        transport.write(refusal.raw(cors(self._origin)))
        self._slices.gate()
        self._goodbye = self._loop.call_later(GOODBYE_S, self.force_close)

    def _readable(self, origin: str | None) -> str | None:
        return origin if origin is not None and self._runner.allows(origin) else None
