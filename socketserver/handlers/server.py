"""The Socket.IO server, within the limits of the settings and behind the door."""

from __future__ import annotations

from ..door.connects import Guards
from ..door.origins import Origins
from ..errors import InternalError
from ..realtime import Allowance, AsyncServer, IntakeLimits
from ..settings import Settings
from ..wire.protocol import dump_failure


def make_server(settings: Settings, origins: Origins, guards: Guards) -> AsyncServer:
    """A server without handlers, not yet attached to an application."""
    return AsyncServer(
        allow_origin=origins.allows_request,
        cors_credentials=True,
        ping_interval=settings.ping_interval_s,
        ping_timeout=settings.ping_timeout_s,
        max_http_buffer_size=settings.max_event_bytes,
        max_skipped_bytes=settings.max_skipped_bytes,
        outbox_bytes=settings.outbox_bytes,
        inbox_bytes=settings.inbox_bytes,
        websocket_compression=settings.websocket_compression,
        intake_limits=IntakeLimits(
            user=Allowance(settings.user_bytes_per_second, settings.user_burst_bytes),
            guest=Allowance(settings.guest_bytes_per_second, settings.guest_burst_bytes),
            turn_s=settings.intake_turn_ms / 1000,
            flooding_s=settings.flooding_s,
        ),
        intake_group=lambda request: guards.guest(request).network,
        allow_request=guards.admit_handshake,
        forbidden=guards.wrong_origin,
        observer=guards,
        error_ack=lambda error: dump_failure(InternalError()),
    )
