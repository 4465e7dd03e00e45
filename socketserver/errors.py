"""Every error that a client can be told, and every reason for which the server ends a connection.

The codes are stable: applications compare them. Knows nothing of the wire beyond the codes themselves, and nothing
of Socket.IO; wire/dumping.py turns an error into an ack, and an end into a `session_ended` event.

    ChatError                        code                     retryable
    ├── InvalidPayload               invalid_payload          no    `fields` names what is wrong
    ├── TooLarge                     too_large                no    over `limit_bytes`; it will never be accepted
    ├── UnknownEvent                 unknown_event            no
    ├── AuthRequired                 auth_required            yes   authenticate, then send again
    ├── InvalidToken                 invalid_token            no
    │   └── TokenExpired             token_expired            no    get a fresh token first
    ├── UserMismatch                 user_mismatch            no    another user on the same socket
    ├── AuthUnavailable              auth_unavailable         yes   the key server cannot be reached
    ├── OriginNotAllowed             origin_not_allowed       no
    ├── ConversationNotFound         conversation_not_found   no    missing, or not yours: the two look alike
    ├── NotJoined                    not_joined               no    join the conversation on this socket first
    ├── IdempotencyConflict          idempotency_conflict     no    same key, other content
    ├── MessageNotFound              message_not_found        no
    ├── MessageDeleted               message_deleted          no    a tombstone is left
    ├── Forbidden                    forbidden                no    not in this conversation, or not to this user
    ├── TooLate                      too_late                 no    the window is over
    ├── VersionConflict              version_conflict         no    `present` has the message as it is
    ├── LimitExceeded                limit_exceeded           no    a bound on what a socket or a message may have
    ├── RateLimited                  rate_limited             yes   after `retry_after_ms`
    ├── TooManyConnects              too_many_connects        yes   after `retry_after_ms`; a loop, most likely
    ├── TooManyConnections           too_many_connections     yes   after `retry_after_ms`; too many are open
    ├── StoreUnavailable             store_unavailable        yes   same idempotency key again
    ├── Overloaded                   overloaded               yes   after `retry_after_ms`
    ├── Draining                     draining                 yes   after `retry_after_ms`; over HTTP only
    └── InternalError                internal_error           no    a bug here; the log has the traceback
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final


class ChatError(Exception):
    """An error with a stable `code`, a sentence for developers and advice on whether to try again.

    Attributes:
        code: lower_snake, stable across versions.
        message: one English sentence; not stable.
        retryable: whether the same request can succeed later without a change.
        retry_after_ms: how long to wait before that, where it is known.
        fields: what is wrong with which field of the payload, by wire name; lists of sentences, nested like the
            payload. Only InvalidPayload fills it.
        limit_bytes: how large it may be. Only TooLarge has it.
        present: the message as it is. Only VersionConflict has it.
        servers_fault: whether nothing that the client did is to blame.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    servers_fault: bool = False
    default_message: ClassVar[str]
    limit_bytes: int | None = None
    present: object = None

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_ms: int | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message or self.default_message)
        self.message = message or self.default_message
        self.retry_after_ms = retry_after_ms
        self.fields = fields


class InvalidPayload(ChatError):
    """The payload does not have the shape that docs/protocol.md gives for the event."""

    code = "invalid_payload"
    default_message = "The payload is not valid; error.fields says what is wrong."


class TooLarge(ChatError):
    """What the client sent is larger than this server takes. It was read past, and nothing of it was kept."""

    code = "too_large"
    default_message = "This is too large for the server; error.limitBytes says how large it may be."

    def __init__(self, message: str | None = None, *, limit_bytes: int | None = None) -> None:
        super().__init__(message)
        self.limit_bytes = limit_bytes


class UnknownEvent(ChatError):
    """The server has no event of that name."""

    code = "unknown_event"
    default_message = "There is no such event."


