"""Every event to its handler: the room's parts, put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..chat.domain import Clock
from ..chat.service import Chat
from ..door.connects import Guards
from ..door.rates import Rates
from ..live.connections import Sessions
from ..live.fanout import Fanout
from ..live.lifecycle import Lifecycle
from ..live.opened import Opened
from ..live.watching import Watching
from ..logs import Sample
from ..ops.metrics import Metrics
from ..realtime import AsyncServer
from ..settings import Settings
from ..wire.protocol import ClientEvent, Payloads
from .answering import Answer, Answering, log
from .arriving import Arriving
from .changes import ChangeHandlers
from .conversations import ConversationHandlers
from .live import LiveHandlers
from .members import MemberHandlers
from .messages import MessageHandlers
from .patience import Patience
from .plain import plain_answers

# An answer's pages leave room for what else its client is sent meanwhile.
PAGE_SHARE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the handlers work with."""

    arriving: Arriving
    chat: Chat
    sessions: Sessions
    fanout: Fanout
    opened: Opened
    watching: Watching
    lifecycle: Lifecycle
    guards: Guards
    rates: Rates
    metrics: Metrics
    clock: Clock


def setup_handlers(sio: AsyncServer, settings: Settings, parts: Parts) -> None:
    """Answer all connects, disconnects and events of a server."""
    sio.on("connect", parts.arriving.connect)
    sio.on("disconnect", parts.arriving.disconnect)
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
            outbox_bytes=settings.outbox_bytes,
            listed_participants=settings.listed_participants,
        ).answers(),
        **MessageHandlers(
            parts.chat,
            parts.opened,
            patience,
            parts.metrics,
            parts.clock,
            page_bytes=page_bytes,
            outbox_bytes=settings.outbox_bytes,
            joined_participants=settings.joined_participants,
            logged_per_second=settings.log_messages_per_second,
        ).answers(),
        **ChangeHandlers(
            parts.chat, parts.metrics, parts.clock, logged_per_second=settings.log_messages_per_second
        ).answers(),
        **MemberHandlers(
            parts.chat, patience, parts.metrics, listed_participants=settings.listed_participants
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
        authenticate=parts.arriving.authenticate,
        conversations=parts.chat.conversations,
    ).register(sio)
