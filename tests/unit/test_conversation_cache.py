"""socketserver.chat.conversation_cache"""

from __future__ import annotations

from dataclasses import replace
from socketserver.chat.conversation_cache import ConversationCache
from socketserver.chat.domain import Conversation, ConversationId, UserId

import pytest


def conversation(name: str, people: int) -> Conversation:
    ids = tuple(UserId(f"{name}-{number:05}") for number in range(people))
    return Conversation(ConversationId(name), "group", None, ids[0], ids, 0)


def names(cache: ConversationCache, *asked: str) -> str:
    return "".join(name for name in asked if cache.get(ConversationId(name), 0.0) is not None)


def test_what_was_used_longest_ago_goes_first() -> None:
    """Bounded in number; looking at one counts as using it."""
    cache = ConversationCache(2, 0)
    for name in "ab":
        cache.add(conversation(name, 2), 0.0)
    assert names(cache, "a") == "a"
    cache.add(conversation("c", 2), 0.0)
    assert names(cache, "a", "b", "c") == "ac"


@pytest.mark.parametrize(
    ("most_bytes", "kept"), [(3, "abc"), (2.999, "bc"), (2, "bc"), (1, "c"), (0.1, "c"), (0, "abc")]
)
def test_large_groups_are_bounded_in_bytes(most_bytes: float, kept: str) -> None:
    """3 000 groups of 1 000 took 500 MiB: the cache was bounded in number. At the bound, just under it, and without."""
    probe = ConversationCache(9, 0)
    probe.add(conversation("a", 1000), 0.0)
    assert 50_000 < probe.size_bytes < 200_000
    cache = ConversationCache(9, int(most_bytes * probe.size_bytes))
    for name in "abc":
        cache.add(conversation(name, 1000), 0.0)
    assert names(cache, *"abc") == kept
    assert cache.size_bytes == len(kept) * probe.size_bytes


def test_the_same_conversation_again_is_counted_once() -> None:
    """Two callers may have looked it up at the same time."""
    cache = ConversationCache(9, 0)
    cache.add(conversation("a", 1000), 0.0)
    size_bytes = cache.size_bytes
    cache.add(conversation("a", 1000), 0.0)
    assert (len(cache), cache.size_bytes) == (1, size_bytes)


def test_what_another_process_changes_shows_after_a_while() -> None:
    """What is kept is good for so long, unless it is in doubt; and the newer of two is kept."""
    cache = ConversationCache(9, 0, most_s=10.0)
    old = conversation("a", 2)
    new = replace(old, rev=1, title="new")
    cache.add(old, 0.0)
    assert cache.get(old.id, 9.9) is old
    assert cache.get(old.id, 10.0) is None
    assert cache.peek(old.id) is old
    assert cache.add(new, 10.0) is new
    assert cache.add(old, 11.0) is new
    assert cache.get(old.id, 20.9) is new
    cache.doubt(old.id)
    assert cache.get(old.id, 11.0) is None
    cache.doubt(ConversationId("unknown"))


def test_conversations_share_the_texts_of_their_participants() -> None:
    """A participant of a thousand groups was a thousand texts."""
    first, second = (Conversation(ConversationId(name), "group", None, UserId("ann"), _fresh(), 0) for name in "ab")
    assert all(one is other for one, other in zip(first.participant_ids, second.participant_ids, strict=True))


def _fresh() -> tuple[UserId, ...]:
    return tuple(UserId("-".join(("user", str(number)))) for number in range(50))
