"""What is never stored: typing, and whether the user is looking."""

from __future__ import annotations

from collections.abc import Mapping

from ..chat.domain import UserId
from ..live.connections import Connection
from ..live.opened import Opened
from ..wire.commands import SetTyping, SetVisibility
from ..wire.protocol import ClientEvent, dump_ok
from .answering import Ack, Answer


class LiveHandlers:
    """Answers the events about what a user does at the moment."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def answers(self) -> Mapping[ClientEvent, Answer]:
        """Which event is answered by what."""
        return {ClientEvent.SET_TYPING: self._set_typing, ClientEvent.SET_VISIBILITY: self._set_visibility}

    async def _set_typing(self, connection: Connection, user_id: UserId, command: SetTyping) -> Ack:
        await self._opened.set_typing(connection, user_id, command.conversation_id, command.typing)
        return dump_ok()

    async def _set_visibility(self, connection: Connection, user_id: UserId, command: SetVisibility) -> Ack:
        await self._opened.set_visible(connection, user_id, command.conversation_id, command.visible)
        return dump_ok()
