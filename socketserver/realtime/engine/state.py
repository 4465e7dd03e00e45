"""Whether a session takes and sends messages. Pure."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class State(Enum):
    """Where a session stands; it only ever moves down this list.

    OPEN: messages are taken and sent.
    FINISHING: it is over, and its last messages wait for the client's poll. The layer above was told already.
    CLOSED: it is over for its client too.
    """

    OPEN = "open"
    FINISHING = "finishing"
    CLOSED = "closed"

    def may_become(self, state: "State") -> bool:
        """Whether a session in this state may move to another."""
        return state in _MOVES[self]


_MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.OPEN: frozenset({State.FINISHING, State.CLOSED}),
    State.FINISHING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
