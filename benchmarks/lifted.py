"""Which limits of this server a load generator would meet, read off the settings themselves.

A load comes from one address, as fast as it can, and creates what it needs as one user: every limit on that would end
it, or measure the limit. So all numbers that may be 0 are set to 0, which means no limit, also those that later
versions bring; what is left alone is named here, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from socketserver.settings import Settings, flag
from typing import Final

# What may be 0 and is no limit of what comes in: what is measured keeps it as people run it.
KEPT: Final = {
    "port": "an address",
    "log_messages_per_second": "0 would log every message",
    "sockets_per_user": "every user of a load has one socket",
    "joined_per_socket": "no socket joins more than one conversation",
    "watched_per_socket": "what it watches is part of a connect's cost",
    "outbox_bytes": "what is bounded for a slow reader is part of a delivery's cost",
    "small_conversation": "up to where presence and typing are shown: work, not a limit",
}
# Durations are no limits of how much comes.
_DURATIONS: Final = {"s", "ms"}


def lifted(kept: Callable[[str], bool] = KEPT.__contains__) -> dict[str, str]:
    """Setting → "0" for every limit that a load would meet.

    Args:
        kept: says of a setting's name whether it stays as it is.
    """
    found = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        unit = extra.get("unit") if isinstance(extra, dict) else None
        may_be_0 = any(getattr(bound, "ge", None) == 0 for bound in field.metadata)
        if may_be_0 and field.default and unit not in _DURATIONS and not kept(name):
            found[name] = "0"
    return found


def flags() -> list[str]:
    """The same for a command line."""
    return [part for name, value in lifted().items() for part in (flag(name), value)]
