"""The HTTP long-polling transport: a GET waits for messages, a POST brings some.

Source: the Engine.IO protocol, revision 4, "HTTP long-polling".
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from aiohttp import web

from . import session as sessions
from .intake import LOOK_BYTES, PACKET_BYTES
from .packets import CLOSE_PACKET, NOOP, PacketError, decode_packet
from .skipping import PayloadSplitter, Skipped
from .websocket import NOOP_WAIT_S

if TYPE_CHECKING:
    from .engine import Engine
    from .session import Session

MAX_NOOP_WAIT_S: Final = 5.0
PACKETS_PER_TURN: Final = 64
"""After so many packets of one POST the others get a turn."""


class SessionGone(Exception):
    """The session ended while its client polled, and the client is to begin anew."""


class Poll:
    """One GET that waits for messages."""

    __slots__ = ("_future", "_refused", "_request", "_session")

    def __init__(self, session: "Session", request: web.Request) -> None:
        self._session = session
        self._request = request
        self._refused = False
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

    def refuse(self) -> None:
        """Answer that there is no such session (any more): its client begins anew."""
        self._refused = True
        self.answer(b"")

    async def wait(self) -> bytes | None:
        """Wait for the answer; None when there is nobody to give it to.

        Raises: SessionGone when it is refused.
        """
        try:
            payload = await self._future
            if self._refused and payload is not None:
                raise SessionGone
            return payload
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
        return engine.unknown(request)
    if session.outbox.frames:
        return engine.payload(request, session.outbox.take())
    if session.ending is not None:
        reason = session.ending
        session.close(reason)
        if reason not in sessions.STAYS_AWAY:
            return engine.unknown(request)
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
    except SessionGone:
        return engine.unknown(request)
    finally:
        engine.wheel.cancel(timer)
    return engine.payload(request, NOOP.poll if payload is None else payload)


async def post(engine: "Engine", request: web.Request, session: "Session") -> web.Response:
    """Take the packets of one POST, each as soon as it is there, however the body arrives.

    The answer "ok" is held back while the client is ahead of its handlers, or over its rate (it sends one POST at a
    time). A packet that is too large costs none of the others; a body that is, beyond what is read past, ends the
    session. A compressed body is refused as it is: a hundred bytes can unpack to tens of thousands of packets.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        session.drop(sessions.MALFORMED, "a compressed body")
        return engine.error(request, 3, "Send the body without Content-Encoding", status=415)
    if session.posting:
        session.close(sessions.TRANSPORT_ERROR)
        return engine.error(request, 3, "Two posts at once")
    session.posting = True
    try:
        try:
            patience_s = engine.ping_interval + engine.ping_timeout
            async with asyncio.timeout(patience_s) as deadline:
                number = 0
                async for packet in _packets(request, engine.max_payload, engine.max_skipped):
                    number += 1
                    deadline.reschedule(None)  # the client is not to blame for how long its turn takes to come
                    await _take(engine, session, packet, number)
                    if session.crowded:
                        await session.room()
                    if not session.open:
                        break
                    deadline.reschedule(asyncio.get_running_loop().time() + patience_s)
        except _BodyTooLarge:
            session.drop(sessions.TOO_LARGE, "a whole payload")
        except PacketError as exc:
            session.drop(sessions.MALFORMED, str(exc))
        except TimeoutError:
            session.drop(sessions.MALFORMED, "an unfinished payload")
        except Exception:
            # Cut off in the middle: its packets are lost, so the session's order is, too.
            session.close(sessions.TRANSPORT_ERROR)
            raise
        if session.reason == sessions.TOO_LARGE:
            await session.gone()  # its client leaves at the error, without having polled for why
            return engine.too_large(request)
        if session.reason == sessions.MALFORMED:
            return engine.error(request, 3, "Bad payload")
        if session.reason == sessions.FLOODING:
            return engine.error(request, 3, "Too much at once, for too long", status=429)
        return engine.text(request, "ok")
    finally:
        session.posting = False


async def _take(engine: "Engine", session: "Session", packet: str | bytes | Skipped, number: int) -> None:
    """Hand one packet of a POST to the session, no faster than it may send them, and the others have their turns."""
    meter, intake = session.meter, engine.intake
    weight = len(packet.head if isinstance(packet, Skipped) else packet) + PACKET_BYTES
    meter.weight += weight
    intake.weight += weight
    if isinstance(packet, Skipped):
        session.skip(packet)
    else:
        session.receive(packet)
    if meter.weight > LOOK_BYTES and not await intake.allow(meter, lambda: session.open):
        session.drop(sessions.FLOODING)
    if intake.weight > LOOK_BYTES and intake.look():
        await intake.turn(meter, PACKET_BYTES)
    elif number % PACKETS_PER_TURN == 0:
        await asyncio.sleep(0)


class _BodyTooLarge(Exception):
    pass


async def _packets(request: web.Request, limit: int, most: int) -> AsyncIterator[str | bytes | Skipped]:
    """Read the body, chunked or not, in as many pieces as it takes, and give each packet when it is there.

    Raises: PacketError; _BodyTooLarge when it is over `limit` bytes and over `most`.
    """
    if limit and most and _over(request.content_length or 0, limit, most):
        raise _BodyTooLarge
    splitter = PayloadSplitter(limit)
    size = 0
    while piece := await request.content.readany():
        size += len(piece)
        if limit and most and _over(size, limit, most):
            raise _BodyTooLarge
        for part in splitter.feed(piece):
            yield part if isinstance(part, Skipped) else decode_packet(part)
    part = splitter.end()
    yield part if isinstance(part, Skipped) else decode_packet(part)


def _over(size: int, limit: int, most: int) -> bool:
    return size > max(limit, most)