class AuthRequired(ChatError):
    """The socket has no user yet."""

    code = "auth_required"
    retryable = True
    default_message = "Authenticate first: pass auth.token at the handshake, or emit authenticate and wait for its ack."


class InvalidToken(ChatError):
    """The token is malformed, not signed by the configured key, or not meant for this server."""

    code = "invalid_token"
    default_message = "The token is not valid."


class TokenExpired(InvalidToken):
    """The token was valid once."""

    code = "token_expired"
    default_message = "The token has expired; get a fresh one and connect again."


class UserMismatch(ChatError):
    """The socket belongs to another user already."""

    code = "user_mismatch"
    default_message = "This socket belongs to another user; open a new connection to change the user."


class AuthUnavailable(ChatError):
    """The keys to check a token with cannot be fetched at present."""

    code = "auth_unavailable"
    retryable = True
    servers_fault = True
    default_message = "The token cannot be checked at present; try again."


class OriginNotAllowed(ChatError):
    """The page that asks was not served from an allowed origin."""

    code = "origin_not_allowed"
    default_message = "This origin is not allowed; add it to WEBSOCKET_ALLOWED_ORIGINS."


class ConversationNotFound(ChatError):
    """There is no such conversation, or the user does not take part in it; nobody can tell which."""

    code = "conversation_not_found"
    default_message = "There is no such conversation, or you do not take part in it."


class NotJoined(ChatError):
    """The request is about a conversation that this socket has open, and it has not."""

    code = "not_joined"
    default_message = "Join the conversation on this socket first."


class IdempotencyConflict(ChatError):
    """The idempotency key was used before, by the same sender in the same place, for other content."""

    code = "idempotency_conflict"
    default_message = "This idempotencyKey was used before for other content; use a new key for a new message."


class MessageNotFound(ChatError):
    """The conversation has no message with this seq."""

    code = "message_not_found"
    default_message = "There is no such message in this conversation."


class MessageDeleted(ChatError):
    """The message was deleted: only its tombstone is left."""

    code = "message_deleted"
    default_message = "This message was deleted."


class Forbidden(ChatError):
    """The user takes part in the conversation, but may not do this in it."""

    code = "forbidden"
    default_message = "You may not do this; only its sender changes a message."


class TooLate(ChatError):
    """The time in which this may be done is over."""

    code = "too_late"
    default_message = "This message is too old to be changed."


class VersionConflict(ChatError):
    """Somebody changed the message since the change that the request was made for."""

    code = "version_conflict"
    default_message = "The message was changed meanwhile; error.present has it as it is."

    def __init__(self, message: str | None = None, *, present: object = None) -> None:
        super().__init__(message)
        self.present = present


class LimitExceeded(ChatError):
    """A bound of this server is reached: what one connection may hold open, or how much a message may have."""

    code = "limit_exceeded"
    default_message = "A limit of this server is reached."


class RateLimited(ChatError):
    """More requests than the user's rate allows."""

    code = "rate_limited"
    retryable = True
    default_message = "Too many requests; wait for error.retryAfterMs."


class TooManyConnects(ChatError):
    """A user or an address connects again and again."""

    code = "too_many_connects"
    retryable = True
    default_message = "Too many connects within a minute; wait for retryAfterMs."


class TooManyConnections(ChatError):
    """An address, or the pages of an origin, have as many connections open as they may."""

    code = "too_many_connections"
    retryable = True
    default_message = "Too many connections are open."


class StoreUnavailable(ChatError):
    """The database does not answer, is locked, full or read-only. Nothing was half-written."""

    code = "store_unavailable"
    retryable = True
    servers_fault = True
    default_message = "The message store is not available; send again with the same idempotencyKey."


class Overloaded(ChatError):
    """More writes are waiting than the server wants to hold."""

    code = "overloaded"
    retryable = True
    servers_fault = True
    default_message = "The server is overloaded; send again with the same idempotencyKey."


class Draining(ChatError):
    """The server is stopping and lets nobody in any more; the next one takes its place."""

    code = "draining"
    retryable = True
    servers_fault = True
    default_message = "The server is stopping; connect again in a moment."


