"""What clients ask for that concerns only the socket that asks. All other commands stand with their use cases."""

from __future__ import annotations

from dataclasses import dataclass

from ..chat.domain import ConversationId


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Attributes: token: the proof of who the user is."""

    token: str


@dataclass(frozen=True, slots=True)
class LeaveConversation:
    """Attributes: conversation_id: which one to hear no more of."""

    conversation_id: ConversationId


@dataclass(frozen=True, slots=True)
class SetTyping:
    """Attributes: typing: whether the user types."""

    conversation_id: ConversationId
    typing: bool


@dataclass(frozen=True, slots=True)
class SetVisibility:
    """Attributes: visible: whether the user looks at the conversation."""

    conversation_id: ConversationId
    visible: bool
