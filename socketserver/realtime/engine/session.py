"""One Engine.IO session: its state, heartbeat, and what the client has sent but nobody has handled yet.

Knows its transport only as an outbox and a link to close, and the layer above only as an `Application`.
Source: the Engine.IO protocol, revision 4, "Heartbeat" and "Transports".
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import web

from . import kept
from . import outbox as boxes
from .intake import EVENT_BYTES, LOOK_BYTES
from .packets import CLOSE_PACKET, NOOP, PING, Encoded, PacketError, decode_base64
from .skipping import Skipped

if TYPE_CHECKING:
    from .engine import Engine
    from .polling import Poll
    from .websocket import Link

CLIENT_DISCONNECT: Final = "client disconnect"
SERVER_DISCONNECT: Final = "server disconnect"
SERVER_SHUTDOWN: Final = "server shutdown"
PING_TIMEOUT: Final = "ping timeout"
TRANSPORT_CLOSE: Final = "transport close"
TRANSPORT_ERROR: Final = "transport error"
CONNECT_TIMEOUT: Final = "connect timeout"
SLOW_CONSUMER: Final = "slow_consumer"
MALFORMED: Final = "malformed"
TOO_LARGE: Final = "too_large"
CONNECTED_TWICE: Final = "connected_twice"
FLOODING: Final = "flooding"

STAYS_AWAY: Final = frozenset({CLIENT_DISCONNECT, SERVER_DISCONNECT, CONNECT_TIMEOUT, MALFORMED})
"""Ends after which a polling client gets a CLOSE packet, or an empty answer if it said goodbye itself. After any other
it is to come back, and gets an error in answer to its poll: python-socketio's client takes a CLOSE for final."""

ITEM_OVERHEAD_BYTES: Final = 1024
"""What one waiting event counts beside its own length, so that the byte bound is a bound of their number too."""
ITEMS_PER_TURN: Final = 64
"""After so many events of one client without a pause, the others get a turn."""
FINISH_WAIT_S: Final = 1.0
"""How long a polling client may take to fetch its last messages."""

_CLOSE_CODES: Final = {MALFORMED: 1008, FLOODING: 1008, TOO_LARGE: 1009}  # RFC 6455 section 7.4.1

logger = logging.getLogger(__name__)


class Application(Protocol):
    """What a session needs of the layer above it."""

    def message(self, session: "Session", data: str | bytes) -> None:
        """Take one message, at once and without waiting; what takes time is put into `session.enqueue`.

        Raises: PacketError, which ends the session.
        """

    def skipped(self, session: "Session", message: Skipped) -> bool:
        """Answer a message that was too large, at once and without waiting. Returns False if there is no way to: that
        ends the session."""

    async def handle(self, session: "Session", item: Any) -> None:
        """Handle one item that `message` or `closed` has enqueued. Called for one item at a time, in order."""

    def closed(self, session: "Session", reason: str) -> None:
        """The session is over. Called exactly once."""

    def farewell(self, session: "Session", reason: str) -> Iterable[Encoded]:
        """Return the last messages for a client that is dropped for `reason`."""


class Observer(Protocol):
    """Who keeps count of sessions. Must not raise, wait, or touch the session."""

    def rejected(self, code: int) -> None:
        """A request was answered with an error of Engine.IO's (engine.UNKNOWN_TRANSPORT to UNSUPPORTED_VERSION)."""

    def opened(self, session: "Session") -> None:
        """A session has begun."""

    def closed(self, session: "Session", reason: str) -> None:
        """A session that had begun is over. Called exactly once."""


