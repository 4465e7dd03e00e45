"""Messages: sending one, at most once per idempotency key, and changing it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import (
    ChatError,
    Forbidden,
    IdempotencyConflict,
    InvalidPayload,
    LimitExceeded,
    MessageDeleted,
    MessageNotFound,
    RateLimited,
    TooLate,
    VersionConflict,
)
from ..limits import Buckets, in_ms
from ..store.base import Store
from ..store.results import Changed
from .activity import Activity
from .changes import Change, Delete, Edit, Outcome, React, ReactionLimits
from .conversations import Conversations
from .domain import Clock, Conversation, ConversationId, MessageDraft, MessageId, UserId, new_id
from .lanes import Lanes, Numbered, Slot
from .news import ConversationUpdated, MessageCreated, MessageUpdated
from .people import Action, may
from .previews import Previews
from .profiles import Profiles

log = logging.getLogger(__name__)

REACTION_TOKENS: Final = 0.25  # of a user's message rate, for a reaction
_NEVER_MS: Final = 2**62  # nothing was sent as late as that

# The news of a write, None if nothing was stored, and what it means for lists.
_Told = tuple[Numbered | None, ConversationUpdated | None]


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Attributes: idempotency_key: the sender's name for the message. metadata: a JSON object; None for none.
    reply_to: the seq of the message that it answers. mentions: participants."""

    conversation_id: ConversationId
    idempotency_key: str
    body: str
    metadata: dict[str, Any] | None = None
    reply_to: int | None = None
    mentions: tuple[UserId, ...] = ()


