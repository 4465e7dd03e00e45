"""What may become of a message: the rule for each kind of change, as values."""

from __future__ import annotations

from dataclasses import replace
from socketserver.chat.changes import Delete, Edit, Outcome, React, ReactionLimits, decide
from socketserver.chat.domain import ConversationId, Message, MessageId, Reaction, UserId

import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE, ANN, BOB = ConversationId("c"), UserId("ann"), UserId("bob")
SENT = Message(MessageId("m"), HERE, 3, 7, ANN, "k", "hello", {"a": 1}, 1000)


def edit(body: str = "new", *, by: UserId = ANN, key: str = "e", since_ms: int | None = None) -> Edit:
    return Edit(HERE, 3, by, key, body, 2000, since_ms=since_ms)


def react(user: str, reaction: str, *, on: bool = True, limits: ReactionLimits | None = None) -> React:
    return React(HERE, 3, UserId(user), reaction, on, limits or ReactionLimits())


def test_a_change_leaves_the_numbers_to_the_store() -> None:
    for change in (edit(), Delete(HERE, 3, ANN, 5), react("bob", "+")):
        outcome, message = decide(SENT, change)
        assert outcome is Outcome.DONE
        assert (message.seq, message.change, message.born) == (3, 7, 7)


def test_an_edit_that_comes_again_after_its_window_was_done_in_time() -> None:
    _, edited = decide(SENT, edit(since_ms=1000))
    assert decide(edited, edit(since_ms=1001)) == (Outcome.DUPLICATE, edited)
    assert decide(edited, edit("x", key="f", since_ms=1001)) == (Outcome.TOO_LATE, edited)


def test_only_the_sender_edits_and_somebody_who_may_deletes() -> None:
    assert decide(SENT, edit(by=BOB))[0] is Outcome.FORBIDDEN
    assert decide(SENT, Delete(HERE, 3, BOB, 5))[0] is Outcome.FORBIDDEN
    outcome, gone = decide(SENT, Delete(HERE, 3, BOB, 5, others=True))
    assert (outcome, gone.later.deleted_by) == (Outcome.DONE, BOB)


def test_nothing_is_left_of_what_was_deleted() -> None:
    message = SENT
    for change in (edit("secret"), react("bob", "secret")):
        message = decide(message, change)[1]
    message = decide(replace(message, mentions=(BOB,), metadata={"secret": 1}), Delete(HERE, 3, ANN, 5))[1]
    assert "secret" not in repr(message)
    assert (message.body, message.metadata, message.mentions) == ("", None, ())


@pytest.mark.parametrize(
    ("limits", "user", "reaction"),
    [
        (ReactionLimits(different=2), "bob", "c"),
        (ReactionLimits(of_user=2), "ann", "c"),
        (ReactionLimits(total=3), "bob", "b"),
    ],
)
def test_reactions_are_bounded(limits: ReactionLimits, user: str, reaction: str) -> None:
    message = SENT
    for who, what in (("ann", "a"), ("ann", "b"), ("bob", "a")):
        message = decide(message, react(who, what))[1]
    assert decide(message, react(user, reaction, limits=limits)) == (Outcome.TOO_MANY, message)
    assert decide(message, react(user, reaction, limits=ReactionLimits(0, 0, 0)))[0] is Outcome.DONE
    assert decide(message, react("ann", "a", on=False, limits=limits))[0] is Outcome.DONE, (
        "taking back is always possible"
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("+-*"), st.booleans()), max_size=30))
def test_reactions_are_what_was_set_last(sets: list[tuple[str, str, bool]]) -> None:
    message = SENT
    has: dict[tuple[str, str], None] = {}
    for user, reaction, on in sets:
        outcome, message = decide(message, react(user, reaction, on=on))
        assert outcome is (Outcome.UNCHANGED if ((user, reaction) in has) == on else Outcome.DONE)
        if on:
            has.setdefault((user, reaction))
        else:
            has.pop((user, reaction), None)
    told = {(user, each.reaction) for each in message.later.reactions for user in each.user_ids}
    assert told == set(has)
    for each in message.later.reactions:
        assert each == Reaction(
            each.reaction, tuple(UserId(user) for user, reaction in has if reaction == each.reaction)
        )
        assert each.user_ids
