"""change_conversation, and what it does to messages, marks, lists and other stores on the same database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from socketserver.chat.changes import Delete, Edit, Outcome, React
from socketserver.chat.domain import Conversation, ConversationId, ConversationSummary, Entry, Message, System, UserId
from socketserver.chat.own_settings import OwnSettings, SettingsUpdate
from socketserver.chat.people import ConversationChange, PeopleRules
from socketserver.errors import ConversationNotFound
from socketserver.store import Store, open_store
from socketserver.store.results import Appended, Changed, Reformed
from socketserver.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from typing import Any

import pytest
from support.histories import present
from support.stores import (
    ANN,
    BOB,
    CAT,
    NOW_MS,
    Backend,
    adding,
    conversation_draft,
    giving,
    group,
    message_draft,
    removing,
    say,
    updating,
)

DAN, EVE = UserId("dan"), UserId("eve")
MISSING = ConversationId("missing")


async def done(store: Store, change: ConversationChange) -> Reformed:
    """Make a change that works."""
    reformed = await store.change_conversation(change)
    assert reformed.outcome is Outcome.DONE
    assert reformed.conversation == await now(store, change.conversation_id)
    return reformed


async def now(store: Store, where: ConversationId) -> Conversation:
    conversation = await store.get_conversation(where)
    assert conversation
    return conversation


async def marks(store: Store, where: ConversationId) -> dict[UserId, int]:
    page = await store.list_read_marks(where, after=None, limit=100)
    return {mark.user_id: mark.read_seq for mark in page.marks}


async def test_people_are_added_with_a_message(store: Store) -> None:
    here = await group(store)
    await say(store, here, 3)
    change = adding(here, DAN, BOB, EVE, key="k", history="none")
    reformed = await done(store, change)
    conversation = reformed.conversation
    assert conversation.participant_ids == (ANN, BOB, CAT, DAN, EVE)
    assert (conversation.participant_count, conversation.rev) == (5, 1)
    assert conversation.entries == {DAN: Entry(4, 4), EVE: Entry(4, 4)}
    assert conversation.roles == {ANN: "owner"}
    assert (reformed.added, reformed.removed, reformed.roles) == ((DAN, EVE), (), {DAN: "member", EVE: "member"})
    message = reformed.message
    assert message
    assert (message.seq, message.change, message.sender_id, message.body) == (4, 4, ANN, "ann added dan and eve.")
    assert message.system == System("added", (DAN, EVE))
    assert (message.id, message.idempotency_key, message.created_at_ms) == (change.message_id, "~ k", NOW_MS + 70)
    assert not message.counts
    assert (await present(store, here))[3] == message
    assert await marks(store, here) == {ANN: 4, BOB: 0, CAT: 0, DAN: 3, EVE: 3}
    assert (await store.append_message(message_draft(here))).message.seq == 5


async def test_who_is_added_may_see_what_was_before(store: Store) -> None:
    """As much as whoever adds them: nobody shows more than they see."""
    here = await group(store)
    await say(store, here, 2)
    await done(store, adding(here, DAN, history="none", role="admin"))
    await done(store, adding(here, EVE))
    conversation = (await done(store, adding(here, UserId("fay"), by=DAN, history="all"))).conversation
    assert conversation.entries == {DAN: Entry(3, 3), EVE: Entry(4, 1), "fay": Entry(5, 3)}
    assert conversation.shows(DAN, 3)
    assert not conversation.shows(DAN, 2)
    assert conversation.shows(EVE, 1)
    assert conversation.shows(ANN, 1)


async def test_who_is_removed_is_gone(store: Store) -> None:
    here = await group(store)
    await say(store, here, 2, by=BOB)
    reformed = await done(store, removing(here, BOB))
    assert (reformed.removed, reformed.conversation.participant_ids) == ((BOB,), (ANN, CAT))
    assert reformed.message
    assert (reformed.message.body, reformed.message.system) == ("ann removed bob.", System("removed", (BOB,)))
    assert await marks(store, here) == {ANN: 3, CAT: 0}
    assert (await store.list_conversations(BOB, limit=5, before=None)).summaries == ()
    with pytest.raises(ConversationNotFound):
        await store.advance_read(here, BOB, 1, NOW_MS)
    assert (await store.list_conversations(BOB, limit=5, before=None)).unread == 0
    await store.advance_read(here, CAT, 2, NOW_MS)
    assert await marks(store, here) == {ANN: 3, CAT: 2}


async def test_who_comes_back_starts_anew(store: Store) -> None:
    here = await group(store)
    await say(store, here, 3, by=BOB)
    await done(store, removing(here, BOB))
    await say(store, here, 2)
    conversation = (await done(store, adding(here, BOB, history="none"))).conversation
    assert conversation.entry(BOB) == Entry(7, 7)
    assert await marks(store, here) == {ANN: 7, BOB: 6, CAT: 0}
    assert await store.list_readers([(here, BOB), (here, ANN), (here, CAT)]) == {(here, ANN)}
    await store.advance_read(here, BOB, 7, NOW_MS)
    assert (here, BOB) in await store.list_readers([(here, BOB)])


async def test_ones_own_settings_end_with_ones_part(store: Store) -> None:
    here = await group(store)
    await store.set_settings(here, BOB, SettingsUpdate(muted=True))
    await store.set_settings(here, CAT, SettingsUpdate(pinned=True))
    await done(store, removing(here, BOB))
    await done(store, adding(here, BOB))
    settled = {}
    for user_id in (BOB, CAT):
        snapshot = await store.get_snapshot(here, after=None, limit=1, reader=user_id)
        assert snapshot
        settled[user_id] = snapshot.settings
    assert settled == {BOB: OwnSettings(), CAT: OwnSettings(pinned=True)}


async def test_an_owner_who_leaves_hands_over(store: Store) -> None:
    """To the oldest admin, else the oldest member."""
    here = await group(store)
    await say(store, here, 1)
    await done(store, adding(here, DAN, role="admin"))
    left = await done(store, removing(here, ANN, by=ANN))
    assert left.message
    assert (left.message.body, left.message.system) == ("ann left. dan is the owner now.", System("left", (ANN,)))
    assert left.roles == {DAN: "owner"}
    assert left.conversation.roles == {DAN: "owner"}
    left = await done(store, removing(here, DAN, by=DAN))
    assert left.conversation.roles == {BOB: "owner"}
    await done(store, removing(here, CAT, by=CAT))
    empty = await done(store, removing(here, BOB, by=BOB))
    assert (empty.conversation.participant_ids, empty.conversation.participant_count) == ((), 0)
    assert empty.message
    assert empty.message.body == "bob left."
    with pytest.raises(ConversationNotFound):
        await store.change_conversation(adding(here, BOB, by=BOB))


async def test_roles_are_set(store: Store) -> None:
    here = await group(store)
    reformed = await done(store, giving(here, BOB, "admin"))
    assert reformed.message
    assert (reformed.message.body, reformed.message.system) == (
        "ann made bob an admin.",
        System("role", (BOB,), "admin"),
    )
    assert reformed.roles == {BOB: "admin"}
    assert reformed.conversation.roles == {ANN: "owner", BOB: "admin"}
    assert (await store.change_conversation(giving(here, ANN, "member"))).outcome is Outcome.FORBIDDEN, "the last owner"
    assert (await store.change_conversation(giving(here, DAN, "admin"))).outcome is Outcome.STRANGER
    assert (await store.change_conversation(giving(here, CAT, "admin", by=BOB))).outcome is Outcome.FORBIDDEN
    await done(store, giving(here, BOB, "owner"))
    reformed = await done(store, giving(here, ANN, "member"))
    assert reformed.conversation.roles == {BOB: "owner"}
    snapshot = await store.get_snapshot(here, after=None, limit=1, reader=BOB, participants=1)
    assert snapshot
    assert snapshot.conversation.role(BOB) == "owner"


async def test_titles_and_metadata_change(store: Store) -> None:
    here = await group(store)
    reformed = await done(store, updating(here, title="plans", metadata={"a.b": [1, "$x", "\x00"]}))
    assert (reformed.conversation.title, reformed.conversation.metadata) == ("plans", {"a.b": [1, "$x", "\x00"]})
    assert reformed.message
    assert reformed.message.body == "ann changed the title: plans"
    assert reformed.message.system == System("title", title="plans")
    quiet = await done(store, updating(here, metadata=None))
    assert (quiet.message, quiet.conversation.metadata, quiet.conversation.title) == (None, None, "plans")
    gone = await done(store, updating(here, title=None))
    assert gone.message
    assert (gone.message.change, gone.message.system) == (2, System("title"))
    (summary,) = (await store.list_conversations(BOB, limit=5, before=None)).summaries
    assert (summary.conversation.title, summary.conversation.kind) == (None, "group")


async def test_a_direct_conversation_is_of_two_for_ever(store: Store) -> None:
    here = (await store.create_conversation(conversation_draft(BOB))).conversation.id
    for change in (
        adding(here, CAT),
        removing(here, BOB),
        removing(here, ANN),
        giving(here, BOB, "admin"),
        updating(here, title="x"),
    ):
        reformed = await store.change_conversation(change)
        assert (reformed.outcome, reformed.message) == (Outcome.FORBIDDEN, None)
    assert (await now(store, here)).roles == {}
    await done(store, updating(here, by=BOB, metadata={"colour": "red"}))


async def test_what_repeats_or_changes_nothing_costs_no_number(store: Store) -> None:
    here = await group(store)
    await store.append_message(message_draft(here, key="k"))
    add, remove = adding(here, DAN, key="k"), removing(here, DAN, key="r")
    name = updating(here, title="plans", key="u")
    change: ConversationChange
    added = await done(store, add)
    removed = await done(store, remove)
    named = await done(store, name)
    for change, before in ((add, added), (remove, removed), (name, named)):
        repeat = await store.change_conversation(change)
        assert (repeat.outcome, repeat.message) == (Outcome.DUPLICATE, before.message)
        assert (repeat.added, repeat.removed, repeat.conversation.rev) == ((), (), 3)
    other: list[ConversationChange] = [
        adding(here, EVE, key="k"),
        removing(here, BOB, key="k"),
        updating(here, title="x", key="u"),
    ]
    for change in other:
        assert (await store.change_conversation(change)).outcome is Outcome.KEY_CONFLICT
    nothing: list[ConversationChange] = [
        adding(here, BOB, CAT),
        removing(here, DAN),
        giving(here, ANN, "owner"),
        updating(here, title="plans"),
        updating(here),
    ]
    for change in nothing:
        unchanged = await store.change_conversation(change)
        assert (unchanged.outcome, unchanged.message, unchanged.conversation.rev) == (Outcome.UNCHANGED, None, 3)
    assert (await store.append_message(message_draft(here))).message.change == 5
    with pytest.raises(ConversationNotFound):
        await store.change_conversation(adding(MISSING, BOB))
    with pytest.raises(ConversationNotFound):
        await store.change_conversation(adding(here, EVE, by=DAN))


async def test_no_more_than_may_take_part(store: Store) -> None:
    here = await group(store)
    rules = PeopleRules(most=4)
    assert (await store.change_conversation(adding(here, DAN, EVE, rules=rules))).outcome is Outcome.TOO_MANY
    await done(store, adding(here, DAN, rules=rules))
    assert (await store.change_conversation(adding(here, EVE, rules=rules))).outcome is Outcome.TOO_MANY


async def test_what_the_conversation_says_of_itself_is_nobodys_to_change(store: Store) -> None:
    here = await group(store)
    message = (await done(store, adding(here, DAN))).message
    assert message
    for change in (Edit(here, 1, ANN, "e", "other", NOW_MS), Delete(here, 1, ANN, NOW_MS, others=True)):
        assert (await store.change_message(change)).outcome is Outcome.FORBIDDEN
    reacted = await store.change_message(React(here, 1, BOB, "+", on=True))
    assert reacted.message
    assert (reacted.outcome, reacted.message.system) == (Outcome.DONE, message.system)
    assert not reacted.message.counts


async def test_it_does_not_count_as_unread_and_no_list_shows_it(store: Store) -> None:
    here = await group(store)
    await say(store, here, 1)
    await done(store, adding(here, DAN))
    await done(store, updating(here, title="x"))
    await store.change_message(React(here, 2, ANN, "+", on=True))
    (summary,) = (await store.list_conversations(BOB, limit=5, before=None)).summaries
    assert summary.last_message
    assert (summary.last_seq, summary.unread_count, summary.last_message.seq) == (3, 1, 1)
    page = await store.list_conversations(DAN, limit=5, before=None)
    assert (page.unread, page.summaries[0].unread_count, page.summaries[0].first_seq) == (0, 0, 1)
    await say(store, here, 1)
    page = await store.list_conversations(DAN, limit=5, before=None)
    assert (page.unread, page.summaries[0].unread_count) == (1, 1)
    read = await store.advance_read(here, BOB, 1, NOW_MS)
    assert read.unread_count == 1
    last = await store.get_last_message(here)
    assert last
    assert last.seq == 4


async def test_a_list_says_from_where_on_its_user_sees(store: Store) -> None:
    here = await group(store)
    await say(store, here, 2)
    zoe = UserId("zoe")
    await done(store, adding(here, zoe, history="none"))
    for participants in (None, 1):
        (summary,) = (await store.list_conversations(zoe, limit=5, before=None, participants=participants)).summaries
        assert (summary.first_seq, summary.conversation.participant_count) == (3, 4)
    snapshot = await store.get_snapshot(here, after=None, limit=1, reader=zoe, participants=1)
    assert snapshot
    assert snapshot.conversation.participant_ids == (ANN,)
    assert snapshot.conversation.entry(zoe) == Entry(3, 3)


async def test_a_change_of_people_moves_a_conversation_up(store: Store) -> None:
    here, there = await group(store), await group(store, at_ms=NOW_MS + 1)
    assert [each.conversation.id for each in (await lists(store, ANN))] == [there, here]
    await done(store, adding(here, DAN))
    assert [each.conversation.id for each in (await lists(store, ANN))] == [here, there]
    assert (await lists(store, DAN))[0].activity_at_ms == NOW_MS + 70


async def lists(store: Store, user_id: UserId) -> list[ConversationSummary]:
    return list((await store.list_conversations(user_id, limit=5, before=None)).summaries)


async def test_all_kinds_of_writes_are_numbered_in_the_order_of_the_calls(store: Store) -> None:
    """The moment is told in which a change of people takes its place."""
    here = await group(store)
    await say(store, here, 1)
    order: list[int] = []
    calls: list[Coroutine[Any, Any, Appended | Changed | Reformed]] = [
        store.append_message(message_draft(here, key="a")),
        store.change_conversation(adding(here, DAN), lambda: order.append(0)),
        store.change_message(React(here, 1, BOB, "+", on=True)),
        store.change_conversation(giving(here, DAN, "admin"), lambda: order.append(1)),
        store.append_message(message_draft(here, key="b")),
    ]
    results = await asyncio.gather(*calls)
    messages: list[Message] = [each.message for each in results if each.message]
    changes = sorted(each.change for each in messages)
    assert changes == [2, 3, 4, 5, 6]
    reformed = [each for each in results if isinstance(each, Reformed)]
    by_order = sorted(reformed, key=lambda each: each.message.change if each.message else 0)
    assert [reformed[place] for place in order] == by_order
    assert messages[0].change < messages[4].change
    assert (await now(store, here)).roles == {ANN: "owner", DAN: "admin"}


async def test_many_changes_of_people_at_once(store: Store) -> None:
    here = await group(store)
    people = [UserId(f"u{number:02d}") for number in range(20)]
    await asyncio.gather(
        *(store.change_conversation(adding(here, person)) for person in people),
        *(store.append_message(message_draft(here)) for _ in range(20)),
        *(store.advance_read(here, BOB, number, NOW_MS) for number in range(20)),
    )
    await asyncio.gather(*(store.change_conversation(removing(here, person)) for person in people[::2]))
    conversation = await now(store, here)
    assert set(conversation.participant_ids) == {ANN, BOB, CAT, *people[1::2]}
    assert conversation.rev == 30
    messages = await present(store, here)
    assert [each.change for each in messages] == list(range(1, 51))
    left: set[UserId] = set()
    for message in messages:  # every change is told by a message, in an order that leads to what there is
        if message.system is not None:
            (person,) = message.system.user_ids
            (left.add if message.system.type == "added" else left.remove)(person)
    assert left == set(people[1::2])


async def test_marks_stay_with_their_people_while_others_come_and_go(shared_backend: Backend) -> None:
    """A mark that was on its way to the store was given to whoever had moved to its place in the list."""
    stores = [await shared_backend.open() for _ in range(2)]
    here = await group(stores[0], UserId("m"), UserId("z"))
    await say(stores[0], here, 40)

    async def come_and_go() -> None:
        for person in map(UserId, ("a", "n", "y") * 3):
            await stores[0].change_conversation(adding(here, person, history="none"))
            await stores[0].change_conversation(removing(here, person))

    async def read(person: UserId) -> None:
        for seq in range(1, 31):
            await stores[1].advance_read(here, person, seq, NOW_MS)

    await asyncio.gather(come_and_go(), read(UserId("m")), read(UserId("z")))
    found = await marks(stores[1], here)
    assert (found[UserId("m")], found[UserId("z")]) == (30, 30)


async def test_two_stores_change_the_same_people(shared_backend: Backend) -> None:
    stores = [await shared_backend.open() for _ in range(2)]
    here = await group(stores[0])
    change = adding(here, DAN, key="same")
    results = await asyncio.gather(*(stores[number % 2].change_conversation(change) for number in range(6)))
    assert sorted(each.outcome.value for each in results) == ["done"] + ["duplicate"] * 5
    assert {each.message.id for each in results if each.message} == {change.message_id}
    await asyncio.gather(
        *(stores[number % 2].change_conversation(adding(here, UserId(f"u{number}"))) for number in range(10))
    )
    conversation = await now(stores[1], here)
    assert (conversation.participant_count, conversation.rev) == (14, 11)
    messages = await present(stores[1], here)
    assert [each.seq for each in messages] == [each.change for each in messages] == list(range(1, 12))
    assert await now(stores[0], here) == conversation


async def test_a_refusal_among_changes_disturbs_nobody(store: Store) -> None:
    here = await group(store)
    results = await asyncio.gather(
        store.change_conversation(updating(here, title="\ud83d")),
        store.change_conversation(adding(here, DAN)),
        store.change_conversation(updating(here, metadata={"a": float("nan")})),
        store.append_message(message_draft(here)),
        return_exceptions=True,
    )
    assert isinstance(results[0], ValueError)
    assert isinstance(results[2], ValueError)
    assert isinstance(results[1], Reformed)
    assert (await now(store, here)).has(DAN)


async def test_a_conversation_that_was_asked_for_again_is_as_it_became(store: Store) -> None:
    draft = conversation_draft(BOB, CAT, title="plans", key="k")
    await store.create_conversation(draft)
    await done(store, updating(draft.id, title="other"))
    await done(store, removing(draft.id, BOB))
    again = await store.create_conversation(draft)
    assert again.duplicate
    assert again.conversation == await now(store, draft.id)


async def test_a_sqlite_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """The creator of a group is its owner; a direct conversation has none."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        for script in MIGRATIONS[:4]:
            old.executescript(script)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 4")
        old.executemany(
            "INSERT INTO conversation (num, id, kind, title, created_by, created_at_ms, last_seq, last_change,"
            " activity_at_ms, participant_count) VALUES (?, ?, ?, ?, 'bob', ?, 0, 0, ?, ?)",
            [(1, "g", "group", "old", NOW_MS, NOW_MS, 3), (2, "d", "direct", None, NOW_MS, NOW_MS, 2)],
        )
        old.executemany(
            "INSERT INTO participant (conversation, user_id, read_seq) VALUES (?, ?, 0)",
            [(1, ANN), (1, BOB), (1, CAT), (2, ANN), (2, BOB)],
        )
        old.commit()
    store = open_store(f"sqlite:///{path}")
    await store.open()
    here = await now(store, ConversationId("g"))
    assert (here.roles, here.entries, here.rev, here.metadata) == ({BOB: "owner"}, {}, 0, None)
    assert (await now(store, ConversationId("d"))).roles == {}
    await done(store, adding(here.id, DAN, by=BOB))
    assert (await store.change_conversation(adding(here.id, EVE, by=ANN))).outcome is Outcome.FORBIDDEN
    await store.close()


@pytest.mark.parametrize("backend", ["sqlite-memory", "sqlite-file"], indirect=True)
async def test_who_was_removed_writes_nothing_after_it(store: Store) -> None:
    """Also not with what was under way together with the removal."""
    here = await group(store)
    results = await asyncio.gather(
        store.append_message(message_draft(here, by=BOB)),
        store.change_conversation(removing(here, BOB)),
        store.append_message(message_draft(here, by=BOB)),
        store.append_message(message_draft(here)),
        return_exceptions=True,
    )
    assert isinstance(results[2], ConversationNotFound)
    assert [each.sender_id for each in await present(store, here)] == [BOB, ANN, ANN]
