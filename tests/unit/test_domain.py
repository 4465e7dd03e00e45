"""socketserver.chat.domain"""

from __future__ import annotations

import copy
import dataclasses
import os
import random
import time
from random import Random
from socketserver.chat import domain
from socketserver.chat.domain import (
    Conversation,
    ConversationId,
    SystemClock,
    UserId,
    conversation_kind,
    new_id,
    participants,
)

import pytest

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")


def test_clock() -> None:
    """The system's clock counts whole UTC milliseconds, and monotonic seconds that do not go back."""
    clock = SystemClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 60_000
    assert clock.monotonic_s() <= clock.monotonic_s()


def test_ids_differ() -> None:
    """Identifiers are 32 hexadecimal digits, each time others."""
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 32 and int(one, 16) for one in ids)


def test_ids_tell_nothing_of_others() -> None:
    """Whoever had 156 ids of his own knew everybody's next: they came from `random`, whose state 624 words give away.

    All that can be known of the process is set here, and the ids differ: they come from the system.
    """
    random.seed(1)
    before = vars(domain).copy()
    ids = []
    for _ in range(2):
        vars(domain).update(copy.deepcopy({name: each for name, each in before.items() if isinstance(each, Random)}))
        random.seed(1)
        ids.append(new_id())
    assert ids[0] != ids[1]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "urandom", lambda size: bytes(range(size)))
        assert new_id() == "000102030405060708090a0b0c0d0e0f"


def test_participants() -> None:
    """The creator takes part whether named or not; everybody once, sorted."""
    assert participants(BOB, [CAT, ANN, CAT]) == (ANN, BOB, CAT)
    assert participants(BOB, [BOB, ANN]) == (ANN, BOB)
    assert participants(BOB, []) == (BOB,)


def test_members() -> None:
    """A conversation knows its participants as a set, which does not count when two are compared."""
    conversation = Conversation(ConversationId("c"), "group", "T", ANN, (ANN, BOB), 1)
    assert [conversation.has(each) for each in (ANN, BOB, CAT)] == [True, True, False]
    assert conversation == dataclasses.replace(conversation)


@pytest.mark.parametrize(
    ("people", "title", "kind"),
    [
        ((ANN, BOB), None, "direct"),
        ((ANN, BOB), "T", "group"),
        ((ANN, BOB, CAT), None, "group"),
    ],
)
def test_kind(people: tuple[UserId, ...], title: str | None, kind: str) -> None:
    """Two people without a title are a direct conversation, all else is a group."""
    assert conversation_kind(people, title) == kind
