"""Lets the Socket.IO Admin UI watch the chat: who logs in there, what their addresses are, and how it ends a socket."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ..door.connects import Guards
from ..live.connections import Sessions
from ..live.lifecycle import Lifecycle
from ..realtime import AsyncServer
from ..settings import Settings

USERNAME: Final = "admin"
# How long what the UI shows may be behind.
INTERVAL_S: Final = 2.0


def instrument(sio: AsyncServer, settings: Settings, guards: Guards, sessions: Sessions, lifecycle: Lifecycle) -> None:
    """Open the namespace /admin to whoever has the admin token. A wrong one counts like a connect that failed."""

    def refused(request: web.Request) -> None:
        guest = guards.guest(request)
        guards.loops.failed(guest)
        guards.admin_tries.refused(guest)

    async def disconnect(sid: str, namespace: str, request: web.Request) -> None:
        connection = sessions.get(sid)
        if connection is not None:
            await lifecycle.kick(connection, by=guards.guest(request).address)

    assert settings.admin_token is not None
    sio.instrument(
        auth={"username": USERNAME, "password": settings.admin_token.get_secret_value()},
        address=lambda request: guards.guest(request).address,
        server_stats_interval=INTERVAL_S,
        refused=refused,
        let_in=lambda request: guards.proved(guards.guest(request)),
        disconnect=disconnect,
    )
