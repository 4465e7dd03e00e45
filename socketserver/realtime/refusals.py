"""What a client is told when its packet, or its connect, can never be accepted, and when the server made a mistake."""

from dataclasses import dataclass
from typing import Any, Final

from .engine.reasons import Gone

INVALID_NAMESPACE: Final = {"message": "Invalid namespace"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a packet can never be accepted.

    Attributes:
        code: 'too_large' or 'invalid_payload'.
        message: one English sentence.
        limit_bytes: what is allowed, None where it is not a matter of size.
    """

    code: str
    message: str
    limit_bytes: int | None = None

    def wire(self) -> dict[str, Any]:
        """As acks and the data of connect errors carry it."""
        wire = {"code": self.code, "message": self.message, "retryable": False}
        return wire if self.limit_bytes is None else {**wire, "limitBytes": self.limit_bytes}


def too_large(limit_bytes: int) -> Refusal:
    """The refusal of what is larger than allowed."""
    return Refusal(str(Gone.TOO_LARGE), f"This is too large: the limit is {limit_bytes} bytes.", limit_bytes)


@dataclass(frozen=True, slots=True)
class Refused:
    """An item of the inbox: an event that can never be accepted, and is to be acked with why."""

    namespace: str
    id: int
    event: str
    refusal: Refusal


def internal_error() -> dict[str, Any]:
    """Return what a client is told of a handler that has raised."""
    return {"code": "internal_error", "message": "The server made a mistake.", "retryable": False}


def internal_refusal() -> dict[str, Any]:
    """Return the payload of the CONNECT_ERROR for a client whose connect handler has raised."""
    return {"message": "internal_error", "data": internal_error()}


def default_error_ack(exc: BaseException) -> object:
    """Return what the client gets as ack when its event's handler has raised."""
    return {"ok": False, "error": internal_error()}


def default_refusal_ack(sid: str, event: str, refusal: Refusal) -> object:
    """Return what a client gets as ack of an event that can never be accepted."""
    return {"ok": False, "error": refusal.wire()}
