"""The HTTP long-polling transport: a GET waits for messages, a POST brings some.

Source: the Engine.IO protocol, revision 4, "HTTP long-polling".
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Protocol

from aiohttp import web

from .answers import BAD_REQUEST, Answers
from .intake import LOOK_BYTES, PACKET_BYTES, Intake
from .packets import CLOSE_PACKET, NOOP, PacketError, decode_packet
from .poll import Poll, SessionGone
from .reasons import STAYS_AWAY, Gone
from .session import OPEN, Session
from .skipping import PayloadSplitter, Skipped
from .state import State
from .wheel import Wheel

NOOP_WAIT_S: Final = 0.1
MAX_NOOP_WAIT_S: Final = 5.0
"""Shortest and longest wait of a poll that is ended for an upgrade; it doubles each time."""
PACKETS_PER_TURN: Final = 64
"""Packets of one POST that are taken without a pause; then the others get a turn."""


class Host(Protocol):
    """What polling needs of the engine; see `host.Engine`."""

    wheel: Wheel
    intake: Intake
    answers: Answers
    ping_interval: float
    ping_timeout: float
    max_payload: int
    max_skipped: int


async def get(host: Host, request: web.Request, session: Session) -> web.Response:
    """Answer a poll with the messages that wait, or as soon as there are some."""
    pending = session.poll
    if pending is not None:
        if pending.alive:
            # Two at once: nobody could tell which of them should get what.
            pending.answer(CLOSE_PACKET.poll)
            session.close(Gone.TRANSPORT_ERROR)
            return host.answers.error(request, BAD_REQUEST, "Two polls at once")
        pending.answer()
        return host.answers.unknown(request)
    if session.outbox.frames:
        return host.answers.payload(request, session.outbox.take())
    if session.state is State.FINISHING:
        reason = session.reason
        session.close(reason)
        if reason not in STAYS_AWAY:
            return host.answers.unknown(request)
        return host.answers.payload(request, CLOSE_PACKET.poll)
    poll = Poll(session, request)
    session.wait_for_messages(poll)
    upgrade = session.upgrade
    timer = None
    if upgrade is not None and upgrade.noops:
        # The client sends no UPGRADE before its GET has ended. But one whose websocket is stalled just polls again:
        # it must not be made to spin.
        wait = min(NOOP_WAIT_S * 2 ** (upgrade.noops - 1), MAX_NOOP_WAIT_S)
        upgrade.noops += 1
        timer = host.wheel.after(wait, lambda: poll.answer(NOOP.poll))
    try:
        payload = await poll.wait()
    except SessionGone:
        return host.answers.unknown(request)
    finally:
        host.wheel.cancel(timer)
    return host.answers.payload(request, NOOP.poll if payload is None else payload)


async def post(host: Host, request: web.Request, session: Session) -> web.Response:
    """Take the packets of one POST, each as soon as it is there, however the body arrives.

    The answer "ok" is held back while the client is ahead of its handlers, or over its rate (it sends one POST at a
    time). A packet that is too large costs none of the others; a body that is, beyond what is read past, ends the
    session. A compressed body is refused as it is: a hundred bytes can unpack to tens of thousands of packets.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        session.drop(Gone.MALFORMED, "a compressed body")
        return host.answers.error(request, BAD_REQUEST, "Send the body without Content-Encoding", status=415)
    if session.posting:
        session.close(Gone.TRANSPORT_ERROR)
        return host.answers.error(request, BAD_REQUEST, "Two posts at once")
    session.begin_post()
    try:
        try:
            patience_s = host.ping_interval + host.ping_timeout
            async with asyncio.timeout(patience_s) as deadline:
                number = 0
                async for packet in _packets(request, host.max_payload, host.max_skipped):
                    number += 1
                    deadline.reschedule(None)  # the client is not to blame for how long its turn takes to come
                    await _take(host, session, packet, number)
                    if session.inbox.crowded:
                        await session.room()
                    if session.state is not OPEN:
                        break
                    deadline.reschedule(asyncio.get_running_loop().time() + patience_s)
        except _BodyTooLarge:
            session.drop(Gone.TOO_LARGE, "a whole payload")
        except PacketError as exc:
            session.drop(Gone.MALFORMED, str(exc))
        except TimeoutError:
            session.drop(Gone.MALFORMED, "an unfinished payload")
        except (ConnectionError, web.RequestPayloadError):
            # Cut off in the middle, or no HTTP: packets are lost, so the session's order is, too.
            session.close(Gone.TRANSPORT_ERROR)
            request.content.feed_eof()  # aiohttp 3.14 would read on, and log what it finds as a fault of ours
            return _closing(host.answers.error(request, BAD_REQUEST, "Bad payload"))
        except Exception:
            session.close(Gone.TRANSPORT_ERROR)
            raise
        if session.reason == Gone.TOO_LARGE:
            await session.gone()  # its client leaves at the error, without having polled for why
            return host.answers.too_large(request)
        if session.reason == Gone.MALFORMED:
            return host.answers.error(request, BAD_REQUEST, "Bad payload")
        if session.reason == Gone.FLOODING:
            return host.answers.error(request, BAD_REQUEST, "Too much at once, for too long", status=429)
        return host.answers.text(request, "ok")
    finally:
        session.end_post()


def _closing(response: web.Response) -> web.Response:
    """The last answer on its connection."""
    response.force_close()
    return response


async def _take(host: Host, session: Session, packet: str | bytes | Skipped, number: int) -> None:
    """Hand one packet of a POST to the session, no faster than it may send them, and the others have their turns."""
    meter, intake = session.meter, host.intake
    weight = len(packet.head if isinstance(packet, Skipped) else packet) + PACKET_BYTES
    meter.weight += weight
    intake.weight += weight
    if isinstance(packet, Skipped):
        session.skip(packet)
    else:
        session.receive(packet)
    if meter.weight > LOOK_BYTES and not await intake.allow(meter, lambda: session.open):
        session.drop(Gone.FLOODING)
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
