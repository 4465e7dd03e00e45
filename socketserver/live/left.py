"""Why a client is gone: the chat has ended it, or its transport went."""

from __future__ import annotations

from ..errors import ENDS, End
from ..realtime import Gone

Left = End | Gone


def left_for(reason: str) -> Left:
    """What a disconnect handler's reason stands for: the code of an End with which the chat had the transport closed,
    or a reason of the transport's own."""
    return ENDS.get(reason) or Gone(reason)


def code_of(left: Left) -> str:
    """One word for it, from a bounded set."""
    return left.code if isinstance(left, End) else left.name.lower()
