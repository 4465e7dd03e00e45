"""Sending messages, reading them, and marking them as read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ..chat.domain import Clock, ConversationId, Message, UserId
from ..chat.history import FetchChanges, FetchHistory, FetchMessages
from ..chat.messages import SendMessage
from ..chat.reading import MarkRead
from ..chat.service import Chat
from ..live.connections import Connection
from ..live.opened import Opened
from ..logs import Sample, get_logger
from ..ops.metrics import Metrics
from ..realtime import received_s
from ..wire.pages import fit, fit_profiles
from ..wire.protocol import ClientEvent, dump_message, dump_ok, encoded
from .answering import Ack, Answer
from .patience import Patience

log = get_logger(__name__)


class MessageHandlers:
    """Answers the events about messages.

    Args:
        page_bytes: about how long an answer's page may be, as JSON; 0 for no bound.
        outbox_bytes: what a client may leave unread; 0 for no bound.
        joined_participants: of how many participants a join tells; 0 for all. In larger conversations a page comes with
            how the senders of its messages are shown.
        logged_per_second: bound on the messages that have lines in the log; 0 for none.
    """

    def __init__(
        self,
        chat: Chat,
        opened: Opened,
        patience: Patience,
        metrics: Metrics,
        clock: Clock,
        *,
        page_bytes: int,
        outbox_bytes: int,
        joined_participants: int,
        logged_per_second: int,
    ) -> None:
        self._chat = chat
        self._opened = opened
        self._patience = patience
        self._metrics = metrics
        self._clock = clock
        self._page_bytes = page_bytes
        self._outbox_bytes = outbox_bytes
        self._joined_participants = joined_participants
        self._logged = Sample(log, logged_per_second)

    def answers(self) -> Mapping[ClientEvent, Answer]:
        """Which event is answered by what."""
        return {
            ClientEvent.SEND_MESSAGE: self._send,
            ClientEvent.FETCH_HISTORY: self._history,
            ClientEvent.FETCH_CHANGES: self._changes,
            ClientEvent.FETCH_MESSAGES: self._some,
            ClientEvent.MARK_READ: self._mark_read,
        }

    async def _send(self, connection: Connection, user_id: UserId, command: SendMessage) -> Ack:
        received = received_s()
        logged = self._logged.take(self._clock.monotonic_s())
        if logged:
            log.info(
                "message_received",
                connection_id=connection.sid,
                user_id=user_id,
                conversation_id=command.conversation_id,
                chars=len(command.body),
                **self._logged.skipped(),
            )
        created = await self._chat.messages.send(user_id, command, received)
        if logged:
            log.info(
                "message_sent",
                connection_id=connection.sid,
                user_id=user_id,
                conversation_id=command.conversation_id,
                message_id=created.message.id,
                seq=created.message.seq,
                duplicate=created.duplicate,
                ms=round((time.perf_counter() - received) * 1000, 1),
            )
        if created.duplicate:
            self._patience.repeated(connection)
        self._opened.stop_typing(connection, user_id, command.conversation_id)
        await self._opened.take_part(user_id, command.conversation_id)
        ack = dump_ok(message=encoded(created), duplicate=created.duplicate)
        self._metrics.message_acked(received, duplicate=created.duplicate)
        return ack

    async def _history(self, connection: Connection, user_id: UserId, command: FetchHistory) -> Ack:
        page = await self._chat.history.page(user_id, command)
        newest = command.after_seq is None
        messages = fit(page.messages, dump_message, most_bytes=self._page_bytes, newest=newest)
        self._patience.charge_pages(connection, messages)
        ack = dump_ok(messages=messages.items, hasMore=page.has_more or len(messages.items) < len(page.messages))
        return await self._with_senders(ack, user_id, command.conversation_id, page.messages)

    async def _changes(self, connection: Connection, user_id: UserId, command: FetchChanges) -> Ack:
        page = await self._chat.history.changes(user_id, command)
        messages = fit(page.messages, dump_message, most_bytes=self._page_bytes, newest=False)
        self._patience.charge_pages(connection, messages)
        if len(messages.items) < len(page.messages):
            change = page.messages[len(messages.items) - 1].change
            ack = dump_ok(messages=messages.items, change=change, hasMore=True)
        else:
            ack = dump_ok(messages=messages.items, change=page.through, hasMore=page.has_more)
        return await self._with_senders(ack, user_id, command.conversation_id, page.messages)

    async def _some(self, connection: Connection, user_id: UserId, command: FetchMessages) -> Ack:
        found = await self._chat.history.some(user_id, command)
        messages = fit(found, dump_message, most_bytes=self._page_bytes, newest=False)
        self._patience.charge_pages(connection, messages)
        ack = dump_ok(messages=messages.items, hasMore=len(messages.items) < len(found))
        return await self._with_senders(ack, user_id, command.conversation_id, found)

    async def _with_senders(
        self, ack: Ack, user_id: UserId, conversation_id: ConversationId, messages: Sequence[Message]
    ) -> Ack:
        """Add how those are shown who wrote a page of messages, where a join does not tell of everybody."""
        conversation = await self._chat.conversations.get(user_id, conversation_id)
        if 0 < self._joined_participants < conversation.participant_count:
            people = await self._chat.profiles.find(message.sender_id for message in messages)
            ack["profiles"] = fit_profiles(people, self._outbox_bytes).items
        return ack

    async def _mark_read(self, connection: Connection, user_id: UserId, command: MarkRead) -> Ack:
        advance = await self._chat.reading.mark(user_id, command)
        if advance.mark.read_seq:
            await self._opened.take_part(user_id, command.conversation_id)
        return dump_ok(readSeq=advance.mark.read_seq, unreadCount=advance.unread_count)
