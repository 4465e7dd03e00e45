"""Who takes part, roles and titles: the use cases' answers, with a line in the log and a count of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..chat.domain import UserId
from ..chat.members import ConversationChanged
from ..chat.service import Chat
from ..live.connections import Connection
from ..logs import get_logger
from ..ops.metrics import Metrics
from ..wire.protocol import ClientEvent, dump_conversation, dump_ok, encoded
from .answering import Ack, Answer
from .patience import Patience

log = get_logger(__name__)


class MemberHandlers:
    """Answers the events that change a conversation itself.

    Args:
        listed_participants: how many participants a conversation names; 0 for all.
    """

    def __init__(self, chat: Chat, patience: Patience, metrics: Metrics, *, listed_participants: int) -> None:
        self._chat = chat
        self._patience = patience
        self._metrics = metrics
        self._listed_participants = listed_participants

    def answers(self) -> Mapping[ClientEvent, Answer]:
        """Which event is answered by what."""
        members = self._chat.members
        return {
            ClientEvent.ADD_PARTICIPANTS: self._answer(members.add),
            ClientEvent.REMOVE_PARTICIPANT: self._answer(members.remove, whole=False),
            ClientEvent.SET_ROLE: self._answer(members.set_role),
            ClientEvent.UPDATE_CONVERSATION: self._answer(members.update),
        }

    def _answer(self, change: Callable[[UserId, Any], Awaitable[ConversationChanged]], *, whole: bool = True) -> Answer:
        async def answer(connection: Connection, user_id: UserId, command: Any) -> Ack:
            changed = await change(user_id, command)
            ack = dump_ok(duplicate=changed.duplicate)
            if whole:
                ack["conversation"] = dump_conversation(changed.conversation, listed=self._listed_participants)
            if changed.news is not None:
                ack["message"] = encoded(changed.news)
            if changed.duplicate:
                self._patience.repeated(connection)
            else:
                self._note(connection, user_id, changed)
            return ack

        return answer

    def _note(self, connection: Connection, user_id: UserId, changed: ConversationChanged) -> None:
        system = None if changed.news is None else changed.news.message.system
        kind = "metadata" if system is None else system.type
        self._metrics.conversation_changed(kind)
        log.info(
            "conversation_changed",
            connection_id=connection.sid,
            user_id=user_id,
            conversation_id=changed.conversation.id,
            kind=kind,
            people=0 if system is None else len(system.user_ids),
            participants=changed.conversation.participant_count,
        )
