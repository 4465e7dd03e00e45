"""Pages bounded in bytes: an answer must find room in its client's outbox, however large the messages are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import orjson

from ..chat.domain import Gap
from ..chat.profiles import People
from ..store.results import Snapshot
from .dumping import dump_profile

T = TypeVar("T")

# Of what a client may leave unread, the part that profiles beside an answer's page may take.
PROFILES_SHARE: Final = 8


class Page(NamedTuple):
    """Items as JSON, and how long they are together."""

    items: list[orjson.Fragment]
    size_bytes: int


def fit(items: Sequence[T], dump: Callable[[T], object], *, most_bytes: int = 0, newest: bool = False) -> Page:
    """As many items as fit, in their order, encoded; always at least one, if there is one.

    Args:
        most_bytes: how long they may be together, as JSON; 0 for no bound.
        newest: whether the last ones are kept, or else the first.
    """
    kept: list[orjson.Fragment] = []
    size = 0
    for item in reversed(items) if newest else items:
        data = orjson.dumps(dump(item))
        if kept and 0 < most_bytes < size + len(data) + 1:
            break
        size += len(data) + 1  # a comma
        kept.append(orjson.Fragment(data))
    if newest:
        kept.reverse()
    return Page(kept, size)


def fit_profiles(people: People, outbox_bytes: int) -> Page:
    """As many profiles, of the first of some people, as fit beside an answer's page.

    Args:
        outbox_bytes: what a client may leave unread; 0 for no bound.
    """
    return fit(
        list(people.items()),
        lambda person: dump_profile(*person),
        most_bytes=outbox_bytes // PROFILES_SHARE,
        newest=False,
    )


def gap_before(snapshot: Snapshot, kept: int, after: int | None) -> Gap | None:
    """What a client that was there up to `after` has not got, when only the newest `kept` messages are sent."""
    left_out = len(snapshot.messages) - kept
    if not left_out or after is None or after > snapshot.change:
        return snapshot.gap
    first = snapshot.messages[0].seq if snapshot.gap is None else snapshot.gap.from_seq
    return Gap(first, snapshot.messages[left_out - 1].seq)


def updates_through(snapshot: Snapshot, kept: int) -> int | None:
    """The change up to which a client has all updates, when only the first `kept` are sent; None: all there are."""
    return snapshot.updates_through if kept == len(snapshot.updates) else snapshot.updates[kept - 1].change
