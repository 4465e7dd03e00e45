"""What the application can count at any time, gathered from its parts for the metrics."""

from __future__ import annotations

from collections import Counter

from ..door.connects import Guards
from ..door.tcp_connections import Connections
from ..housekeeping import Housekeeping
from ..live.connections import Sessions
from ..realtime import AsyncServer
from .figures import Reading


def count(
    sio: AsyncServer, sessions: Sessions, guards: Guards, housekeeping: Housekeeping, connections: Connections
) -> Reading:
    """Read all counters now; it takes a pass over the open connections."""
    transports: Counter[str] = Counter()
    unsent = []
    for session in sio.sessions():
        transports[session.transport_name] += 1
        unsent.append(session.outbox.unsent)
    return Reading(
        users=sessions.users,
        sockets=transports,
        rooms=sio.room_count(),
        outbox_bytes=sum(unsent),
        largest_outbox_bytes=max(unsent, default=0),
        mended=housekeeping.mended,
        guard_entries=guards.sizes(),
        tcp_connections=len(connections),
        tcp_refused=connections.refused,
        heads_bytes=connections.held_bytes,
        heads_refused=connections.heads_refused,
        intake=sio.intake.counts(),
        unproven_bytes=guards.unproven_bytes,
        crowded_out=guards.crowded_out,
        descriptor_shortages=housekeeping.descriptors.shortages,
        dropped_lines=dict(guards.dropped_lines),
    )
