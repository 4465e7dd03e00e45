"""What a monitoring page shows of the clients."""

from dataclasses import dataclass

from .rooms import Client


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """A connected client.

    Attributes:
        transport: 'polling' or 'websocket'.
        age_s: seconds since its handshake.
        unsent_bytes: what it has not taken yet.
    """

    sid: str
    namespace: str
    transport: str
    remote: str | None
    age_s: float
    unsent_bytes: int
    rooms: int


def info(client: Client, now_s: float) -> ClientInfo:
    """Describe a client as it is now (monotonic seconds)."""
    session = client.session
    return ClientInfo(
        sid=client.sid,
        namespace=client.namespace,
        transport=session.transport_name,
        remote=session.request.remote,
        age_s=now_s - session.created,
        unsent_bytes=session.outbox.unsent,
        rooms=len(client.rooms),
    )
