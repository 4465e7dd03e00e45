"""What every message store promises: with what its methods return (results.py) the whole contract; tests/contract holds
every store to it.

`Store` is what the server works on, `Copyable` what `open_store` returns, `StoreObserver` who may watch. Knows neither
a driver nor the wire. A store is used from one event loop; several stores, in several processes, may share a database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..chat.changes import Change
from ..chat.domain import Conversation, ConversationDraft, ConversationId, Message, MessageDraft, UserId
from ..chat.identity import Profile, ProfileUpdate
from ..chat.own_settings import OwnSettings, SettingsUpdate
from ..chat.people import ConversationChange
from ..errors import StoreUnavailable
from .results import (
    Appended,
    Changed,
    ChangePage,
    ConversationPage,
    Counts,
    Created,
    MessagePage,
    ProfileSet,
    ReadAdvance,
    ReadMarkPage,
    Reformed,
    Snapshot,
)


class StoreUnusable(StoreUnavailable):
    """The database will not become usable by waiting: a wrong address, password, schema or index. Raised by `open`."""


class StoreObserver(Protocol):
    """Who measures a store. Called on the event loop or a thread of the store's; must not raise, wait or call back."""

    def committed(self, writes: int, seconds: float) -> None:
        """So many writing calls were done together, durably; repeats, which write nothing, are among them."""

    def retried(self) -> None:
        """A commit has to be done again: another process was first, or one call of several cannot be done."""

    def failed(self) -> None:
        """A commit or a read failed because the database could not be used."""

    def log_size(self, size_bytes: int) -> None:
        """How large the file of the database's write-ahead log is; told now and then, by SQLite's store only."""


