"""The one way of answering: every event gets exactly one ack, whatever happens.

Also for a bug, an unknown event, a wrong payload, or a socket without a user.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from ..chat.conversations import Conversations
from ..chat.domain import Clock, UserId
from ..chat.identity import Identity
from ..errors import AuthRequired, ChatError, InternalError, InvalidPayload, RateLimited, TooLarge, UnknownEvent
from ..live.connections import Connection, Sessions
from ..logs import Sample, get_logger
from ..ops.metrics import UNKNOWN_EVENT, Metrics
from ..realtime import AsyncServer, Refusal
from ..wire.protocol import ClientEvent, Payloads, dump_failure, dump_ok, dump_user
from .patience import Patience

log = get_logger(__name__)

Ack = dict[str, Any]
Answer = Callable[[Connection, UserId, Any], Awaitable[Ack]]


class Answering:
    """Answers clients' events.

    Args:
        answers: who answers which event of a socket with a user.
        conversations: knows who has been removed while something was under way.
        authenticate: gives a socket its user by a token, for the only event that a socket without one may send.
        refusals: says which of the refused requests have a line in the log.
    """

    def __init__(
        self,
        payloads: Payloads,
        sessions: Sessions,
        patience: Patience,
        metrics: Metrics,
        refusals: Sample,
        clock: Clock,
        *,
        answers: Mapping[ClientEvent, Answer],
        conversations: Conversations,
        authenticate: Callable[[Connection, str], Awaitable[Identity]],
    ) -> None:
        self._payloads = payloads
        self._sessions = sessions
        self._patience = patience
        self._metrics = metrics
        self._refusals = refusals
        self._clock = clock
        self._answers = {event.value: answer for event, answer in answers.items()}
        self._authenticate = authenticate
        self._conversations = conversations

    def register(self, sio: AsyncServer) -> None:
        """Answer all events of a server; `*` takes those that do not exist."""
        for event in ClientEvent:
            sio.on(event.value, partial(self.answer, event.value))
        sio.on("*", self.unknown)
        sio.refusal_ack = self.refuse

    async def answer(self, event: str, sid: str, *arguments: object) -> Ack:
        """Answer an event of the table."""
        try:
            connection = self._sessions.get(sid)
            if connection is None:  # being ended
                raise AuthRequired
            if event != ClientEvent.SEND_MESSAGE or connection.identity is None:  # the chat charges messages
                self._patience.charge(connection)
            if event == ClientEvent.AUTHENTICATE:
                token = self._payloads.load(event, arguments).token
                ack = dump_ok(user=dump_user(await self._authenticate(connection, token)))
            elif connection.identity is None:
                raise AuthRequired(connection.hint)
            else:
                command = self._payloads.load(event, arguments)
                ack = await self._answer(event, connection, connection.identity.user_id, command)
            self._metrics.event_done(event)
            return ack
        except ChatError as error:
            return self._failure(sid, event, error)
        except Exception:
            log.exception("request_failed", connection_id=sid, request=event)
            self._metrics.event_failed(event, InternalError.code)
            return {**dump_failure(InternalError())}

    async def _answer(self, event: str, connection: Connection, user_id: UserId, command: Any) -> Ack:
        """Let an event be answered. Who has been removed from its conversation meanwhile gets none of it.

        Raises: what the answer raises; ConversationNotFound.
        """
        conversations = self._conversations
        before = conversations.reforms
        ack = await self._answers[event](connection, user_id, command)
        conversation_id = getattr(command, "conversation_id", None)
        if conversation_id is None or event == ClientEvent.REMOVE_PARTICIPANT:  # one's own leaving is told
            return ack
        while before != conversations.reforms:
            before = conversations.reforms
            await conversations.get(user_id, conversation_id)
        return ack

    async def unknown(self, event: str, sid: str, *arguments: object) -> Ack:
        """Answer an event that does not exist."""
        refused = self._charge(sid, UNKNOWN_EVENT)
        if refused is not None:
            return refused
        self._metrics.event_failed(UNKNOWN_EVENT, UnknownEvent.code)
        return {**dump_failure(UnknownEvent())}

    def refuse(self, sid: str, event: str, refusal: Refusal) -> Ack:
        """Answer an event that can never be accepted, and did not reach `answer`."""
        known = event if event in ClientEvent.__members__.values() else UNKNOWN_EVENT
        refused = self._charge(sid, known)
        if refused is not None:
            return refused
        if refusal.limit_bytes is not None:
            return self._failure(sid, known, TooLarge(refusal.message, limit_bytes=refusal.limit_bytes))
        return self._failure(sid, known, InvalidPayload(fields={"payload": [refusal.message]}))

    def _charge(self, sid: str, event: str) -> Ack | None:
        connection = self._sessions.get(sid)
        if connection is not None:
            try:
                self._patience.charge(connection)
            except RateLimited as error:
                return self._failure(sid, event, error)
        return None

    def _failure(self, sid: str, event: str, error: ChatError) -> Ack:
        self._metrics.event_failed(event, error.code)
        connection = self._sessions.get(sid)
        if connection is not None:
            if self._refusals.take(self._clock.monotonic_s()):
                log.info(
                    "request_refused",
                    connection_id=sid,
                    user_id=connection.user_id,
                    request=event,
                    code=error.code,
                    **self._refusals.skipped(),
                )
            self._patience.refused(connection, event, error)
        return {**dump_failure(error)}
