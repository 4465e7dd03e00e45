"""What the tests of the stores share: drafts, and the databases to run against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from socketserver.chat.domain import (
    ConversationDraft,
    ConversationId,
    MessageDraft,
    MessageId,
    Role,
    UserId,
    conversation_kind,
    new_id,
    participants,
)
from socketserver.chat.people import AddPeople, RemovePerson, SetRole, Update, system_key
from socketserver.chat.repeats import conversation_dedupe_key
from socketserver.store import Copyable, Store, open_store
from socketserver.store.base import StoreObserver
from typing import Any

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")

NOW_MS = 1_700_000_000_000


def conversation_draft(
    *others: UserId,
    by: UserId = ANN,
    title: str | None = None,
    key: str | None = None,
    at_ms: int = NOW_MS,
    conversation_id: str | None = None,
) -> ConversationDraft:
    people = participants(by, others or (BOB,))
    kind = conversation_kind(people, title)
    return ConversationDraft(
        ConversationId(conversation_id or new_id()),
        kind,
        title,
        by,
        people,
        at_ms,
        conversation_dedupe_key(kind, people, by, key),
    )


def message_draft(
    conversation_id: ConversationId,
    body: str = "hello",
    *,
    by: UserId = ANN,
    key: str | None = None,
    metadata: dict[str, Any] | None = None,
    at_ms: int = NOW_MS,
) -> MessageDraft:
    return MessageDraft(MessageId(new_id()), conversation_id, by, key or new_id(), body, metadata, at_ms)


async def group(store: Store, *others: UserId, at_ms: int = NOW_MS) -> ConversationId:
    """A new conversation of ann and others (bob and cat, if nobody is named)."""
    draft = conversation_draft(*(others or (BOB, CAT)), title="a group", at_ms=at_ms)
    return (await store.create_conversation(draft)).conversation.id


def _act(where: ConversationId, by: UserId, key: str | None) -> dict[str, Any]:
    message_id = MessageId(new_id())
    return {
        "conversation_id": where,
        "user_id": by,
        "key": system_key(key, message_id),
        "message_id": message_id,
        "at_ms": NOW_MS + 70,
    }


def adding(where: ConversationId, *people: UserId, by: UserId = ANN, key: str | None = None, **more: Any) -> AddPeople:
    return AddPeople(**_act(where, by, key), user_ids=people, **more)


def removing(
    where: ConversationId, person: UserId, *, by: UserId = ANN, key: str | None = None, **more: Any
) -> RemovePerson:
    return RemovePerson(**_act(where, by, key), person=person, **more)


def giving(
    where: ConversationId, person: UserId, role: Role, *, by: UserId = ANN, key: str | None = None, **more: Any
) -> SetRole:
    return SetRole(**_act(where, by, key), person=person, role=role, **more)


def updating(where: ConversationId, *, by: UserId = ANN, key: str | None = None, **more: Any) -> Update:
    return Update(**_act(where, by, key), **more)


async def say(store: Store, conversation_id: ConversationId, count: int, *, by: UserId = ANN) -> None:
    """Append messages whose bodies are '1', '2', … and whose times are NOW_MS + 1, 2, …"""
    for number in range(1, count + 1):
        await store.append_message(message_draft(conversation_id, str(number), by=by, at_ms=NOW_MS + number))


async def sequence(store: Store, conversation_id: ConversationId) -> list[int]:
    """Every seq of a conversation, as a reader that pages forward from the start sees them."""
    seqs: list[int] = []
    while True:
        page = await store.list_messages(conversation_id, after_seq=seqs[-1] if seqs else 0, limit=500)
        seqs += [message.seq for message in page.messages]
        if not page.has_more:
            return seqs


@dataclass
class Backend:
    """A fresh, empty database; `url` is what `open_store` takes."""

    name: str
    url: str
    stores: list[Copyable] = field(default_factory=list)

    async def open(self, observer: StoreObserver | None = None) -> Copyable:
        store = open_store(self.url, observer=observer)
        await store.open()
        self.stores.append(store)
        return store

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


class Watching:
    """A store's observer that remembers.

    Attributes:
        commits: how many writes each had, and its seconds.
    """

    def __init__(self) -> None:
        self.commits: list[tuple[int, float]] = []
        self.retries = 0
        self.failures = 0
        self.log_sizes: list[int] = []

    @property
    def writes(self) -> int:
        return sum(writes for writes, _ in self.commits)

    def committed(self, writes: int, seconds: float) -> None:
        self.commits.append((writes, seconds))

    def retried(self) -> None:
        self.retries += 1

    def failed(self) -> None:
        self.failures += 1

    def log_size(self, size_bytes: int) -> None:
        self.log_sizes.append(size_bytes)


def bodies(messages: Sequence[Any]) -> list[str]:
    return [message.body for message in messages]
