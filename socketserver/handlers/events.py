"""The event handlers: one per client event, thin, behind one guard.

The guard gives every event exactly one ack, in the shape of protocol.py: also for a bug, an unknown event, a wrong
payload or a socket without a user.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from ..chat import domain
from ..chat.domain import Clock, Conversation, ConversationId, UserId
from ..chat.service import ChatService
from ..door.auth import Authenticator
from ..door.connects import Guards
from ..door.rates import Rates
from ..errors import (
    FLOODING,
    TOO_MANY_CONNECTS,
    AuthRequired,
    ChatError,
    InternalError,
    InvalidPayload,
    LimitExceeded,
    NotJoined,
    RateLimited,
    TooLarge,
    TooManyConnects,
    UnknownEvent,
)
from ..live.auto_read import AutoRead
from ..live.connections import Connection, Sessions
from ..live.fanout import Fanout, conversation_room
from ..live.lifecycle import Lifecycle
from ..live.typing_indicator import Typing, TypingIndicator
from ..live.watching import Watching
from ..logs import Sample, get_logger
from ..ops.metrics import UNKNOWN_EVENT, Metrics
from ..realtime import AsyncServer, Refusal, received_s
from ..wire import protocol
from ..wire.pages import Page, fit, gap_before
from ..wire.protocol import (
    MAX_SAFE_INTEGER,
    ClientEvent,
    MessageEncoder,
    ParticipantWire,
    Payloads,
    dump_failure,
    dump_ok,
)
from .arriving import Arriving

log = get_logger(__name__)

# How long a client that was ended for flooding is told to stay away.
FLOODING_RETRY_MS: Final = 30_000

Ack = dict[str, Any]


class Handlers:
    """Answers clients' events.

    Args:
        joined_per_socket: bound on what one socket may have open; 0 for none.
        listed_participants: how many participants a conversation names; 0 for all.
        page_bytes: about how long an answer's page may be, as JSON; 0 for no bound.
        logged_per_second: bound on the messages, and on the refused requests, that have lines in the log; 0 for none.
    """

    def __init__(
        self,
        *,
        payloads: Payloads,
        authenticator: Authenticator,
        chat: ChatService,
        lifecycle: Lifecycle,
        guards: Guards,
        rates: Rates,
        sessions: Sessions,
        watching: Watching,
        typing: TypingIndicator,
        auto_read: AutoRead,
        fanout: Fanout,
        messages: MessageEncoder,
        metrics: Metrics,
        clock: Clock,
        joined_per_socket: int,
        page_bytes: int,
        listed_participants: int,
        logged_per_second: int,
        sio: AsyncServer,
    ) -> None:
        self._sio = sio
        self._payloads = payloads
        self._arriving = Arriving(sio, authenticator, guards, lifecycle, metrics, clock)
        self._chat = chat
        self._lifecycle = lifecycle
        self._guards = guards
        self._rates = rates
        self._sessions = sessions
        self._watching = watching
        self._typing = typing
        self._auto_read = auto_read
        self._fanout = fanout
        self._messages = messages
        self._metrics = metrics
        self._clock = clock
        self._joined_per_socket = joined_per_socket
        self._page_bytes = page_bytes
        self._listed_participants = listed_participants
        self._logged_messages = Sample(log, logged_per_second)
        self._logged_refusals = Sample(log, logged_per_second)
        self._commands: dict[type[Any], Callable[[Connection, UserId, Any], Awaitable[Ack]]] = {
            domain.CreateConversation: self._create_conversation,
            domain.ListConversations: self._list_conversations,
            domain.JoinConversation: self._join_conversation,
            domain.LeaveConversation: self._leave_conversation,
            domain.SendMessage: self._send_message,
            domain.MarkRead: self._mark_read,
            domain.FetchHistory: self._fetch_history,
            domain.ListParticipants: self._list_participants,
            domain.SetTyping: self._set_typing,
            domain.SetVisibility: self._set_visibility,
        }

    def register(self) -> None:
        """Put every handler in its place; `*` takes the events that do not exist."""
        sio = self._sio
        sio.on("connect", self._arriving.connect)
        sio.on("disconnect", self._arriving.disconnect)
        for event in ClientEvent:
            sio.on(event.value, partial(self.guard, event.value))
        sio.on("*", self.unknown)
        sio.refusal_ack = self.refuse

    async def guard(self, event: str, sid: str, *arguments: object) -> Ack:
        """Answer one event with one ack, whatever happens."""
        try:
            connection = self._sessions.get(sid)
            if connection is None:  # being ended
                raise AuthRequired
            if event != ClientEvent.SEND_MESSAGE or connection.identity is None:
                self._rates.take(connection, self._clock.monotonic_s())
            if connection.identity is None and event != ClientEvent.AUTHENTICATE:
                raise AuthRequired(connection.hint)
            command = self._payloads.load(event, arguments)
            if isinstance(command, domain.Authenticate):
                ack = await self._authenticate(connection, command)
            elif connection.identity is None:
                raise AuthRequired
            else:
                ack = await self._commands[type(command)](connection, connection.identity.user_id, command)
            self._metrics.event_done(event)
            return ack
        except ChatError as error:
            return self._failure(sid, event, error)
        except Exception:
            log.exception("request_failed", connection_id=sid, request=event)
            self._metrics.event_failed(event, InternalError.code)
            return {**dump_failure(InternalError())}

    async def unknown(self, event: str, sid: str, *arguments: object) -> Ack:
        """Answer an event that does not exist."""
        connection = self._sessions.get(sid)
        if connection is not None:
            try:
                self._rates.take(connection, self._clock.monotonic_s())
            except RateLimited as error:
                return self._failure(sid, UNKNOWN_EVENT, error)
        self._metrics.event_failed(UNKNOWN_EVENT, UnknownEvent.code)
        return {**dump_failure(UnknownEvent())}

    def refuse(self, sid: str, event: str, refusal: Refusal) -> Ack:
        """Answer an event that can never be accepted, and did not reach its handler."""
        known = event if event in ClientEvent.__members__.values() else UNKNOWN_EVENT
        connection = self._sessions.get(sid)
        if connection is not None:
            try:
                self._rates.take(connection, self._clock.monotonic_s())
            except RateLimited as error:
                return self._failure(sid, known, error)
        if refusal.limit_bytes is not None:
            return self._failure(sid, known, TooLarge(refusal.message, limit_bytes=refusal.limit_bytes))
        return self._failure(sid, known, InvalidPayload(fields={"payload": [refusal.message]}))

    def _failure(self, sid: str, event: str, error: ChatError) -> Ack:
        self._metrics.event_failed(event, error.code)
        connection = self._sessions.get(sid)
        if connection is not None:
            now_s = self._clock.monotonic_s()
            if self._logged_refusals.take(now_s):
                skipped = self._logged_refusals.skipped()
                log.info(
                    "request_refused",
                    connection_id=sid,
                    user_id=connection.user_id,
                    request=event,
                    code=error.code,
                    **skipped,
                )
            stays = self._rates.may_stay_after(error, connection, now_s, message=event == ClientEvent.SEND_MESSAGE)
            if not stays:
                self._lifecycle.end_soon(connection, FLOODING, retry_after_ms=FLOODING_RETRY_MS)
            elif isinstance(error, TooManyConnects):
                self._guards.loops.failed(connection.guest)
                self._lifecycle.end_soon(connection, TOO_MANY_CONNECTS, retry_after_ms=error.retry_after_ms)
        return {**dump_failure(error)}

    async def _authenticate(self, connection: Connection, command: domain.Authenticate) -> Ack:
        identity = await self._arriving.authenticate(connection, command.token)
        return dump_ok(user=protocol.dump_user(identity))

    async def _create_conversation(
        self, connection: Connection, user_id: UserId, command: domain.CreateConversation
    ) -> Ack:
        created = await self._chat.create_conversation(user_id, command)
        conversation = protocol.dump_conversation(created.conversation, listed=self._listed_participants)
        return dump_ok(conversation=conversation, duplicate=created.duplicate)

    async def _list_conversations(
        self, connection: Connection, user_id: UserId, command: domain.ListConversations
    ) -> Ack:
        page = await self._chat.list_conversations(user_id, command)
        fitted = fit(page.summaries, protocol.dump_summary, most_bytes=self._page_bytes, newest=False)
        self._charge(connection, fitted)
        summaries = page.summaries[: len(fitted.items)]
        has_more = page.has_more or len(summaries) < len(page.summaries)
        presence = await self._watching.listed(connection, user_id, [summary.conversation for summary in summaries])
        return dump_ok(
            conversations=fitted.items,
            presence=presence,
            hasMore=has_more,
            nextBefore=protocol.dump_cursor(summaries[-1]) if has_more else None,
        )

    async def _join_conversation(
        self, connection: Connection, user_id: UserId, command: domain.JoinConversation
    ) -> Ack:
        conversation = await self._chat.conversation(user_id, command.conversation_id)
        # First into the room, then the snapshot: what is stored in between arrives twice, rather than not at all.
        joining = conversation.id not in connection.joined
        if joining:
            if self._joined_per_socket and len(connection.joined) >= self._joined_per_socket:
                raise LimitExceeded(f"A socket may join at most {self._joined_per_socket} conversations; leave one.")
            await self._fanout.enter(connection, conversation_room(conversation.id))
        self._show(connection, user_id, conversation.id, command.visible)
        try:
            snapshot = await self._chat.snapshot(user_id, command)
            read = next(mark for mark in snapshot.read_marks if mark.user_id == user_id)
            if command.visible and read.read_seq < snapshot.last_seq and self._fanout.reaches(connection):
                seen = domain.MarkRead(conversation.id, snapshot.last_seq)
                read = (await self._chat.mark_read(user_id, seen)).mark
        except BaseException:
            if joining:
                await self._leave(connection, conversation.id)
            raise
        marks = [read if mark.user_id == user_id else mark for mark in snapshot.read_marks]
        people = await self._watching.participants(connection, user_id, conversation, marks, again=not joining)
        await self._watching.take_part(conversation, user_id)
        messages = fit(snapshot.messages, protocol.dump_message, most_bytes=self._page_bytes, newest=True)
        participants = fit(people, _as_it_is, most_bytes=0, newest=False)
        self._charge(connection, messages, participants)
        ack = dump_ok(
            conversation=protocol.dump_conversation(conversation, listed=self._listed_participants),
            participants=participants.items,
            messages=messages.items,
            change=snapshot.change,
            lastSeq=snapshot.last_seq,
            readSeq=read.read_seq,
            unreadCount=max(0, snapshot.last_seq - read.read_seq),
            typing=[typist for typist in self._typing.users(conversation.id) if typist != user_id],
        )
        gap = gap_before(snapshot, len(messages.items), command.after)
        if gap is not None:
            ack["gap"] = protocol.dump_gap(gap)
        return ack

    async def _leave_conversation(
        self, connection: Connection, user_id: UserId, command: domain.LeaveConversation
    ) -> Ack:
        conversation = await self._chat.conversation(user_id, command.conversation_id)
        if conversation.id in connection.joined:
            self._watching.leave(connection, conversation)
            await self._leave(connection, conversation.id)
        return dump_ok()

    async def _send_message(self, connection: Connection, user_id: UserId, command: domain.SendMessage) -> Ack:
        received = received_s()
        logged = self._logged_messages.take(self._clock.monotonic_s())
        if logged:
            log.info(
                "message_received",
                connection_id=connection.sid,
                user_id=user_id,
                conversation_id=command.conversation_id,
                chars=len(command.body),
                **self._logged_messages.skipped(),
            )
        appended = await self._chat.send_message(user_id, command, received)
        if logged:
            log.info(
                "message_sent",
                connection_id=connection.sid,
                user_id=user_id,
                conversation_id=command.conversation_id,
                message_id=appended.message.id,
                seq=appended.message.seq,
                duplicate=appended.duplicate,
                ms=round((time.perf_counter() - received) * 1000, 1),
            )
        if appended.duplicate and not self._rates.may_stay_after_repeat(connection, self._clock.monotonic_s()):
            self._lifecycle.end_soon(connection, FLOODING, retry_after_ms=FLOODING_RETRY_MS)
        self._stop_typing(connection, command.conversation_id, user_id)
        await self._take_part(user_id, command.conversation_id)
        ack = dump_ok(message=self._messages.encode(appended.message), duplicate=appended.duplicate)
        self._metrics.message_acked(received, duplicate=appended.duplicate)
        return ack

    async def _mark_read(self, connection: Connection, user_id: UserId, command: domain.MarkRead) -> Ack:
        advance = await self._chat.mark_read(user_id, command)
        if advance.mark.read_seq:
            await self._take_part(user_id, command.conversation_id)
        return dump_ok(readSeq=advance.mark.read_seq, unreadCount=advance.last_seq - advance.mark.read_seq)

    async def _fetch_history(self, connection: Connection, user_id: UserId, command: domain.FetchHistory) -> Ack:
        page = await self._chat.fetch_history(user_id, command)
        newest = command.after_seq is None
        messages = fit(page.messages, protocol.dump_message, most_bytes=self._page_bytes, newest=newest)
        self._charge(connection, messages)
        return dump_ok(messages=messages.items, hasMore=page.has_more or len(messages.items) < len(page.messages))

    async def _list_participants(
        self, connection: Connection, user_id: UserId, command: domain.ListParticipants
    ) -> Ack:
        conversation = await self._chat.conversation(user_id, command.conversation_id)
        page = await self._chat.list_participants(user_id, command)
        people = await self._watching.participants(connection, user_id, conversation, page.marks, again=True)
        participants = fit(people, _as_it_is, most_bytes=self._page_bytes, newest=False)
        self._charge(connection, participants)
        shown = page.marks[: len(participants.items)]
        has_more = page.has_more or len(shown) < len(page.marks)
        return dump_ok(
            participants=participants.items, hasMore=has_more, nextAfter=shown[-1].user_id if has_more else None
        )

    def _charge(self, connection: Connection, *pages: Page) -> None:
        """Charge the user for the pages of an answer."""
        rows, size_bytes = sum(len(page.items) for page in pages), sum(page.size_bytes for page in pages)
        self._rates.answered(connection, self._clock.monotonic_s(), rows=rows, size_bytes=size_bytes)

    async def _set_typing(self, connection: Connection, user_id: UserId, command: domain.SetTyping) -> Ack:
        conversation = await self._joined(connection, user_id, command.conversation_id)
        if not command.typing:
            self._stop_typing(connection, conversation.id, user_id)
        elif self._fanout.is_small(conversation) and self._fanout.reaches(connection):
            typing = Typing(conversation.id, user_id, connection.sid)
            if self._typing.start(typing, self._clock.monotonic_s()):
                self._fanout.typing(conversation.id, user_id, True, sid=connection.sid)
        return dump_ok()

    async def _set_visibility(self, connection: Connection, user_id: UserId, command: domain.SetVisibility) -> Ack:
        conversation = await self._joined(connection, user_id, command.conversation_id)
        self._show(connection, user_id, conversation.id, command.visible)
        if command.visible:
            self._watching.look(connection, conversation)
        if command.visible and self._fanout.reaches(connection):  # whatever is there by now is being looked at
            await self._chat.mark_read(user_id, domain.MarkRead(conversation.id, MAX_SAFE_INTEGER))
        return dump_ok()

    async def _joined(self, connection: Connection, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        conversation = await self._chat.conversation(user_id, conversation_id)
        if conversation_id not in connection.joined:
            raise NotJoined
        return conversation

    def _show(self, connection: Connection, user_id: UserId, conversation_id: ConversationId, visible: bool) -> None:
        """Note whether the user looks at the conversation on this socket. Who looks away does not type there either."""
        looked = connection.joined.get(conversation_id, False)
        connection.joined[conversation_id] = visible
        if looked and not visible:
            self._auto_read.looked_away(conversation_id, user_id)
            self._stop_typing(connection, conversation_id, user_id)

    async def _leave(self, connection: Connection, conversation_id: ConversationId) -> None:
        if connection.identity is not None:
            user_id = connection.identity.user_id
            self._show(connection, user_id, conversation_id, False)
            self._stop_typing(connection, conversation_id, user_id)
        del connection.joined[conversation_id]
        await self._fanout.leave(connection, conversation_room(conversation_id))

    async def _take_part(self, user_id: UserId, conversation_id: ConversationId) -> None:
        if not self._watching.knows(conversation_id, user_id):
            await self._watching.take_part(await self._chat.conversation(user_id, conversation_id), user_id)

    def _stop_typing(self, connection: Connection, conversation_id: ConversationId, user_id: UserId) -> None:
        if self._typing.stop(Typing(conversation_id, user_id, connection.sid)):
            self._fanout.typing(conversation_id, user_id, False, sid=connection.sid)


def _as_it_is(participant: ParticipantWire) -> ParticipantWire:
    return participant
