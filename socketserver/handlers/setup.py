"""Every event to its handler: the room's parts, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..chat.domain import Clock
from ..chat.service import Chat
from ..door.connects import Guards
from ..door.rates import Rates
from ..live.connections import Connection, Sessions
from ..live.lifecycle import Lifecycle
from ..live.opened import Opened
from ..live.watching import Watching
from ..logs import Sample
from ..ops.metrics import Metrics
from ..realtime import AsyncServer
from ..settings import Settings
from ..wire.protocol import ClientEvent, Payloads
from .answering import Ack, Answer, Answering, log
from .conversations import ConversationHandlers
from .live import LiveHandlers
from .messages import MessageHandlers
from .patience import Patience
from .plain import plain_answers

# An answer's pages leave room for what else its client is sent meanwhile.
PAGE_SHARE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the handlers work with."""

    chat: Chat
    sessions: Sessions
    opened: Opened
    watching: Watching
    lifecycle: Lifecycle
    guards: Guards
    rates: Rates
    metrics: Metrics
    clock: Clock


def setup_handlers(
    sio: AsyncServer,
    settings: Settings,
    parts: Parts,
    authenticate: Callable[[Connection, Any], Awaitable[Ack]],
) -> None:
    """Answer all events of a server.

    Args:
        authenticate: answers the only event that a socket without a user may send.
    """
    patience = Patience(parts.rates, parts.lifecycle, parts.guards, parts.clock)
    page_bytes = settings.outbox_bytes // PAGE_SHARE
    answers: Mapping[ClientEvent, Answer] = {
        **plain_answers(parts.chat, settings),
        **ConversationHandlers(
            parts.chat,
            parts.opened,
            parts.watching,
            patience,
            page_bytes=page_bytes,
            listed_participants=settings.listed_participants,
        ).answers(),
        **MessageHandlers(
            parts.chat,
            parts.opened,
            patience,
            parts.metrics,
            parts.clock,
            page_bytes=page_bytes,
            logged_per_second=settings.log_messages_per_second,
        ).answers(),
        **LiveHandlers(parts.opened).answers(),
    }
    Answering(
        Payloads(settings),
        parts.sessions,
        patience,
        parts.metrics,
        Sample(log, settings.log_messages_per_second),
        parts.clock,
        answers=answers,
        authenticate=authenticate,
    ).register(sio)
