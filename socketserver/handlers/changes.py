"""Editing, deleting and reacting: the use cases' answers, with a line in the log and a count of each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..chat.domain import Clock, UserId
from ..chat.news import MessageUpdated
from ..chat.service import Chat
from ..live.connections import Connection
from ..logs import Sample, get_logger
from ..ops.metrics import DELETION, EDIT, REACTION, Metrics
from ..realtime import received_s
from ..wire.protocol import ClientEvent, dump_ok, encoded
from .answering import Ack, Answer

log = get_logger(__name__)


class ChangeHandlers:
    """Answers the events that change messages.

    Args:
        logged_per_second: bound on the changes that have lines in the log; 0 for none.
    """

    def __init__(self, chat: Chat, metrics: Metrics, clock: Clock, *, logged_per_second: int) -> None:
        self._chat = chat
        self._metrics = metrics
        self._clock = clock
        self._logged = Sample(log, logged_per_second)

    def answers(self) -> Mapping[ClientEvent, Answer]:
        """Which event is answered by what."""
        messages = self._chat.messages
        return {
            ClientEvent.EDIT_MESSAGE: self._answer(EDIT, messages.edit),
            ClientEvent.DELETE_MESSAGE: self._answer(DELETION, messages.delete),
            ClientEvent.SET_REACTION: self._answer(REACTION, messages.react),
        }

    def _answer(self, kind: str, change: Callable[[UserId, Any], Awaitable[MessageUpdated]]) -> Answer:
        async def answer(connection: Connection, user_id: UserId, command: Any) -> Ack:
            received = received_s()
            updated = await change(user_id, command)
            if not updated.duplicate:
                self._metrics.changed(kind)
            if self._logged.take(self._clock.monotonic_s()):
                log.info(
                    "message_changed",
                    connection_id=connection.sid,
                    user_id=user_id,
                    conversation_id=updated.conversation.id,
                    kind=kind,
                    seq=updated.message.seq,
                    change=updated.message.change,
                    duplicate=updated.duplicate,
                    ms=round((time.perf_counter() - received) * 1000, 1),
                    **self._logged.skipped(),
                )
            return dump_ok(message=encoded(updated), duplicate=updated.duplicate)

        return answer
