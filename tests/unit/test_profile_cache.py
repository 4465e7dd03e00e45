"""socketserver.chat.profile_cache"""

from __future__ import annotations

from socketserver.chat.domain import UserId
from socketserver.chat.identity import Profile
from socketserver.chat.profile_cache import Entry, ProfileCache

from hypothesis import given
from hypothesis import strategies as st

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")


def entry(user_id: UserId, chars: int = 0) -> Entry:
    return Entry(Profile(user_id, "x" * chars) if chars else None, 1.0)


def test_who_was_asked_for_longest_ago_is_forgotten() -> None:
    """To be asked for counts, whatever is known."""
    cache = ProfileCache(1_100)
    for user_id in (ANN, BOB):
        cache.put(user_id, entry(user_id))
    assert cache.get(ANN) == entry(ANN)
    cache.put(CAT, entry(CAT))
    assert (cache.get(ANN), cache.get(BOB), cache.get(CAT)) == (entry(ANN), None, entry(CAT))


def test_the_newest_one_is_kept_however_large() -> None:
    """What was just looked up is used."""
    cache = ProfileCache(1)
    cache.put(ANN, entry(ANN, 1_000))
    assert len(cache) == 1
    cache.put(BOB, entry(BOB))
    assert (cache.get(ANN), cache.get(BOB)) == (None, entry(BOB))


@given(
    st.sampled_from([0, 1, 1_000, 5_000]),
    st.lists(st.tuples(st.sampled_from([ANN, BOB, CAT, UserId("dan")]), st.integers(0, 2_000)), max_size=30),
)
def test_what_is_kept_is_bounded_in_bytes(most_bytes: int, steps: list[tuple[UserId, int]]) -> None:
    """Whatever is put in: within the bound, or one; all of it where there is no bound; and counted right."""
    cache = ProfileCache(most_bytes)
    for user_id, chars in steps:
        cache.put(user_id, entry(user_id, chars))
        assert cache.get(user_id) == entry(user_id, chars)
        assert len(cache) == 1 or not most_bytes or cache.size_bytes <= most_bytes
    fresh = ProfileCache(0)
    for user_id in [ANN, BOB, CAT, UserId("dan")]:
        if (kept := cache.get(user_id)) is not None:
            fresh.put(user_id, kept)
    assert (fresh.size_bytes, len(fresh)) == (cache.size_bytes, len(cache))
    if not most_bytes:
        assert len(cache) == len({user_id for user_id, _ in steps})