@dataclass(frozen=True, slots=True)
class EditMessage:
    """The whole new content of a message. `if_change`: only if it stands at that change."""

    conversation_id: ConversationId
    seq: int
    idempotency_key: str
    body: str
    metadata: dict[str, Any] | None = None
    mentions: tuple[UserId, ...] = ()
    if_change: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Attributes: seq: of the message."""

    conversation_id: ConversationId
    seq: int


@dataclass(frozen=True, slots=True)
class SetReaction:
    """Attributes: on: whether the user has this reaction to the message from now on."""

    conversation_id: ConversationId
    seq: int
    reaction: str
    on: bool


@dataclass(frozen=True, slots=True)
class ChangeRules:
    """Attributes: edit_window_s, delete_window_s: for how long a message may be edited, and deleted; 0: never, less:
    for ever. reactions: how many there may be."""

    edit_window_s: int = 86_400
    delete_window_s: int = -1
    reactions: ReactionLimits = field(default_factory=ReactionLimits)


class Messages:
    """The use cases of messages.

    Args:
        profiles: how senders are shown.
        lanes: take every message that is stored or changed, to be announced.
        rates: each user's message rate.
        rules: what may be changed, and for how long.
    """

    def __init__(
        self,
        store: Store,
        conversations: Conversations,
        profiles: Profiles,
        lanes: Lanes,
        clock: Clock,
        activity: Activity,
        rates: Buckets[UserId],
        rules: ChangeRules,
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._profiles = profiles
        self._clock = clock
        self._activity = activity
        self._rates = rates
        self._rules = rules
        self._previews = Previews(store, profiles)
        self._lanes = lanes
        self._orphans: set[asyncio.Task[None]] = set()

    async def send(self, user_id: UserId, command: SendMessage, received_s: float = 0.0) -> MessageCreated:
        """Store one message, at most once per idempotency key, and announce it to the conversation.

        Args:
            received_s: when it came; only handed on with the news.
        Returns: the news of it; a repeat is the first message again.
        Announces: MessageCreated, for a repeat too (it covers a crash between the write and the fan-out).
        Raises: ConversationNotFound; RateLimited; MessageNotFound (what it answers); IdempotencyConflict;
            StoreUnavailable (try again with the same key); Overloaded.
        Source: docs/protocol.md#send_message
        """
        conversation = await self._conversations.get(user_id, command.conversation_id)
        now_s = self._clock.monotonic_s()
        bucket = self._rates.get(user_id, now_s)
        if wait_s := bucket.take(now_s):
            raise RateLimited(retry_after_ms=in_ms(wait_s))
        if command.mentions:
            _check_mentions(conversation, command.mentions)
        if command.reply_to is not None:
            await self._check_reply(conversation, user_id, command.reply_to)
            conversation = await self._conversations.get(user_id, command.conversation_id)  # as it is by now
        if not self._activity.ready:
            await self._activity.start()
            conversation = await self._conversations.get(user_id, command.conversation_id)
        draft = MessageDraft(
            id=MessageId(new_id()),
            conversation_id=command.conversation_id,
            sender_id=user_id,
            idempotency_key=command.idempotency_key,
            body=command.body,
            metadata=command.metadata,
            created_at_ms=self._clock.now_ms(),
            activity_at_ms=self._activity.next_ms(),
            reply_to=command.reply_to,
            mentions=command.mentions,
        )
        slot = self._lanes.enter(conversation.id)
        try:
            appended = await self._store.append_message(draft)
        except asyncio.CancelledError:
            # Nobody waits for the answer any more, but the message may be stored, and then the others must see it.
            self._adopt(conversation.id, slot, lambda: self._send_again(conversation, draft, received_s))
            raise
        except BaseException:
            self._lanes.settle(conversation.id, slot, None)
            raise
        if appended.duplicate:
            bucket.give_back()
        sender = self._profiles.peek(user_id)
        created = MessageCreated(conversation, appended.message, appended.duplicate, received_s, sender)
        self._lanes.settle(conversation.id, slot, created)
        return created

    async def edit(self, user_id: UserId, command: EditMessage) -> MessageUpdated:
        """Give a message new content, once per idempotency key; only its sender may, and within the window.

        Announces: MessageUpdated; for a repeat, and for what is so already, again. ConversationUpdated, where lists
            show the message.
        Raises: ConversationNotFound; RateLimited; Forbidden; TooLate; VersionConflict; MessageNotFound; MessageDeleted;
            IdempotencyConflict; StoreUnavailable; Overloaded.
        Source: docs/protocol.md#edit_message
        """
        conversation = await self._admit(user_id, command.conversation_id, command.seq, 1)
        _check_mentions(conversation, command.mentions)
        now_ms = self._clock.now_ms()
        edit = Edit(
            conversation.id,
            command.seq,
            user_id,
            command.idempotency_key,
            command.body,
            now_ms,
            command.metadata,
            command.mentions,
            _since_ms(now_ms, self._rules.edit_window_s),
            command.if_change,
        )
        return await self._change(conversation, edit)

    async def delete(self, user_id: UserId, command: DeleteMessage) -> MessageUpdated:
        """Leave only a tombstone of a message; its sender may, and owners and admins, and within the window.

        Announces: MessageUpdated, as `edit` does. ConversationUpdated: it counts as unread no more, and lists may show
            another.
        Raises: ConversationNotFound; RateLimited; Forbidden; TooLate; MessageNotFound; StoreUnavailable; Overloaded.
        Source: docs/protocol.md#delete_message
        """
        conversation = await self._admit(user_id, command.conversation_id, command.seq, 1)
        now_ms = self._clock.now_ms()
        since_ms = _since_ms(now_ms, self._rules.delete_window_s)
        others = may(conversation.role(user_id), Action.DELETE)
        return await self._change(
            conversation, Delete(conversation.id, command.seq, user_id, now_ms, others, since_ms=since_ms)
        )

    async def react(self, user_id: UserId, command: SetReaction) -> MessageUpdated:
        """Set a user's reaction to a message, or take it back.

        Announces: MessageUpdated, as `edit` does. Lists stay what they are.
        Raises: ConversationNotFound; RateLimited; MessageNotFound; MessageDeleted; LimitExceeded; StoreUnavailable;
            Overloaded.
        Source: docs/protocol.md#set_reaction
        """
        conversation = await self._admit(user_id, command.conversation_id, command.seq, REACTION_TOKENS)
        limits = self._rules.reactions
        react = React(conversation.id, command.seq, user_id, command.reaction, command.on, limits)
        return await self._change(conversation, react)

    async def _check_reply(self, conversation: Conversation, user_id: UserId, seq: int) -> None:
        found = conversation.shows(user_id, seq) and await self._store.get_messages(conversation.id, [seq])
        if not found:
            raise MessageNotFound

    async def _admit(self, user_id: UserId, conversation_id: ConversationId, seq: int, tokens: float) -> Conversation:
        """The conversation, for a user who may change a message in it now."""
        conversation = await self._conversations.get(user_id, conversation_id)
        now_s = self._clock.monotonic_s()
        if wait_s := self._rates.get(user_id, now_s).take(now_s, tokens):
            raise RateLimited(retry_after_ms=in_ms(wait_s))
        if not conversation.shows(user_id, seq):
            raise MessageNotFound
        return conversation

    async def _change(self, conversation: Conversation, change: Change) -> MessageUpdated:
        """Change a message, and announce it in the order of the numbers."""
        slot = self._lanes.enter(conversation.id)
        changed: Changed | None = None
        try:
            changed = await self._store.change_message(change)
            news = _updated(conversation, changed)
            listed = await self._previews.after(conversation, change, changed)
        except asyncio.CancelledError:
            self._adopt(conversation.id, slot, lambda: self._change_again(conversation, change, changed))
            raise
        except BaseException:
            self._lanes.settle(conversation.id, slot, None)
            raise
        self._lanes.settle(conversation.id, slot, news, listed)
        return news

    async def _send_again(self, conversation: Conversation, draft: MessageDraft, received_s: float) -> _Told:
        # The same append again tells whether the first one was stored, and stores it if not; nobody was told yet.
        appended = await self._store.append_message(draft)
        return MessageCreated(conversation, appended.message, False, received_s), None

    async def _change_again(self, conversation: Conversation, change: Change, changed: Changed | None) -> _Told:
        if changed is None:
            # The same change again does nothing if the first one was stored; nobody was told of that yet.
            changed = await self._store.change_message(change)
            if changed.outcome in (Outcome.DUPLICATE, Outcome.UNCHANGED):
                changed = Changed(Outcome.DONE, changed.message)
        return _updated(conversation, changed), await self._previews.after(conversation, change, changed)

    def _adopt(self, conversation_id: ConversationId, slot: Slot, again: Callable[[], Awaitable[_Told]]) -> None:
        """Finish a write whose caller is gone, and announce it."""
        task = asyncio.get_running_loop().create_task(self._finish(conversation_id, slot, again))
        self._orphans.add(task)
        task.add_done_callback(self._orphans.discard)

    async def _finish(self, conversation_id: ConversationId, slot: Slot, again: Callable[[], Awaitable[_Told]]) -> None:
        told: _Told = None, None
        try:
            told = await again()
        except ChatError as error:
            log.warning("a write whose author went away was not stored: %s", error.code)
        except Exception:  # a bug; it must not keep `close` from waiting for the others
            log.exception("a write whose author went away was not stored")
        finally:
            self._lanes.settle(conversation_id, slot, *told)

    async def close(self) -> None:
        """Wait until every message whose sender went away is announced."""
        while self._orphans:
            # Not gather: from Python 3.12 on it returns without a turn of the loop when all are done, and what takes
            # them out of the set would never get its turn.
            await asyncio.wait(tuple(self._orphans))


_REFUSALS: Final[Mapping[Outcome, type[ChatError]]] = {
    Outcome.NOT_FOUND: MessageNotFound,
    Outcome.DELETED: MessageDeleted,
    Outcome.FORBIDDEN: Forbidden,
    Outcome.TOO_LATE: TooLate,
    Outcome.KEY_CONFLICT: IdempotencyConflict,
}


def _updated(conversation: Conversation, changed: Changed) -> MessageUpdated:
    """The news of a change that was done. Raises: what says why it was not."""
    outcome, message = changed.outcome, changed.message
    if outcome is Outcome.VERSION_CONFLICT:
        raise VersionConflict(present=message)
    if outcome is Outcome.TOO_MANY:
        raise LimitExceeded("This message has as many reactions as it may, or was changed too often lately.")
    if outcome in _REFUSALS or message is None:
        raise _REFUSALS[outcome]
    return MessageUpdated(conversation, message, duplicate=outcome is not Outcome.DONE)


def _since_ms(now_ms: int, window_s: int) -> int | None:
    """From when on a message must be for a change that is allowed for so long; None: any may be."""
    if window_s < 0:
        return None
    return now_ms - window_s * 1000 if window_s else _NEVER_MS


def _check_mentions(conversation: Conversation, mentions: Sequence[UserId]) -> None:
    if not all(map(conversation.has, mentions)):
        raise InvalidPayload(fields={"mentions": ["Name participants only."]})
