"""Who is removed from a conversation, or leaves it for good: their sockets hear no more of it, from that moment on.

Nothing here waits, so that no event can come in between. Source: docs/decisions/0024-people-and-title.md
"""

from __future__ import annotations

from ..chat.domain import Conversation, UserId
from ..chat.news import News, PeopleKnown
from ..logs import get_logger
from .auto_read import AutoRead
from .connections import Connection, Sessions
from .fanout import Fanout, conversation_room, watch_room
from .typing_indicator import Typing, TypingIndicator

log = get_logger(__name__)


class Eviction:
    """Receives the chat's news, and looks who is in a room without taking part in its conversation."""

    def __init__(self, sessions: Sessions, fanout: Fanout, typing: TypingIndicator, auto_read: AutoRead) -> None:
        self._sessions = sessions
        self._fanout = fanout
        self._typing = typing
        self._auto_read = auto_read

    def receive(self, news: News) -> None:
        """Shut out who is gone."""
        if isinstance(news, PeopleKnown):
            self._shut_out(news)

    def _shut_out(self, known: PeopleKnown) -> None:
        conversation = known.conversation
        gone = set(known.gone)
        for connection in self._fanout.joined(conversation.id):
            user_id = connection.user_id
            if user_id is not None and not conversation.has(user_id):
                gone.add(user_id)
        for user_id in gone:
            connections = list(self._sessions.of_user(user_id))
            for connection in connections:
                self._evict(connection, conversation, user_id)
            self._auto_read.forget(conversation.id, user_id)
            if connections:
                reason = "left" if user_id == known.left else "removed"
                self._fanout.conversation_removed(conversation.id, user_id, reason)
                log.info(
                    "participant_shut_out",
                    conversation_id=conversation.id,
                    user_id=user_id,
                    reason=reason,
                    sockets=len(connections),
                )

    def _evict(self, connection: Connection, conversation: Conversation, user_id: UserId) -> None:
        if connection.joined.pop(conversation.id, None) is None:
            return
        self._fanout.leave_now(connection, conversation_room(conversation.id))
        if self._typing.stop(Typing(conversation.id, user_id, connection.sid)):
            self._fanout.typing(conversation.id, user_id, False, sid=connection.sid)
        # Whom the socket watched for this conversation alone it watches no more.
        if self._fanout.is_small(conversation):
            for other in conversation.participant_ids:
                if connection.watched.get(other, 0) > 0:
                    connection.watched[other] -= 1
                    if not connection.watched[other]:
                        del connection.watched[other]
                        self._fanout.leave_now(connection, watch_room(other))
