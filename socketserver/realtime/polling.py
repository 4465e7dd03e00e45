"""The HTTP long-polling transport: a GET waits for messages, a POST brings some.

Source: the Engine.IO protocol, revision 4, "HTTP long-polling".
"""

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from . import session as sessions
from .engine_packets import CLOSE_PACKET, NOOP, PacketError, decode_payload
from .intake import LOOK_BYTES, PACKET_BYTES
from .websocket import NOOP_WAIT_S

if TYPE_CHECKING:
    from .engine import Engine
    from .session import Session

MAX_NOOP_WAIT_S: Final = 5.0
PACKETS_PER_TURN: Final = 64
"""After so many packets of one POST the others get a turn."""


class Poll:
    """One GET that waits for messages."""

    __slots__ = ("_future", "_request", "_session")

    def __init__(self, session: "Session", request: web.Request) -> None:
        self._session = session
        self._request = request
        self._future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether its client can still get an answer."""
        transport = self._request.transport
        return transport is not None and not transport.is_closing() and not self._future.done()

    def answer(self, payload: bytes | None = None) -> None:
        """Answer with what the outbox holds, or with `payload`.

        A client whose GET was cut off is gone (the JS client begins anew then), and its session ends.
        """
        session = self._session
        if session.poll is self:
            session.poll = None
            session.outbox.on_poll_data = None
        if self._future.done():
            return
        if not self.alive:
            self._future.set_result(None)
            session.close(sessions.TRANSPORT_CLOSE)
        else:
            self._future.set_result(session.outbox.take() if payload is None else payload)

    async def wait(self) -> bytes | None:
        """Wait for the answer; None when there is nobody to give it to."""
        try:
            return await self._future
        finally:
            if self._session.poll is self:
                self._session.poll = None
                self._session.outbox.on_poll_data = None


async def get(engine: "Engine", request: web.Request, session: "Session") -> web.Response:
    """Answer a poll with the messages that wait, or as soon as there are some."""
    pending = session.poll
    if pending is not None:
        if pending.alive:
            # Two at once: nobody could tell which of them should get what.
            pending.answer(CLOSE_PACKET.poll)
            session.close(sessions.TRANSPORT_ERROR)
            return engine.error(request, 3, "Two polls at once")
        pending.answer()
        return engine.error(request, 1, "Session ID unknown")
    if session.outbox.frames:
        return engine.payload(request, session.outbox.take())
    if session.ending is not None:
        session.close(session.ending)
        return engine.payload(request, CLOSE_PACKET.poll)
    poll = Poll(session, request)
    session.poll = poll
    session.outbox.on_poll_data = poll.answer
    upgrade = session.upgrade
    timer = None
    if upgrade is not None and upgrade.noops:
        # The client sends no UPGRADE before its GET has ended. But one whose websocket is stalled just polls again:
        # it must not be made to spin.
        wait = min(NOOP_WAIT_S * 2 ** (upgrade.noops - 1), MAX_NOOP_WAIT_S)
        upgrade.noops += 1
        timer = engine.wheel.after(wait, lambda: poll.answer(NOOP.poll))
    try:
        payload = await poll.wait()
    finally:
        engine.wheel.cancel(timer)
    return engine.payload(request, NOOP.poll if payload is None else payload)


async def post(engine: "Engine", request: web.Request, session: "Session") -> web.Response:
    """Take the packets of one POST, all of them, however the body arrives.

    The answer "ok" is held back while the client is ahead of its handlers, or over its rate (it sends one POST at a
    time). A compressed body is refused as it is: a hundred bytes can unpack to tens of thousands of packets.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        session.drop(sessions.MALFORMED, "a compressed body")
        return engine.error(request, 3, "Send the body without Content-Encoding", status=415)
    if session.posting:
        session.close(sessions.TRANSPORT_ERROR)
        return engine.error(request, 3, "Two posts at once")
    session.posting = True
    try:
        body: bytes | None
        try:
            async with asyncio.timeout(engine.ping_interval + engine.ping_timeout):
                body = await _read(request, engine.max_payload)
        except TimeoutError:
            body = b""
        except Exception:
            # Cut off in the middle: its packets are lost, so the session's order is, too.
            session.close(sessions.TRANSPORT_ERROR)
            raise
        if body is None:
            session.close(sessions.TRANSPORT_ERROR)
            return engine.error(request, 3, "Payload too large", status=413)
        try:
            await _take(engine, session, body)
        except PacketError as exc:
            session.drop(sessions.MALFORMED, str(exc))
        if session.reason == sessions.MALFORMED:
            return engine.error(request, 3, "Bad payload")
        if session.reason == sessions.FLOODING:
            return engine.error(request, 3, "Too much at once, for too long", status=429)
        return engine.text(request, "ok")
    finally:
        session.posting = False


async def _take(engine: "Engine", session: "Session", body: bytes) -> None:
    """Hand the packets of a POST to the session, no faster than it may send them and its handlers take them, and the
    others have their turns in between. Returns early when the session ends.

    Raises: PacketError.
    """
    meter, intake = session.meter, engine.intake
    for number, packet in enumerate(decode_payload(body), 1):
        weight = len(packet) + PACKET_BYTES
        meter.weight += weight
        intake.weight += weight
        session.receive(packet)
        if session.crowded:
            await session.room()
        if meter.weight > LOOK_BYTES and not await intake.allow(meter, lambda: session.open):
            session.drop(sessions.FLOODING)
        if intake.weight > LOOK_BYTES and intake.look():
            await intake.turn(meter, PACKET_BYTES)
        elif number % PACKETS_PER_TURN == 0:
            await asyncio.sleep(0)
        if not session.open:
            return


async def _read(request: web.Request, limit: int) -> bytes | None:
    """Read the whole body, chunked or not, in as many pieces as it takes; None when it is over `limit` bytes."""
    if limit and request.content_length is not None and request.content_length > limit:
        return None
    parts = []
    size = 0
    while part := await request.content.readany():
        size += len(part)
        if limit and size > limit:
            return None
        parts.append(part)
    return b"".join(parts)
