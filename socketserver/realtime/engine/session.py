"""One Engine.IO session: what is taken from its client, what it is sent, and its end.

Knows the engine only as a `Host`, and the layer above only as an `Application` (`contracts`).
Source: the Engine.IO protocol, revision 4, "Heartbeat" and "Transports".
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from .contracts import Host
from .handshake import Handshake
from .heartbeat import Beat, Heartbeat
from .inbox import Inbox
from .link import Link
from .outbox import Outbox
from .packets import CLOSE_PACKET, NOOP, PING, PacketError, decode_base64
from .poll import Poll
from .reasons import CLOSE_CODES, STAYS_AWAY, Gone
from .skipping import Skipped
from .state import State

OPEN: Final = State.OPEN

logger = logging.getLogger(__name__)


class Session:
    """One client, from its handshake to its end, over whatever transports. Nobody else writes its fields, but `peer`.

    Attributes:
        id: the Engine.IO session id.
        handshake: the request that it began with.
        created: monotonic seconds.
        state: whether messages are still taken and sent. The layer above is told at once when that ends.
        reason: why it is over, '' before.
        heartbeat: when it is pinged.
        inbox: what the client has sent and nobody has handled yet.
        enqueue: enqueue(item, size_bytes) has the application handle `item` after all that came before. While more
            waits than the engine's `inbox_bytes`, the client is not read from, so that TCP slows it down.
        outbox: where messages to the client go.
        link: its websocket, None while it polls.
        upgrade: the websocket that it wants to go on with, None when there is none.
        poll: the GET that waits for messages, None when there is none.
        posting: whether a POST of its is being taken.
        meter: what comes in from it, over whatever transport, is charged to this.
        peer: what the layer above keeps of it.
    """

    __slots__ = (
        "_changed",
        "_drained",
        "_heard",
        "_host",
        "_ping_timer",
        "created",
        "enqueue",
        "handshake",
        "heartbeat",
        "id",
        "inbox",
        "link",
        "meter",
        "outbox",
        "peer",
        "poll",
        "posting",
        "reason",
        "state",
        "upgrade",
    )

    def __init__(self, host: "Host[Session]", id: str, request: web.Request, *, over_websocket: bool = False) -> None:
        self._host = host
        self.id = id
        self.handshake = Handshake(request, over_websocket=over_websocket)
        self.created = host.wheel.clock()
        self.state: State = OPEN
        self.reason = ""
        self.meter = host.meter(request)
        self.inbox = Inbox(self, host.inbox_bytes, host.intake, self.meter)
        self.enqueue = self.inbox.put
        self.outbox = Outbox(host.flusher, host.outbox_bytes, self._slow)
        self.link: Link | None = None
        self.upgrade: Link | None = None
        self.poll: Poll | None = None
        self.posting = False
        self.peer: Any = None
        self._changed: asyncio.Event | None = None
        self._heard: Callable[[], None] | None = None
        self._drained = -1
        self.heartbeat = Heartbeat(host.ping_interval, host.ping_timeout, self.created)
        self._ping_timer = host.wheel.at(self.heartbeat.next_s, self._beat)

    @property
    def open(self) -> bool:
        """Whether messages are still taken and sent."""
        return self.state is OPEN

    @property
    def request(self) -> web.Request:
        """The request that it began with, or what is kept of it."""
        return self.handshake.request

    @property
    def kept_bytes(self) -> int:
        """How much is kept of the handshake until a connect handler has been answered."""
        return self.handshake.kept_bytes

    @property
    def transport_name(self) -> str:
        """'polling' or 'websocket'."""
        return "polling" if self.link is None else "websocket"

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call `callback` in a moment; whoever is called looks whether it still matters."""
        self._host.wheel.after(delay_s, callback)

    # What the client sends

    def receive(self, data: str | bytes) -> None:
        """Take one Engine.IO packet: text with its type digit, or a binary message. Never waits, never raises."""
        if self.state is not OPEN:
            return
        try:
            if self._heard is not None:
                heard, self._heard = self._heard, None
                heard()
            if type(data) is str:
                kind = data[:1]
                if kind == "4":
                    self._host.application.message(self, data[1:])
                elif data == "3":
                    self._pong()
                elif data == "1":
                    self.close(Gone.CLIENT_DISCONNECT)
                elif kind == "b":
                    self._receive_binary(decode_base64(data[1:]))
                elif data != "6":
                    # also a ping: since revision 4 only the server sends them
                    raise PacketError("unexpected Engine.IO packet")
            else:
                assert type(data) is bytes
                self._receive_binary(data)
        except PacketError as exc:
            self.drop(Gone.MALFORMED, str(exc))
        except Exception:
            logger.exception("a message could not be taken; its client is dropped")
            self.drop(Gone.MALFORMED, "internal error")

    def _receive_binary(self, data: bytes) -> None:
        # Base64 comes in steps of three bytes, so its length does not tell.
        if 0 < self._host.max_payload < len(data):
            self.skip(Skipped(True, data[:0]))
        else:
            self._host.application.message(self, data)

    def skip(self, message: Skipped) -> None:
        """The client has sent a message that is too large, of which only this is left. Never waits, never raises."""
        if self.state is not OPEN:
            return
        try:
            answered = self._host.application.skipped(self, message)
        except Exception:
            logger.exception("a message that is too large could not be answered; its client is dropped")
            answered = False
        if not answered:
            self.drop(Gone.TOO_LARGE, "and there is no ack that could say so")

    async def work(self) -> None:
        """Handle what waits in the inbox, in the caller's task. Not while another does."""
        await self.inbox.run(self._host.application.handle)

    async def settled(self) -> None:
        """Wait until everything that was enqueued is handled."""
        await self.inbox.settled()

    async def room(self) -> None:
        """Wait until less waits in the inbox than may, or the session is over."""
        while self.inbox.crowded and self.state is OPEN:
            await self._change()

    async def gone(self) -> None:
        """Wait until the session is over for its client too: until that has fetched its last messages, or had the time.
        Only once it is not `open` any more."""
        while self.state is State.FINISHING:
            await self._change()

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    # The inbox's owner

    def wake(self) -> bool:
        """Have the websocket's own task do the work. Returns False when it is busy or gone."""
        return self.link is not None and self.link.wake()

    def start(self) -> None:
        """Have the work done in a task of its own."""
        self._host.spawn(self.work())

    def full(self) -> None:
        """More waits than may: stop reading."""
        if self.link is not None:
            self.link.plug()

    def eased(self) -> None:
        """There is room again: go on reading."""
        if self.link is not None and self.link.plugged:
            self.heartbeat.read(self._host.wheel.clock())
            self.link.unplug()
        if self._changed is not None:
            self._changed.set()

    def hand_over(self) -> None:
        """Have what waits handled in a task of its own, because the caller's ends."""
        if self.inbox.has_work and not self._host.dead:
            self.inbox.start()

    # The transports

    def begin_websocket(self, link: Link) -> None:
        """The session begins over a websocket."""
        self.link = link

    def begin_upgrade(self, link: Link) -> None:
        """Its client tries a websocket, and goes on polling until it has said that it changes."""
        self.upgrade = link

    def end_upgrade(self, link: Link) -> bool:
        """The try is over. Returns False if it was no longer under way."""
        if self.upgrade is not link:
            return False
        self.upgrade = None
        return True

    def upgraded(self, link: Link, *, compress_bits: int, keep_context: bool, text_only: bool) -> None:
        """The client goes on over this websocket; see `Outbox.to_websocket`."""
        assert link.transport is not None
        self.upgrade = None
        self.link = link
        self.outbox.to_websocket(link.transport, compress_bits, keep_context, text_only)
        if self.state is State.FINISHING:
            self.close(self.reason)
        elif self.inbox.crowded:
            link.plug()

    def wait_for_messages(self, poll: Poll) -> None:
        """A GET waits for messages."""
        self.poll = poll
        self.outbox.on_poll_data = poll.answer

    def unpoll(self, poll: Poll) -> None:
        """That GET does not wait any more."""
        if self.poll is poll:
            self.poll = None
            self.outbox.on_poll_data = None

    def begin_post(self) -> None:
        """A POST is being taken: what is not read of it yet may hold a pong."""
        self.posting = True
        self.heartbeat.read(self._host.wheel.clock())

    def end_post(self) -> None:
        """The POST is taken."""
        self.posting = False
        self.heartbeat.read(self._host.wheel.clock())

    # Heartbeat

    def probe(self, heard: Callable[[], None]) -> None:
        """Call `heard` once the client has shown that it is alive: at the next packet that comes, whatever it is.

        A ping is sent at once, so that there will be one; the heartbeat goes on beside it.

        Args:
            heard: takes the place of an earlier one. Not called any more when the session ends first.
        """
        if self.state is OPEN:
            self._heard = heard
            self.outbox.push(PING)

    def check(self) -> bool:
        """Return whether the client may still be answered, after ending the session if its time is over.

        The wheel may be a moment late; a request must not revive a session past its deadline.
        """
        if self.heartbeat.late(self._host.wheel.clock()) and self._reading:
            self.close(Gone.PING_TIMEOUT, abort=True)
        return self.state is not State.CLOSED

    @property
    def _reading(self) -> bool:
        return not (self.posting or (self.link is not None and self.link.unread))

    def _pong(self) -> None:
        if self.heartbeat.pong(self._host.wheel.clock()):
            self._ping()

    def _ping(self) -> None:
        if self.outbox.transport is not None:
            drained = self.outbox.drained
            if drained == self._drained and self.outbox.unsent:
                self._slow()  # nothing has gone out for a whole interval: answering pings or not, it does not read
                return
            self._drained = drained
        self.outbox.push(PING)

    def _beat(self) -> None:
        beat = self.heartbeat.due(self._host.wheel.clock(), reading=self._reading)
        if beat is Beat.DEAD:
            self.close(Gone.PING_TIMEOUT, abort=True)
        elif beat is Beat.PING:
            self._ping()
        if self.state is OPEN:
            self._ping_timer = self._host.wheel.at(self.heartbeat.next_s, self._beat)

    # The end

    def close(self, reason: str, *, abort: bool = False, code: int = 1000) -> None:
        """End the session. Never waits and runs no handler; a second call does nothing.

        What is in the outbox is written first, followed by the transport's own way of saying goodbye: a close frame
        with `code`, or in the answer to the pending poll a CLOSE packet for who is to stay away (STAYS_AWAY). Who is to
        come back gets the error of a session that is unknown, in answer to this poll or to the next.

        Args:
            abort: cut the TCP connection instead, because nobody is listening.
        """
        if self.state is State.CLOSED:
            return
        self._move(State.CLOSED, reason)  # first: the layer above may hold something back that is to leave still
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
                self.outbox.push(NOOP if reason == Gone.CLIENT_DISCONNECT else CLOSE_PACKET)
                self.poll.answer()
            elif self.outbox.frames:
                self.poll.answer()
            else:
                self.poll.refuse()
        self.outbox.close()
        self._host.forget(self, reason)

    def finish(self, reason: str) -> None:
        """End the session once what is in the outbox has left, or after the engine's `finish_timeout`.

        On a websocket that is what `close` does. A polling client gets them in one answer and the end in the next: the
        JS client (4.8) forgets the messages of a payload in which it finds a CLOSE. For the layer above the session is
        over at once: a client may be back before its old session has gone, and must not count as there twice.
        """
        if self.state is not OPEN:
            return
        if self.link is not None or not self.outbox.frames:
            self.close(reason)
            return
        self._move(State.FINISHING, reason)
        self._ping_timer = self._host.wheel.after(self._host.finish_timeout, lambda: self.close(reason))
        if self.poll is not None:
            self.poll.answer()

    def drop(self, reason: str, detail: str = "", *, code: int | None = None) -> None:
        """End the session of a client that broke a rule or a bound, after telling it why if it still reads.

        Args:
            code: of the websocket's close frame.
        """
        if self.state is not OPEN:
            return
        if reason != Gone.FLOODING:
            logger.info("client dropped: %s", f"{reason} ({detail})" if detail else reason)
        elif (more := self._host.intake.line()) is not None:
            logger.info("client dropped: %s", f"{reason} ({more})" if more else reason)
        last_words = list(self._host.application.farewell(self, reason))
        for message in last_words:
            self.outbox.push(message)
        if last_words and self.link is None:
            self.finish(reason)
        else:
            self.close(reason, code=code or CLOSE_CODES.get(reason, 1000))

    def _slow(self) -> None:
        if self.state is not OPEN:
            return
        logger.info("client dropped: %s", Gone.SLOW_CONSUMER)
        self.outbox.limit = 0  # its last words are over the bound too
        for message in self._host.application.farewell(self, Gone.SLOW_CONSUMER):
            self.outbox.push(message)
        self.finish(Gone.SLOW_CONSUMER)
        if self.link is not None:
            self.link.abort_soon()

    def _move(self, state: State, reason: str) -> None:
        """Change the state: the one place that does. The layer above is told when the session is not open any more."""
        assert self.state.may_become(state)
        was, self.state = self.state, state
        self._host.wheel.cancel(self._ping_timer)
        if self._changed is not None:
            self._changed.set()
        if was is OPEN:
            self.reason = reason
            self._host.application.closed(self, reason)
