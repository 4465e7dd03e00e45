"""aiohttp's WebSocket handshake and frame parser, with our own queue behind and our own budget before the parser.

Frames are taken in the parser's callback, so a pong or an ack is seen even while the client's handler is slow, and no
task, future or timer is spent on a message. Uses four insides of aiohttp 3.14, each held by a test: the parser hands
every message to `queue.feed_data`, stalls while the queue is over its limit, and `_post_start` creates both.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http_websocket import WebSocketReader
from aiohttp.http_websocket import WebSocketWriter as _Writer

from .intake import PACKET_BYTES, Intake, Meter
from .link import Link
from .skipping import FrameSkipper, base64_bytes
from .tap import Tap

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

QUEUE_LIMIT_BYTES: Final = 65536


class Frames(WebSocketDataQueue):
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


class WeighedFrames(Frames):
    """The same, where what comes in is limited. The tap before the parser has charged the bytes as they came over the
    wire; here every frame is charged, and what inflating has made of it."""

    def __init__(self, protocol: Any, link: Link, intake: Intake, inflated: bool) -> None:
        super().__init__(protocol, link)
        self._meter = link.meter
        self._intake = intake
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
        max_payload: the largest message taken (bytes), 0 for any.
        max_skipped: the largest that is read past beyond that; whatever is larger ends the connection with 1009.
        compress: whether permessage-deflate may be negotiated. A compressed message cannot be read past.
    """

    def __init__(self, link: Link, intake: Intake, *, max_payload: int, max_skipped: int, compress: bool) -> None:
        # aiohttp refuses what reaches its limit; 0 is no limit for both
        largest = max_payload if compress else base64_bytes(max_payload)
        super().__init__(max_msg_size=largest + 1 if max_payload else 0, compress=compress)
        self._intake = intake
        self.link = link
        if max_payload:
            link.skipper = FrameSkipper(max_payload, max_skipped)

    def _post_start(self, request: "BaseRequest", protocol: str | None, writer: _Writer) -> None:
        link = self.link
        weighed = not self._intake.limits.off
        queue = (
            WeighedFrames(request.protocol, link, self._intake, bool(self._compress))
            if weighed
            else Frames(request.protocol, link)
        )
        link.queue = queue
        link.transport = writer.transport
        self._writer = writer
        self._reader = queue
        self._parser: Any = WebSocketReader(queue, self._max_msg_size, compress=bool(self._compress), decode_text=True)
        if link.skipper is not None:
            self._parser = _Parser(self._parser, link.skipper, link.meter, self._intake)
        parser: Any = self._parser
        if weighed:
            parser = link.tap = Tap(self._intake, link.meter, link, parser, request.protocol)
        request.protocol.set_parser(parser)
        request.protocol.keep_alive(False)
        self.keep_context = not writer.notakeover

    async def write_eof(self) -> None:  # type: ignore[override]
        """Nothing: the link has said goodbye, or lost the connection."""
        self._eof_sent = True

    def _cancel(self, exc: BaseException) -> None:
        self.link.broken(exc)