class Store(Protocol):
    """Durable conversations, messages, read marks and profiles.

    **Durable**: when a writing call returns, what it wrote survives a kill -9 and a power cut of the server.
    **Whole**: a call that raises has written nothing, except after StoreUnavailable and cancellation, when the
    caller cannot know: the write happened wholly or not at all, and the same call again tells (every write here
    is idempotent).
    **Errors**: every method may raise StoreUnavailable (database away, locked, full, read-only), and every writing one
    Overloaded (too many writes are waiting; nothing was queued). Both can be tried again. A store never raises a
    driver's own exceptions, and recovers by itself when the database is back.
    **Values**: every str without lone surrogates comes back as it went in, NUL and operators such as `$ne` included;
    metadata comes back as equal JSON. What a database cannot hold is refused alone, whatever else is written at the
    same moment: ValueError for a lone surrogate, a time beyond 64 bits or NaN in metadata, LimitExceeded for a message
    beyond the database's own limit. A seq, change or cursor out of range is an edge, not an error; limits are at least
    1.
    """

    async def open(self) -> None:
        """Connect, create or migrate the schema, and check it. Does nothing if the store is open.

        Raises: StoreUnusable, with a sentence for the operator, if somebody has to mend something first; and
            StoreUnavailable if the database does not answer. It may be called again; until it has succeeded, every
            other method raises StoreUnavailable.
        """

    async def close(self) -> None:
        """Finish the writes in progress and free everything. Later calls raise StoreUnavailable. Idempotent.

        The store may be opened again.
        """

    async def check(self) -> None:
        """Raise StoreUnavailable unless a write could succeed now. Costs little; for readiness probes."""

    async def create_conversation(self, draft: ConversationDraft) -> Created:
        """Store a conversation, or find the one that has the draft's `dedupe_key` (or its id: the same call again).

        Its activity is the draft's place_ms.
        Atomic: conversation, participants and their read marks (0) exist together or not at all.
        Raises: IdempotencyConflict if the one with that key is not `repeats.same_conversation`.
        """

    async def newest_activity(self) -> int:
        """The latest activity of the conversations that were written to last; 0 if there is none. Costs little."""

    async def get_conversation(self, conversation_id: ConversationId) -> Conversation | None:
        """The conversation as it is, with everybody, or None. Its `rev` tells which of two is newer."""

    async def change_conversation(
        self, change: ConversationChange, numbered: Callable[[], None] = lambda: None
    ) -> Reformed:
        """Add or remove people, set a role, a title or metadata, as `people.decide` says.

        Atomic: people, roles and title are as the change leaves them, and there is one message that says so, or
        neither; where the two are stored one after the other the conversation comes first, and the message follows
        whatever becomes of the caller, at the latest when the conversation is read next. What changes nothing (every
        outcome but DONE) costs no number, nor does metadata.
        Idempotent: for one (conversation_id, user_id, key) there is one change, for ever; a repeat is DUPLICATE.
        Order: its message takes its place among the calls of append_message and change_message in the moment in which
            `numbered` is called: at most once, on the event loop, before this returns.
        Who is added starts with everything before as read; who is removed has no read mark any more.
        Also: its message raises the read mark of whoever did it, and the conversation's activity, as others do.
        Raises: ConversationNotFound.
        """

    async def get_snapshot(
        self,
        conversation_id: ConversationId,
        *,
        after: int | None,
        limit: int,
        reader: UserId | None = None,
        participants: int | None = None,
    ) -> Snapshot | None:
        """A consistent view of one moment, for joining; None if there is no such conversation.

        Read marks: all; or with `participants`, those of the first so many, and of the `reader`. The conversation has
        the ids, and roles, of the first so many then, and the reader's role and entry.

        Messages: with `after` None, the newest `limit`, and no gap. Else those created after it: all of them, or the
        newest `limit` and a gap that names the rest; and as `updates` those created before and changed after it, the
        first `limit` of them at most. An `after` beyond the newest change (the client knows another database's past)
        is treated like None.
        Order: contains every message whose append returned before this call was made, and the senders' marks with them.
            A mark that advance_read raises while the snapshot is taken may be missing: announce it to whoever joins.
        """

    async def list_read_marks(
        self, conversation_id: ConversationId, *, after: UserId | None, limit: int
    ) -> ReadMarkPage:
        """Read marks in the order of user ids (by code points); only those of users after `after`, if given.

        An unknown conversation is an empty page.
        """

    async def list_conversations(
        self,
        user_id: UserId,
        *,
        limit: int,
        before: tuple[int, ConversationId] | None,
        participants: int | None = None,
    ) -> ConversationPage:
        """The user's conversations by (activity_at_ms, id), descending; only those less than `before`, if given.

        Each with the ids of all its participants, or with those of the first `participants`. Without `before` the page
        says in how many conversations something is unread; it costs about as much again.
        Order: each as it was after every append that returned before this call was made.
        """

    async def list_readers(
        self, parts: Sequence[tuple[ConversationId, UserId]]
    ) -> frozenset[tuple[ConversationId, UserId]]:
        """Those of some (conversation, user) who have read something that came since they were there, or written, which
        counts as reading. What does not exist has not."""

    async def append_message(self, draft: MessageDraft) -> Appended:
        """Store a message under the next seq and change, or find the one with the same key.

        Idempotent: for one (conversation_id, sender_id, idempotency_key) there is one message, for ever; a repeat
        returns it.
        Order: calls for one conversation are numbered in the order in which they were made on this store, and return in
        that order. A number is never given out before its row is stored; a repeat or a refusal costs none.
        Also: raises the sender's read mark to the new seq, with the message, so that sending counts as reading, and
        sets the conversation's activity to the draft's place_ms (never back).
        Raises: IdempotencyConflict if the stored one is not `repeats.same_content`; ConversationNotFound.
        The caller has checked that the sender takes part; one who is removed at the same moment may be refused.
        """

    async def change_message(self, change: Change) -> Changed:
        """Edit or delete a message, or set a reaction to it, as `changes.decide` says.

        Atomic: the message gets its new state and the conversation's next change number together; what changes nothing
        (every outcome but DONE) costs no number. Changes to one message that are stored together share a number, and
        each of their callers is told the message as all of them have left it.
        Idempotent: the same call again is DUPLICATE or UNCHANGED.
        Order: as for append_message; both are numbered in the order in which they were called.
        Raises: ConversationNotFound. The caller has checked that the user takes part.
        """

    async def list_changes(self, conversation_id: ConversationId, *, after: int, limit: int) -> ChangePage:
        """The messages with change > after, as they are now, the first `limit` at most.

        Whoever goes on from `through` while `has_more` ends with every message as it is, whatever is written meanwhile:
        a message that is changed appears again later. An unknown conversation is an empty page.
        """

    async def newest_changes(self, ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        """The newest change of each of these conversations, 0 while it is empty; one that does not exist is left out.

        Costs a look or two for each: for whoever must know, for many conversations, whether something was missed.
        """

    async def get_last_message(self, conversation_id: ConversationId) -> Message | None:
        """The newest message that counts, as lists show it; None if there is none.

        Order: as after every write that returned before this call was made.
        """

    async def get_messages(self, conversation_id: ConversationId, seqs: Sequence[int]) -> tuple[Message, ...]:
        """The messages with these seqs, those that exist, in seq order."""

    async def list_messages(
        self,
        conversation_id: ConversationId,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int,
    ) -> MessagePage:
        """A page in seq order: the `limit` newest below `before_seq`, or the `limit` oldest above `after_seq`; with
        neither, the newest. An unknown conversation is an empty page. Not both (ValueError)."""

    async def advance_read(self, conversation_id: ConversationId, user_id: UserId, seq: int, at_ms: int) -> ReadAdvance:
        """Move a participant's read mark up to `seq`, at most to the newest message; never back.

        Also: ends the participant's `marked_unread`, unless `seq` is below the mark.
        Raises: ConversationNotFound if there is no such conversation or the user does not take part.
        """

    async def set_settings(
        self, conversation_id: ConversationId, user_id: UserId, update: SettingsUpdate
    ) -> OwnSettings:
        """Make a participant's own settings of a conversation what the update says; what it says nothing of stays.

        Atomic with participation: they end with it. `marked_unread` holds while the read mark is where it is: whatever
        moves the mark ends it, the participant's own message too.
        Order: calls for one participant count in the order in which they were made on this store, and return in that
        order; of calls that are stored together each is told what comes of all.
        Raises: ConversationNotFound if there is no such conversation or the user does not take part.
        """

    async def set_profile(self, update: ProfileUpdate) -> ProfileSet:
        """Make a user's profile what the update says; what it says nothing of stays. A user without one gets one, also
        by an update that says nothing. Nothing is written if the profile is like that already.

        Order: calls for one user count in the order in which they were made on this store.
        """

    async def get_profiles(self, user_ids: Sequence[UserId]) -> Sequence[Profile]:
        """The profiles of those users, each at most once, in no particular order; who has none is left out."""


class Copyable(Store, Protocol):
    """A store that can also be walked through from end to end, as `copying.py` does. `open_store` returns one."""

    async def count(self) -> Counts:
        """How many conversations, messages and profiles there are. May read them all; not for the hot path."""

    async def list_profiles(self, *, after: UserId | None, limit: int) -> Sequence[Profile]:
        """Every profile, by user id (by code points); only those after `after`, if given.

        Fewer than `limit`: there are no more.
        """

    async def list_drafts(self, *, after: ConversationId | None, limit: int) -> Sequence[ConversationDraft]:
        """Every conversation as it is, by id (by code points); only those after `after`, if given.

        `activity_at_ms` is where the conversation stands in lists by now. Fewer than `limit`: there are no more.
        """

    async def copy_conversation(self, draft: ConversationDraft) -> None:
        """Store a conversation as it is, or make the one with its id so; those who stay keep their read marks.

        Raises: IdempotencyConflict if another one has its id or its `dedupe_key`, or has changed since.
        """

    async def list_settings(self, conversation_id: ConversationId) -> Mapping[UserId, OwnSettings]:
        """The own settings of those participants that have settled something."""

    async def copy_messages(self, messages: Sequence[Message], activity_at_ms: int) -> None:
        """Store messages of one conversation as they are, with their numbers and all that has happened to them.

        They are in seq order and go on from what is there; nobody else writes to the conversation. Its activity is
        raised to `activity_at_ms`; read marks are the caller's to raise.
        Raises: ConversationNotFound; IdempotencyConflict if one of their keys or numbers is taken.
        """
