"""Why a session ends: the transport's words for it, said once."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Gone(StrEnum):
    """A reason of the transport. The value is what disconnect handlers and observers are told."""

    CLIENT_DISCONNECT = "client disconnect"
    SERVER_DISCONNECT = "server disconnect"
    SERVER_SHUTDOWN = "server shutdown"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    CONNECT_TIMEOUT = "connect timeout"
    SLOW_CONSUMER = "slow_consumer"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    CONNECTED_TWICE = "connected_twice"
    FLOODING = "flooding"


STAYS_AWAY: Final = frozenset({Gone.CLIENT_DISCONNECT, Gone.SERVER_DISCONNECT, Gone.CONNECT_TIMEOUT, Gone.MALFORMED})
"""Ends after which a polling client gets a CLOSE packet, or an empty answer if it said goodbye itself. After any other
it is to come back, and gets an error in answer to its poll: python-socketio's client takes a CLOSE for final."""

CLOSE_CODES: Final[Mapping[str, int]] = {Gone.MALFORMED: 1008, Gone.FLOODING: 1008, Gone.TOO_LARGE: 1009}
"""Codes of the websocket's close frame; 1000 for any other end. RFC 6455 section 7.4.1."""