class InternalError(ChatError):
    """A bug in the server. The log has the traceback."""

    code = "internal_error"
    servers_fault = True
    default_message = "The server made a mistake; its log says which."


@dataclass(frozen=True, slots=True)
class End:
    """A reason for which the server ends a connection; what `session_ended` carries.

    Attributes:
        code: lower_snake, stable.
        message: one English sentence for developers.
        reconnect: whether the client should come back by itself.
        advice: what the application should tell its user, or do.
    """

    code: str
    message: str
    reconnect: bool
    advice: str


REPLACED: Final = End(
    "replaced",
    "The user connected elsewhere, and only the newest socket of a user stays.",
    reconnect=False,
    advice="Say that the chat is open in another tab or device, and offer a button that connects again.",
)
AUTH_TIMEOUT: Final = End(
    "auth_timeout",
    "The socket did not authenticate in time.",
    reconnect=False,
    advice="Send the user to the login; connect again with a token.",
)
RESTART: Final = End(
    "restart",
    "The server restarts.",
    reconnect=True,
    advice="Nothing: the client comes back by itself.",
)
SLOW_CONSUMER: Final = End(
    "slow_consumer",
    "The client did not read what it was sent.",
    reconnect=True,
    advice="Nothing: the client comes back and resumes with `after`.",
)
MALFORMED: Final = End(
    "malformed",
    "The client sent what is no valid Socket.IO packet.",
    reconnect=False,
    advice="A bug of the application, or a client of another protocol version: see the server's log.",
)
TOO_LARGE: Final = End(
    "too_large",
    "The client sent more at once than the server takes, and it could not be answered.",
    reconnect=True,
    advice="Do not send it again: compare what you send with `welcome.limits` before it is queued.",
)
CROWDED_OUT: Final = End(
    "crowded_out",
    "The socket had no user yet, and others needed its place.",
    reconnect=True,
    advice="Nothing: the client comes back by itself. Connect with a token, so that it has a user at once.",
)
CONNECTED_TWICE: Final = End(
    "connected_twice",
    "The client connected a second time over the same connection.",
    reconnect=True,
    advice="Nothing: the client comes back by itself. Its `auth` answered late, for a connection that was lost.",
)
STALE: Final = End(
    "stale",
    "The connection was found dead or unknown by the regular sweep.",
    reconnect=True,
    advice="Nothing: the client comes back by itself.",
)
TOKEN_EXPIRED: Final = End(
    "token_expired",
    "The token with which the socket authenticated has expired.",
    reconnect=True,
    advice="Nothing, if `auth` is a function that gets a fresh token; else send the user to the login.",
)
LOGGED_OUT: Final = End(
    "logged_out",
    "The login with which the socket was opened has ended.",
    reconnect=False,
    advice="Send the user to the login.",
)
KICKED: Final = End(
    "kicked",
    "An administrator ended the connection.",
    reconnect=False,
    advice="Say that an administrator ended the connection, and offer a button that connects again.",
)
FLOODING: Final = End(
    "flooding",
    "The client went on sending more than it may.",
    reconnect=False,
    advice="A bug of the application: it sends in a loop. Wait for `retryAfterMs` before connecting again.",
)
TOO_MANY_CONNECTS: Final = End(
    "too_many_connects",
    "The user connects again and again.",
    reconnect=False,
    advice="Say that the connection cannot be held, and offer a button that connects again after `retryAfterMs`.",
)

ENDS: Final = {
    end.code: end
    for end in (
        REPLACED,
        AUTH_TIMEOUT,
        TOKEN_EXPIRED,
        LOGGED_OUT,
        KICKED,
        TOO_MANY_CONNECTS,
        FLOODING,
        RESTART,
        SLOW_CONSUMER,
        MALFORMED,
        TOO_LARGE,
        CROWDED_OUT,
        CONNECTED_TWICE,
        STALE,
    )
}
