"""How values lie in a database, the same in every store. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

INT64_MAX: Final = 2**63 - 1
_INT64_MIN: Final = -(2**63)


def dump_metadata(metadata: dict[str, Any] | None) -> str | None:
    """Metadata as JSON text: field names with dots and dollars, and numbers of any size, stay what they are.

    Raises: ValueError for what is not JSON (NaN among it).
    """
    return None if metadata is None else json.dumps(metadata, allow_nan=False, separators=(",", ":"))


def load_metadata(text: str | None) -> dict[str, Any] | None:
    """What `dump_metadata` made a text of."""
    loaded: dict[str, Any] | None = None if text is None else json.loads(text)
    return loaded


def int64(number: int) -> int:
    """A cursor as a database can hold it; beyond that range there is nothing to tell apart."""
    return max(_INT64_MIN, min(number, INT64_MAX))
