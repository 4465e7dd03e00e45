"""Readers of a conversation whose messages change, and callers that change them at random, for the tests of stores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from socketserver.chat.changes import Change, Delete, Edit, Outcome, React
from socketserver.chat.domain import ConversationId, Message, Role, UserId, new_id
from socketserver.chat.people import ConversationChange
from socketserver.errors import ChatError
from socketserver.store import Store
from socketserver.store.results import ChangePage
from typing import Any, Final, TypeVar

from support.stores import ANN, BOB, CAT, NOW_MS, adding, giving, message_draft, removing, sequence, updating

T = TypeVar("T")

PEOPLE: Final = tuple(UserId(f"u{number}") for number in range(4))


async def present(store: Store, conversation_id: ConversationId) -> list[Message]:
    """Every message of a conversation as it is, in seq order."""
    found: list[Message] = []
    while True:
        page = await store.list_messages(conversation_id, after_seq=found[-1].seq if found else 0, limit=500)
        found += page.messages
        if not page.has_more:
            return found


class Reader:
    """Somebody who knows a conversation up to a change, as a client does.

    Attributes:
        known: the messages by seq, in the newest state that was seen.
    """

    def __init__(self, cursor: int = 0, known: Iterable[Message] = ()) -> None:
        self.cursor = cursor
        self.known = {each.seq: each for each in known}

    def messages(self) -> list[Message]:
        return [self.known[seq] for seq in sorted(self.known)]

    def apply(self, messages: Iterable[Message]) -> None:
        for message in messages:
            old = self.known.get(message.seq)
            if old is None or old.change < message.change:
                self.known[message.seq] = message

    def take(self, page: ChangePage) -> None:
        assert page.through >= self.cursor
        changes = [each.change for each in page.messages]
        assert changes == sorted(set(changes))
        self.apply(page.messages)
        self.cursor = page.through

    async def catch_up(self, store: Store, conversation_id: ConversationId, *, limit: int = 7) -> None:
        """Page through what has changed."""
        while True:
            page = await store.list_changes(conversation_id, after=self.cursor, limit=limit)
            self.take(page)
            if not page.has_more:
                return

    async def join(self, store: Store, conversation_id: ConversationId, *, limit: int = 7) -> None:
        """Join again: what was missed, and the updates; where a gap or an end of the updates says that it is not all,
        the rest by pages."""
        snapshot = await store.get_snapshot(conversation_id, after=self.cursor, limit=limit)
        assert snapshot
        if snapshot.gap is not None:
            seq, more = snapshot.gap.from_seq - 1, True
            while more and seq < snapshot.gap.to_seq:
                page = await store.list_messages(conversation_id, after_seq=seq, limit=1000)
                self.apply(page.messages)
                seq, more = page.messages[-1].seq, page.has_more
        self.apply(snapshot.messages)
        self.apply(snapshot.updates)
        if snapshot.updates_through is None:
            self.cursor = max(self.cursor, snapshot.change)
        else:
            self.cursor = snapshot.updates_through
            await self.catch_up(store, conversation_id, limit=limit)


def after_replaying(messages: Iterable[Message], began: Sequence[UserId]) -> tuple[dict[UserId, Role], str | None]:
    """Who takes part in what role, and the title, as a conversation of `group`, of ann and some others, tells it of
    itself."""
    people: dict[UserId, Role] = {**dict.fromkeys(began, "member"), ANN: "owner"}
    title: str | None = "a group"
    for message in messages:
        system = message.system
        if system is None:
            continue
        for user_id in system.user_ids:
            if system.type in {"removed", "left"}:
                del people[user_id]
            else:
                assert (user_id in people) == (system.type == "role")
                people[user_id] = system.role or "member"
        if system.type == "title":
            title = system.title
    return people, title


async def check_state(
    store: Store,
    where: ConversationId,
    newest: int,
    readers: Sequence[Reader],
    *,
    limit: int = 7,
    began: Sequence[UserId] = (BOB, CAT),
) -> None:
    """Everybody ends with the same messages, and the conversation stands at the newest number, with the people and the
    title that its messages lead to from those it began with."""
    messages = await present(store, where)
    assert await sequence(store, where) == list(range(1, len(messages) + 1))
    assert max(each.change for each in messages) == newest
    conversation = await store.get_conversation(where)
    assert conversation
    people = {user_id: conversation.role(user_id) for user_id in conversation.participant_ids}
    assert (people, conversation.title) == after_replaying(messages, began)
    assert conversation.rev == sum(each.system is not None for each in messages)
    assert len({each.change for each in messages}) == len(messages)
    born = [each.born for each in messages]
    assert born == sorted(set(born))
    for number, reader in enumerate(readers):
        if number % 2:
            await reader.join(store, where, limit=limit)
        else:
            await reader.catch_up(store, where, limit=limit)
        assert reader.cursor == newest
        assert reader.messages() == messages


async def check_counts(store: Store, where: ConversationId, people: Sequence[UserId]) -> None:
    """What each participant has not read, and where they are mentioned, is what the messages say."""
    messages = await present(store, where)
    for user_id in people:
        snapshot = await store.get_snapshot(where, after=None, limit=1, reader=user_id, participants=1)
        assert snapshot
        (mark,) = [each for each in snapshot.read_marks if each.user_id == user_id]
        unread = messages[mark.read_seq :]
        assert snapshot.uncounted == sum(not each.counts for each in unread)
        assert snapshot.unread_mentions == sum(user_id in each.mentions for each in unread)


@dataclass
class Caller:
    """One user who writes at random: sends, edits, deletes, reacts, and repeats a part of it. And now and then, as the
    owner of the group, adds and removes others, gives roles and titles.

    Attributes:
        mentioned: participants, the user among them, to be mentioned at random; the user reads now and then too.
        people: how often it changes people, beside 14 other writes.
        given: the numbers that this caller was told, each with the seq of its message.
        sent: the keys of the messages sent.
        told: called with every answer.
        failed: called with every error after which a call is made again; what came of it is not known.
    """

    store: Store
    conversation_id: ConversationId
    user_id: UserId
    random: random.Random
    people: int = 2
    given: set[tuple[int, int]] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    last_seq: int = 0
    told: Callable[[Message], None] = lambda message: None
    failed: Callable[[], None] = lambda: None
    mentioned: Sequence[UserId] = ()

    async def run(self, count: int) -> None:
        for _ in range(count):
            await self.step()

    async def step(self) -> None:
        """One write, until it is answered; one in five is made twice."""
        kind = self.random.choices(("send", "edit", "delete", "react", "people"), (4, 3, 1, 6, self.people))[0]
        times = 1 + (self.random.random() < 0.2)
        if self.mentioned and self.random.random() < 0.1:
            seq = self.random.randint(0, self.last_seq)
            advance = self.store.advance_read
            await until(lambda: advance(self.conversation_id, self.user_id, seq, NOW_MS), self.failed)
        if kind == "send" or not self.last_seq:
            draft = message_draft(self.conversation_id, new_id(), by=self.user_id)
            draft = replace(draft, mentions=self._some())
            self.sent.append(draft.idempotency_key)
            for _ in range(times):
                message = (await until(lambda: self.store.append_message(draft), self.failed)).message
                self._note(message)
            return
        if kind == "people":
            reform = self._reform()
            for _ in range(times):
                reformed = await until(lambda: self.store.change_conversation(reform), self.failed)
                if reformed.message is not None:
                    self._note(reformed.message)
                    # Another process may have stored it in our place, and a third reacted to it before we are told.
                    self._note(replace(reformed.message, change=reformed.message.born))
                assert reformed.outcome in {Outcome.DONE, Outcome.DUPLICATE, Outcome.UNCHANGED, Outcome.STRANGER}
            return
        change = self._change(kind)
        for _ in range(times):
            changed = await until(lambda: self.store.change_message(change), self.failed)
            if changed.message is not None:
                # Also what was done before: the answer that told it may be lost.
                self._note(changed.message)
            assert changed.outcome not in {Outcome.NOT_FOUND, Outcome.KEY_CONFLICT, Outcome.TOO_LATE}

    def _change(self, kind: str) -> Change:
        seq = self.random.randint(max(1, self.last_seq - 5), self.last_seq)
        if kind == "edit":
            return Edit(self.conversation_id, seq, self.user_id, new_id(), new_id(), NOW_MS, None, self._some())
        if kind == "delete":
            return Delete(self.conversation_id, seq, self.user_id, NOW_MS, others=self.random.random() < 0.3)
        reaction, on = self.random.choice("abc"), self.random.random() < 0.6
        return React(self.conversation_id, seq, self.user_id, reaction, on)

    def _some(self) -> tuple[UserId, ...]:
        """People to mention; mostly nobody."""
        return tuple(each for each in self.mentioned if self.random.random() < 0.2)

    def _reform(self) -> ConversationChange:
        person, where = UserId(f"p{self.random.randint(0, 4)}"), self.conversation_id
        kind = self.random.choice(("add", "add", "remove", "role", "title"))
        if kind == "add":
            return adding(where, person, key=new_id(), history=self.random.choice(("all", "none")))
        if kind == "remove":
            return removing(where, person, key=new_id())
        if kind == "role":
            return giving(where, person, self.random.choice(("admin", "member", "owner")), key=new_id())
        return updating(where, title=new_id(), key=new_id())

    def _note(self, message: Message) -> None:
        self.given.add((message.change, message.seq))
        self.last_seq = max(self.last_seq, message.seq)
        self.told(message)


async def until(call: Callable[[], Coroutine[Any, Any, T]], failed: Callable[[], None] = lambda: None) -> T:
    """Make a call until it is not refused with an error after which it is to be made again; tell `failed` of those."""
    while True:
        try:
            return await call()
        except ChatError as error:
            if not error.retryable:
                raise
            failed()
            await asyncio.sleep(0.01)
