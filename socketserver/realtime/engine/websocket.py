"""The websocket transport: a session that begins on one, and one that goes on from polling.

Source: the Engine.IO protocol, revision 4, "WebSocket" and "Upgrade".
"""

from typing import Protocol

from aiohttp import web

from . import kept
from .frames import Response
from .intake import Intake, Meter
from .link import Link
from .packets import NOOP, PROBE_ANSWER
from .reasons import Gone
from .session import Session
from .state import State
from .wheel import Wheel


class Host(Protocol):
    """What a websocket needs of the engine; see `engine.Engine`."""

    wheel: Wheel
    intake: Intake
    max_payload: int
    max_skipped: int
    upgrade_timeout: float
    websocket_compression: bool

    def meter(self, request: web.Request) -> Meter:
        """Return the meter of a new client."""


async def serve(host: Host, request: web.Request, session: Session) -> web.StreamResponse:
    """Serve a session that begins on a websocket. Its OPEN packet is in the outbox already."""
    link = Link(host.wheel, session.meter, session.receive, session.close)
    session.begin_websocket(link)
    link.session = session
    response = _response(host, link)
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
        session.close(Gone.TRANSPORT_ERROR, abort=True)
        session.hand_over()
    return response


async def upgrade(host: Host, request: web.Request, session: Session) -> web.StreamResponse:
    """Serve a websocket on which a polling session wants to go on.

    Until the client's UPGRADE packet the session belongs to polling; a websocket that dies or stalls before it, or
    says anything else, changes nothing.
    Source: the Engine.IO protocol, "Upgrade".
    """
    attempt = _Upgrade(host, session, _text_only(request))
    link = attempt.link
    session.begin_upgrade(link)
    timer = host.wheel.after(host.upgrade_timeout, attempt.give_up)
    try:
        if not await _prepare(attempt.response, request):
            return _nobody()
        _forget(request)
        await link.run()
    finally:
        host.wheel.cancel(timer)
        attempt.give_up()
        link.abort()
        if session.link is link:
            session.close(Gone.TRANSPORT_ERROR, abort=True)
            session.hand_over()
    return attempt.response


async def refuse(host: Host, request: web.Request) -> web.StreamResponse:
    """Open a websocket and close it at once: a second one for a session, which goes on with the first.

    Not an HTTP error, because Engine.IO's own server does not answer with one, and its conformance suite holds to that.
    """
    link = Link(host.wheel, host.meter(request), lambda data: None, lambda reason: None)
    response = _response(host, link, compress=False)
    try:
        if not await _prepare(response, request):
            return _nobody()
        link.close(1000)
        await link.run()
    finally:
        link.abort()
    return response


def _response(host: Host, link: Link, *, compress: bool = True) -> Response:
    return Response(
        link,
        host.intake,
        max_payload=host.max_payload,
        max_skipped=host.max_skipped,
        compress=compress and host.websocket_compression,
    )


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
    """A polling client's try to go on over a websocket."""

    def __init__(self, host: Host, session: Session, text_only: bool) -> None:
        self._session = session
        self._text_only = text_only
        self._probed = False
        self.link = Link(host.wheel, session.meter, self._receive, self._lost)
        self.response = _response(host, self.link)

    def give_up(self) -> None:
        if self._session.end_upgrade(self.link):
            self.link.abort()

    def _lost(self, reason: str) -> None:
        if self._session.link is self.link:
            self._session.close(reason)
        else:
            self._session.end_upgrade(self.link)

    def _receive(self, data: str | bytes) -> None:
        session, link = self._session, self.link
        if data == "2probe" and not self._probed:
            self._probed = True
            assert link.transport is not None
            link.transport.write(PROBE_ANSWER.ws)
            link.noops = 1
            if session.poll is not None:  # the client waits for its GET to end before it goes on
                session.poll.answer(None if session.outbox.frames else NOOP.poll)
        elif data == "5" and self._probed and session.state is not State.CLOSED:
            self._complete()
        else:
            session.end_upgrade(link)
            link.close(1002)

    def _complete(self) -> None:
        session, link = self._session, self.link
        if session.poll is not None:
            session.poll.answer(NOOP.poll)
            if session.state is State.CLOSED:
                return  # its poll was cut off, and it is gone
        link.session = session
        link.sink = session.receive
        session.upgraded(
            link,
            compress_bits=int(self.response.compress),
            keep_context=self.response.keep_context,
            text_only=self._text_only,
        )