class Session:
    """One client, from its handshake to its end, over whatever transports.

    Attributes:
        id: the Engine.IO session id.
        request: the aiohttp request of the handshake, or a copy with as much of it as is kept (`kept`).
        kept_bytes: how much is kept of the handshake until a connect handler has been answered.
        created: monotonic seconds.
        outbox: where messages to the client go.
        link: its websocket, None while it polls.
        meter: what comes in from it, over whatever transport, is charged to this.
        poll: the GET that waits for messages, None when there is none.
        open: whether messages are still taken and sent. The layer above is told at once when that ends.
        ending: why it is over, while its last messages wait for the client's poll; else None.
        reason: why it is over, '' before.
        state: free for the layer above.
    """

    __slots__ = (
        "_awaiting_pong",
        "_drained",
        "_engine",
        "_heard",
        "_inbox",
        "_inbox_size",
        "_original",
        "_ping_timer",
        "_pinged",
        "_posting",
        "_quiet",
        "_read_since",
        "_room",
        "_working",
        "created",
        "ending",
        "environ",
        "id",
        "kept_bytes",
        "link",
        "meter",
        "open",
        "outbox",
        "poll",
        "reason",
        "request",
        "state",
        "upgrade",
    )

    def __init__(self, engine: "Engine", id: str, request: web.Request, *, over_websocket: bool = False) -> None:
        self._engine = engine
        self.id = id
        self.request = kept.trimmed(request, kept.CONNECTING_BYTES)
        self._original = request if over_websocket else None
        self.kept_bytes = kept.head_bytes(self.request)
        if over_websocket:
            self.kept_bytes += kept.head_bytes(request)
        self.environ: dict[str, Any] | None = None
        self.created = engine.wheel.clock()
        self.meter = engine.meter(request)
        self.outbox = boxes.Outbox(engine.flusher, engine.outbox_bytes, self._slow)
        self.link: Link | None = None
        self.upgrade: Link | None = None
        self.poll: Poll | None = None
        self._posting = False
        self.open = True
        self.ending: str | None = None
        self.reason = ""
        self.state: Any = None
        self._inbox: deque[tuple[Any, int]] = deque()
        self._inbox_size = 0
        self._working = False
        self._room: asyncio.Event | None = None
        self._quiet: asyncio.Event | None = None
        self._awaiting_pong = False
        self._heard: Callable[[], None] | None = None
        self._drained = -1
        self._pinged = self.created
        self._read_since = self.created
        self._ping_timer = engine.wheel.at(self.created + engine.ping_interval, self._tick)

    def settle(self) -> None:
        """A connect handler has let the client in: from now on little is kept of the handshake."""
        self.request = kept.trimmed(self.request, kept.CONNECTED_BYTES)
        if self._original is not None:
            kept.let_go(self._original, self.request)
            self._original = None

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call `callback` in a moment; whoever is called looks whether it still matters."""
        self._engine.wheel.after(delay_s, callback)

    # What the client sends

    @property
    def transport_name(self) -> str:
        """'polling' or 'websocket'."""
        return "polling" if self.link is None else "websocket"

    def receive(self, data: str | bytes) -> None:
        """Take one Engine.IO packet: text with its type digit, or a binary message. Never waits, never raises."""
        if not self.open:
            return
        try:
            if self._heard is not None:
                heard, self._heard = self._heard, None
                heard()
            if type(data) is str:
                kind = data[:1]
                if kind == "4":
                    self._engine.application.message(self, data[1:])
                elif data == "3":
                    self.pong()
                elif data == "1":
                    self.close(CLIENT_DISCONNECT)
                elif kind == "b":
                    self._receive_binary(decode_base64(data[1:]))
                elif data != "6":
                    # also a ping: since revision 4 only the server sends them
                    raise PacketError("unexpected Engine.IO packet")
            else:
                assert type(data) is bytes
                self._receive_binary(data)
        except PacketError as exc:
            self.drop(MALFORMED, str(exc))
        except Exception:
            logger.exception("a message could not be taken; its client is dropped")
            self.drop(MALFORMED, "internal error")

    def _receive_binary(self, data: bytes) -> None:
        # Base64 comes in steps of three bytes, so its length does not tell.
        if 0 < self._engine.max_payload < len(data):
            self.skip(Skipped(True, data[:0]))
        else:
            self._engine.application.message(self, data)

    def skip(self, message: Skipped) -> None:
        """The client has sent a message that is too large, of which only this is left. Never waits, never raises."""
        if not self.open:
            return
        try:
            answered = self._engine.application.skipped(self, message)
        except Exception:
            logger.exception("a message that is too large could not be answered; its client is dropped")
            answered = False
        if not answered:
            self.drop(TOO_LARGE, "and there is no ack that could say so")

    def enqueue(self, item: Any, size: int = 0) -> None:
        """Have the application handle `item` after all that was enqueued before it.

        While more is waiting than the engine's `inbox_bytes`, the client is not read from, so that TCP slows it down.
        """
        self._inbox.append((item, size + ITEM_OVERHEAD_BYTES))
        self._inbox_size += size + ITEM_OVERHEAD_BYTES
        link = self.link
        if link is not None and self.crowded:
            link.plug()
        if not self._working:
            if link is not None and link.wake():
                return
            self._working = True
            self._engine.spawn(self._work())

    @property
    def has_work(self) -> bool:
        """Whether something waits that no task is handling."""
        return bool(self._inbox) and not self._working

    @property
    def crowded(self) -> bool:
        """Whether more is waiting than may."""
        limit = self._engine.inbox_bytes
        return limit > 0 and self._inbox_size > limit

    async def room(self) -> None:
        """Wait until less is waiting than may, or the session is over."""
        if self._room is None:
            self._room = asyncio.Event()
        while self.crowded and self.open:
            self._room.clear()
            await self._room.wait()

    async def gone(self) -> None:
        """Wait until the session is over for its client too: until that has fetched its last messages, or had the time.
        Only once it is not `open` any more."""
        if self._room is None:
            self._room = asyncio.Event()
        while self.ending is not None:
            self._room.clear()
            await self._room.wait()

    async def settled(self) -> None:
        """Wait until everything that was enqueued is handled."""
        if self._quiet is None:
            self._quiet = asyncio.Event()
        while self._working or self._inbox:
            self._quiet.clear()
            await self._quiet.wait()

    async def work(self) -> None:
        """Handle what is waiting, in the caller's task. Only while `has_work`."""
        self._working = True
        await self._work()

    def hand_over(self) -> None:
        """Have what is waiting handled in a task of its own, because the caller's ends."""
        if self.has_work and not self._engine.dead:
            self._working = True
            self._engine.spawn(self._work())

    async def _work(self) -> None:
        inbox = self._inbox
        handle = self._engine.application.handle
        intake = self._engine.intake
        turn = 0
        try:
            while inbox:
                intake.weight += EVENT_BYTES
                if intake.weight > LOOK_BYTES and intake.look():
                    await intake.turn(self.meter, EVENT_BYTES)
                item, size = inbox.popleft()
                try:
                    await handle(self, item)
                except Exception:
                    logger.exception("an event could not be handled")
                self._inbox_size -= size
                if self._inbox_size * 2 <= self._engine.inbox_bytes:
                    if self.link is not None and self.link.plugged:
                        self._read_since = self._engine.wheel.clock()
                        self.link.unplug()
                    if self._room is not None:
                        self._room.set()
                turn += 1
                if turn % ITEMS_PER_TURN == 0 and inbox:
                    await asyncio.sleep(0)
        finally:
            self._working = False
            self.hand_over()  # after a cancellation: somebody's disconnect has yet to be told
            if self._quiet is not None:
                self._quiet.set()

    # Heartbeat

    def pong(self) -> None:
        """The client has answered the ping."""
        if self._awaiting_pong:
            self._awaiting_pong = False
            if self._engine.wheel.clock() >= self._pinged + self._engine.ping_interval:
                self._ping(self._engine.wheel.clock())

    def probe(self, heard: Callable[[], None]) -> None:
        """Call `heard` once the client has shown that it is alive: at the next packet that comes, whatever it is.

        A ping is sent at once, so that there will be one; the heartbeat goes on beside it.

        Args:
            heard: takes the place of an earlier one. Not called any more when the session ends first.
        """
        if self.open:
            self._heard = heard
            self.outbox.push(PING)

    def check(self) -> bool:
        """Return whether the client may still be answered, after ending the session if its time is over.

        The wheel may be a moment late; a request must not revive a session past its deadline.
        """
        engine = self._engine
        late = self._awaiting_pong and engine.wheel.clock() >= self._deadline
        if late and not self._unread:
            self.close(PING_TIMEOUT, abort=True)
        return self.open or self.ending is not None

    @property
    def posting(self) -> bool:
        """Whether a POST of this session is being taken."""
        return self._posting

    @posting.setter
    def posting(self, value: bool) -> None:
        self._posting = value
        self._read_since = self._engine.wheel.clock()

    @property
    def _unread(self) -> bool:
        # We are not reading from this client, as its handlers are slow or it sends too much: its pong may be in there.
        return self._posting or (self.link is not None and self.link.unread)

    @property
    def _deadline(self) -> float:
        return max(self._pinged, self._read_since) + self._engine.ping_timeout

    def _ping(self, when: float) -> None:
        self._pinged = when
        self._awaiting_pong = True
        if self.outbox.transport is not None:
            drained = self.outbox.drained
            if drained == self._drained and self.outbox.unsent:
                self._slow()  # nothing has gone out for a whole interval: answering pings or not, it does not read
                return
            self._drained = drained
        self.outbox.push(PING)

    def _tick(self) -> None:
        engine = self._engine
        now = engine.wheel.clock()
        if self._awaiting_pong:
            if self._unread:
                self._read_since = now
            elif now >= self._deadline:
                self.close(PING_TIMEOUT, abort=True)
                return
        elif now >= self._pinged + engine.ping_interval:
            due = self._pinged + engine.ping_interval
            # A ping that leaves late (a busy event loop) keeps its deadline, unless that would halve the client's time.
            self._ping(due if now - due < engine.ping_timeout / 2 else now)
            if not self.open:
                return
        if self._awaiting_pong:
            wake = self._pinged + min(engine.ping_interval, engine.ping_timeout)
            if wake <= now:
                wake = self._deadline
        else:
            wake = self._pinged + engine.ping_interval
        self._ping_timer = engine.wheel.at(wake, self._tick)

    # The end

    def close(self, reason: str, *, abort: bool = False, code: int = 1000) -> None:
        """End the session. Never waits and runs no handler; a second call does nothing.

        What is in the outbox is written first, followed by the transport's own way of saying goodbye: a close frame
        with `code`, or in the answer to the pending poll a CLOSE packet for who is to stay away (STAYS_AWAY). Who is to
        come back gets the error of a session that is unknown, in answer to this poll or to the next.

        Args:
            abort: cut the TCP connection instead, because nobody is listening.
        """
        if not self.open and self.ending is None:
            return
        engine = self._engine
        engine.wheel.cancel(self._ping_timer)
        engine.sessions.pop(self.id, None)
        self.ending = None
        if self.open:
            self._over(reason)  # first: the layer above may hold something back that is to leave still
        if self.upgrade is not None:
            self.upgrade.close(1000)
        if self.link is not None:
            if abort:
                self.link.abort()
            else:
                if not self.link.closing:
                    self.outbox.flush()
                self.link.close(code)
        elif self.poll is not None:
            if reason in STAYS_AWAY:
                # A client that says goodbye itself gets the empty answer that ends its GET.
                self.outbox.push(NOOP if reason == CLIENT_DISCONNECT else CLOSE_PACKET)
                self.poll.answer()
            elif self.outbox.frames:
                self.poll.answer()
            else:
                self.poll.refuse()
        self.outbox.close()
        if self._room is not None:
            self._room.set()
        if engine.observer is not None:
            engine.observer.closed(self, reason)

    def finish(self, reason: str) -> None:
        """End the session once what is in the outbox has left, or after a second.

        On a websocket that is what `close` does. A polling client gets them in one answer and the end in the next: the
        JS client (4.8) forgets the messages of a payload in which it finds a CLOSE. For the layer above the session is
        over at once: a client may be back before its old session has gone, and must not count as there twice.
        """
        if not self.open:
            return
        if self.link is None and self.outbox.frames:
            self.ending = reason
            self._over(reason)
            self._engine.wheel.cancel(self._ping_timer)
            self._ping_timer = self._engine.wheel.after(FINISH_WAIT_S, lambda: self.close(reason))
            if self.poll is not None:
                self.poll.answer()
        else:
            self.close(reason)

    def _over(self, reason: str) -> None:
        self.open = False
        self.reason = reason
        if self._room is not None:
            self._room.set()
        self._engine.application.closed(self, reason)

    def drop(self, reason: str, detail: str = "", *, code: int | None = None) -> None:
        """End the session of a client that broke a rule or a bound, after telling it why if it still reads.

        Args:
            code: of the websocket's close frame.
        """
        if not self.open:
            return
        if reason != FLOODING:
            logger.info("client dropped: %s", f"{reason} ({detail})" if detail else reason)
        elif (more := self._engine.intake.line()) is not None:
            logger.info("client dropped: %s", f"{reason} ({more})" if more else reason)
        last_words = list(self._engine.application.farewell(self, reason))
        for message in last_words:
            self.outbox.push(message)
        if last_words and self.link is None:
            self.finish(reason)
        else:
            self.close(reason, code=code or _CLOSE_CODES.get(reason, 1000))

    def _slow(self) -> None:
        if not self.open:
            return
        logger.info("client dropped: %s", SLOW_CONSUMER)
        self.outbox.limit = 0  # its last words are over the bound too
        for message in self._engine.application.farewell(self, SLOW_CONSUMER):
            self.outbox.push(message)
        self.finish(SLOW_CONSUMER)
        if self.link is not None:
            self.link.abort_soon()
