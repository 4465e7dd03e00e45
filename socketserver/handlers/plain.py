"""Events whose row in the table says all that there is to say: which use case, and how its result is dumped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..chat.domain import UserId
from ..chat.service import Chat
from ..live.connections import Connection
from ..settings import Settings
from ..wire.protocol import ClientEvent, dump_ok
from ..wire.rows import UseCase
from .answering import Ack, Answer

Dump = Callable[[Any, Settings], Mapping[str, object]]


def plain_answers(chat: Chat, settings: Settings) -> Mapping[ClientEvent, Answer]:
    """Which plain event is answered by what."""
    return {
        event: _answer(event.row.use_case(chat), event.row.dump, settings)
        for event in ClientEvent
        if event.row.use_case is not None and event.row.dump is not None
    }


def _answer(use_case: UseCase, dump: Dump, settings: Settings) -> Answer:
    async def answer(connection: Connection, user_id: UserId, command: Any) -> Ack:
        return dump_ok(**dump(await use_case(user_id, command), settings))

    return answer
