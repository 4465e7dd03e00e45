"""A user's conversations, what one is like, and who takes part. (To create one, its row in the table suffices.)"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from ..chat.conversations import JoinConversation, ListConversations, ListParticipants
from ..chat.domain import ConversationSummary, UserId
from ..chat.profiles import People
from ..chat.service import Chat
from ..live.connections import Connection
from ..live.opened import Opened
from ..live.watching import Watching
from ..wire.commands import LeaveConversation
from ..wire.pages import Page, fit, fit_profiles, gap_before, updates_through
from ..wire.protocol import (
    ClientEvent,
    ParticipantWire,
    dump_conversation,
    dump_cursor,
    dump_gap,
    dump_message,
    dump_named,
    dump_ok,
    dump_settings,
    dump_summary,
)
from .answering import Ack, Answer
from .patience import Patience


class ConversationHandlers:
    """Answers the events about conversations.

    Args:
        page_bytes: about how long an answer's page may be, as JSON; 0 for no bound. The people beside it may take half.
        outbox_bytes: what a client may leave unread; 0 for no bound.
        listed_participants: how many participants a conversation names; 0 for all.
    """

    def __init__(
        self,
        chat: Chat,
        opened: Opened,
        watching: Watching,
        patience: Patience,
        *,
        page_bytes: int,
        outbox_bytes: int,
        listed_participants: int,
    ) -> None:
        self._chat = chat
        self._opened = opened
        self._watching = watching
        self._patience = patience
        self._page_bytes = page_bytes
        self._outbox_bytes = outbox_bytes
        self._listed_participants = listed_participants

    def answers(self) -> Mapping[ClientEvent, Answer]:
        """Which event is answered by what."""
        return {
            ClientEvent.LIST_CONVERSATIONS: self._list,
            ClientEvent.JOIN_CONVERSATION: self._join,
            ClientEvent.LEAVE_CONVERSATION: self._leave,
            ClientEvent.LIST_PARTICIPANTS: self._participants,
        }

    async def _list(self, connection: Connection, user_id: UserId, command: ListConversations) -> Ack:
        page = await self._chat.conversations.page(user_id, command)
        fitted = fit(page.summaries, dump_summary, most_bytes=self._page_bytes, newest=False)
        summaries = page.summaries[: len(fitted.items)]
        has_more = page.has_more or len(summaries) < len(page.summaries)
        presence = await self._watching.listed(connection, user_id, [summary.conversation for summary in summaries])
        profiles = fit_profiles(await self._chat.profiles.find(_named(summaries)), self._outbox_bytes)
        # Who has been removed from one of them meanwhile is not shown it any more.
        shown = [not self._chat.conversations.shuts_out(user_id, summary.conversation.id) for summary in summaries]
        # Profiles are charged by their length alone: they come from memory, and a row for each would double the price.
        self._patience.charge_pages(connection, fitted, Page([], profiles.size_bytes))
        ack = dump_ok(
            conversations=list(itertools.compress(fitted.items, shown)),
            presence=presence,
            profiles=profiles.items,
            hasMore=has_more,
            nextBefore=dump_cursor(summaries[-1]) if has_more else None,
        )
        if page.unread is not None:
            ack["unreadConversations"] = page.unread
        return ack

    async def _join(self, connection: Connection, user_id: UserId, command: JoinConversation) -> Ack:
        joined = await self._opened.join(connection, user_id, command)
        snapshot, read = joined.snapshot, joined.read
        messages = fit(snapshot.messages, dump_message, most_bytes=self._page_bytes, newest=True)
        left_bytes = self._page_bytes and max(1, self._page_bytes - messages.size_bytes)
        updates = fit(snapshot.updates, dump_message, most_bytes=left_bytes, newest=False)
        senders = {message.sender_id for message in (*snapshot.messages, *snapshot.updates)}
        people = await self._chat.profiles.find({*senders, *(mark.user_id for mark in snapshot.read_marks)})
        participants = self._shown(joined.participants, people, user_id)
        self._patience.charge_pages(connection, messages, updates, participants)
        ack = dump_ok(
            conversation=dump_conversation(joined.conversation, listed=self._listed_participants),
            participants=participants.items,
            messages=messages.items,
            updates=updates.items,
            change=snapshot.change,
            lastSeq=snapshot.last_seq,
            readSeq=read.read_seq,
            unreadCount=max(0, snapshot.last_seq - read.read_seq - snapshot.uncounted),
            unreadMentions=snapshot.unread_mentions if read.read_seq < snapshot.last_seq else 0,
            settings=dump_settings(joined.settings),
            role=joined.conversation.role(user_id),
            firstSeq=joined.conversation.entry(user_id).first_seq,
            typing=joined.typists,
        )
        gap = gap_before(snapshot, len(messages.items), command.after)
        if gap is not None:
            ack["gap"] = dump_gap(gap)
        through = updates_through(snapshot, len(updates.items))
        if through is not None:
            ack["updatesThrough"] = through
        strangers = senders.difference(mark.user_id for mark in snapshot.read_marks)
        if strangers:
            others = {user_id: profile for user_id, profile in people.items() if user_id in strangers}
            ack["profiles"] = fit_profiles(others, self._outbox_bytes).items
        return ack

    async def _leave(self, connection: Connection, user_id: UserId, command: LeaveConversation) -> Ack:
        await self._opened.leave(connection, user_id, command.conversation_id)
        return dump_ok()

    async def _participants(self, connection: Connection, user_id: UserId, command: ListParticipants) -> Ack:
        conversation = await self._chat.conversations.get(user_id, command.conversation_id)
        page = await self._chat.conversations.participants(user_id, command)
        people = await self._watching.participants(connection, user_id, conversation, page.marks, again=True)
        profiles = await self._chat.profiles.find(mark.user_id for mark in page.marks)
        people = [dump_named(each, profiles) for each in people]
        participants = fit(people, _as_it_is, most_bytes=self._page_bytes, newest=False)
        self._patience.charge_pages(connection, participants)
        shown = page.marks[: len(participants.items)]
        has_more = page.has_more or len(shown) < len(page.marks)
        return dump_ok(
            participants=participants.items, hasMore=has_more, nextAfter=shown[-1].user_id if has_more else None
        )

    def _shown(self, participants: Sequence[ParticipantWire], people: People, user_id: UserId) -> Page:
        """The participants in the answer to a join: the first of them that fit beside its messages, and the user."""
        named = [dump_named(each, people) for each in participants]
        shown = fit(named, _as_it_is, most_bytes=self._page_bytes // 2)
        own = fit([each for each in named[len(shown.items) :] if each["userId"] == user_id], _as_it_is)
        return Page([*shown.items, *own.items], shown.size_bytes + own.size_bytes)


def _named(summaries: Iterable[ConversationSummary]) -> Iterable[UserId]:
    """Whom a page of a list names, in its order."""
    for summary in summaries:
        yield from summary.conversation.participant_ids
        if summary.last_message is not None:
            yield summary.last_message.sender_id


def _as_it_is(participant: ParticipantWire) -> ParticipantWire:
    return participant
