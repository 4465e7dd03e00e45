"""The composition root: every part is made here, given what it needs, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from .chat.domain import Clock, SystemClock, UserId
from .chat.service import ChatService
from .door.auth import Authenticator, setup_sessions
from .door.connects import Guards
from .door.listener import Runner
from .door.origins import Origins
from .door.proxies import Proxies
from .door.rates import Rates
from .door.tcp_connections import Connections
from .errors import ENDS, RESTART, TOO_LARGE, InternalError, StoreUnavailable
from .handlers.events import Handlers
from .handlers.routes import setup_routes
from .housekeeping import Housekeeping
from .limits import Buckets
from .live.auto_read import AutoRead
from .live.connections import Connection, Sessions
from .live.fanout import Fanout
from .live.lifecycle import REFUSED, Lifecycle
from .live.presence import Presence
from .live.typing_indicator import TypingIndicator
from .live.watching import Watching
from .ops.admin_access import AdminAccess
from .ops.admin_ui import instrument
from .ops.history import History, record
from .ops.metrics import HANDSHAKE, HTTP, Metrics, Reading
from .ops.monitor import Monitor
from .realtime import Allowance, AsyncServer, IntakeLimits, Meter
from .settings import Settings
from .store import open_store
from .store.base import Store, StoreUnusable
from .store.checking import SharedCheck
from .wire import protocol
from .wire.protocol import MessageEncoder, Payloads, ServerEvent, SessionEndedWire

log = logging.getLogger(__name__)

STORE: Final = web.AppKey("store", Store)
SIO: Final = web.AppKey("sio", AsyncServer)
SESSIONS: Final = web.AppKey("sessions", Sessions)
GUARDS: Final = web.AppKey("guards", Guards)
METRICS: Final = web.AppKey("metrics", Metrics)
ADMIN: Final = web.AppKey("admin", AdminAccess)
HISTORY: Final = web.AppKey("history", History)
CONNECTIONS: Final = web.AppKey("connections", Connections)
HOUSEKEEPING: Final = web.AppKey("housekeeping", Housekeeping)
# Lets nobody in any more, answers what is under way, and tells every client that the server restarts. Called at
# shutdown; who calls it while the server still listens reaches also the polling clients that are between two polls.
END_CLIENTS: Final[web.AppKey[Callable[[web.Application], Awaitable[None]]]] = web.AppKey("end_clients")

# A server that stops tells each client to come back after a time of its own from this range. Not sooner than clients
# come back anyway: whose three attempts are over before the new server listens gives up.
RESTART_SPREAD_MS: Final = (2_000, 6_000)

# Shares of the time that a stop may take: for requests under way, and then for the last words to the clients. What is
# left is for the store.
ANSWERS_SHARE: Final = 0.5
GOODBYE_SHARE: Final = 0.2

# How long the answer of /readyz about the store stands: all probes of that time cost the store one check.
CHECK_KEPT_S: Final = 1.0

# How often a database that was away at the start is tried again.
STORE_RETRY_S: Final = 1.0

_PROJECT = Path(__file__).resolve().parent.parent
_DEMO = _PROJECT / "examples" / "demo"
_CLIENT_BUNDLE = _PROJECT / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"


async def _open_when_back(store: Store) -> None:
    """Open a store whose database was away at the start. One that turns out to be unusable stays closed."""
    while True:
        await asyncio.sleep(STORE_RETRY_S)
        try:
            await store.open()
        except StoreUnusable as error:
            log.error("the store is back but cannot be used: %s", error.message)
            return
        except StoreUnavailable:
            continue
        log.info("the store is back")
        return


def _read(
    sio: AsyncServer, sessions: Sessions, guards: Guards, housekeeping: Housekeeping, connections: Connections
) -> Reading:
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


def create_app(settings: Settings, *, store: Store | None = None, clock: Clock | None = None) -> web.Application:
    """The chat server as an aiohttp application.

    Args:
        store: a store to use instead of settings.store_url; opened and closed with the application either way.
        clock: where times come from; the machine's clocks by default.
    Raises: ValueError if settings.store_url is of no known kind.
    """
    clock = clock or SystemClock()
    metrics = Metrics(clock)
    store = store or open_store(settings.store_url, observer=metrics)
    origins = Origins(settings)
    authenticator = Authenticator(settings, clock)
    proxies = Proxies(settings.trusted_proxies)
    connections = Connections(settings, proxies)

    async def proves(request: web.Request) -> bool:
        return await authenticator.from_handshake(request, None) is not None

    guards = Guards(
        settings,
        proxies,
        origins,
        clock,
        on_refused=lambda code: metrics.refused(HANDSHAKE, code),
        on_crowded=lambda session: lifecycle.crowd_out(session),
        proves=proves,
    )

    def end_event(code: str) -> tuple[str, SessionEndedWire]:
        limit_bytes = settings.max_event_bytes if code == TOO_LARGE.code else None
        return ServerEvent.SESSION_ENDED, protocol.dump_session_ended(ENDS[code], limit_bytes=limit_bytes)

    sio = AsyncServer(
        cors_allowed_origins=origins.allows_environ,
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
        end_event=end_event,
        allow_request=guards.admit,
        forbidden=guards.wrong_origin,
        observer=guards,
        error_ack=lambda error: protocol.dump_failure(InternalError()),
    )
    sessions = Sessions(settings.sockets_per_user)
    presence = Presence(settings.presence_grace_s)
    typing = TypingIndicator(settings.typing_ttl_s)
    auto_read = AutoRead(settings.read_delay_ms / 1000)
    message_rates: Buckets[UserId] = Buckets(settings.messages_per_second, settings.messages_burst)
    creation_rates: Buckets[UserId] = Buckets(settings.conversations_per_minute / 60, settings.conversations_burst)
    messages = MessageEncoder()
    rates = Rates(
        settings.events_per_second,
        settings.events_burst,
        rows_per_event=settings.rows_per_event,
        bytes_per_event=settings.bytes_per_event,
    )
    fanout = Fanout(
        sio,
        sessions,
        auto_read,
        messages,
        clock,
        small_conversation=settings.small_conversation,
        listed_participants=settings.listed_participants,
    )
    chat = ChatService(
        store,
        fanout,
        clock,
        max_participants=settings.max_participants,
        messages=message_rates,
        conversations=creation_rates,
        cached_conversations=settings.cached_conversations,
        cached_bytes=settings.cached_conversations_bytes,
        listed_participants=settings.listed_participants,
        joined_participants=settings.joined_participants,
        on_lookup=lambda user_id, rows: rates.looked_up(user_id, clock.monotonic_s(), rows=rows),
        on_announced=metrics.message_announced,
    )

    def gone(connection: Connection, code: str) -> None:
        guards.loops.gone(connection, code)
        auto_read.gone(connection.sid)
        if code != REFUSED:
            metrics.ended(connection.identity.user_id if connection.identity else None, code)

    def on_user(connection: Connection, replaces: bool) -> None:
        guards.proved(connection.guest)
        assert connection.identity is not None
        metrics.authenticated(connection.identity.user_id, replaces=replaces)

    lifecycle = Lifecycle(
        sio,
        sessions,
        presence,
        typing,
        fanout,
        clock,
        welcome=lambda identity, sid: protocol.dump_welcome(identity, sid, clock.now_ms(), settings),
        on_user=on_user,
        on_gone=gone,
    )
    watching = Watching(sessions, presence, fanout, readers=store.list_readers, most=settings.watched_per_socket)
    handlers = Handlers(
        payloads=Payloads(settings),
        authenticator=authenticator,
        chat=chat,
        lifecycle=lifecycle,
        guards=guards,
        rates=rates,
        sessions=sessions,
        watching=watching,
        typing=typing,
        auto_read=auto_read,
        fanout=fanout,
        messages=messages,
        metrics=metrics,
        clock=clock,
        joined_per_socket=settings.joined_per_socket,
        page_bytes=settings.outbox_bytes // 2,
        listed_participants=settings.listed_participants,
        logged_per_second=settings.log_messages_per_second,
        sio=sio,
    )
    housekeeping = Housekeeping(
        chat=chat,
        lifecycle=lifecycle,
        presence=presence,
        typing=typing,
        auto_read=auto_read,
        fanout=fanout,
        buckets=(message_rates, creation_rates),
        rates=rates,
        guards=guards,
        engine_sessions=sio.sessions,
        clock=clock,
        auth_timeout_s=settings.auth_timeout_s,
        sweep_s=settings.sweep_s,
    )

    metrics.watch(lambda: _read(sio, sessions, guards, housekeeping, connections))
    admin = AdminAccess(settings, origins, guards, on_refused=lambda code: metrics.refused(HTTP, code))
    history = History()
    monitor = Monitor(
        history=history,
        sessions=sessions,
        sio=sio,
        lifecycle=lifecycle,
        guards=guards,
        settings=settings,
        clock=clock,
    )

    app = web.Application()
    app[STORE] = store
    app[SIO] = sio
    app[SESSIONS] = sessions
    app[GUARDS] = guards
    app[HOUSEKEEPING] = housekeeping
    app[METRICS] = metrics
    app[CONNECTIONS] = connections
    app[ADMIN] = admin
    app[HISTORY] = history
    setup_sessions(app, settings, clock)
    handlers.register()
    if settings.admin_ui:
        instrument(sio, settings, guards, sessions, lifecycle)

    async def end_clients(app: web.Application) -> None:
        guards.draining = True
        await lifecycle.end_all(
            RESTART,
            retry_after_ms=lambda: random.randint(*RESTART_SPREAD_MS),  # noqa: S311
            within_s=settings.shutdown_s * ANSWERS_SHARE,
        )
        await sio.shutdown(settings.shutdown_s * GOODBYE_SHARE)

    check_store = SharedCheck(store.check, kept_s=CHECK_KEPT_S, monotonic_s=clock.monotonic_s)

    async def ready() -> None:
        guards.check()
        await check_store()

    app[END_CLIENTS] = end_clients
    # Before attach, which has the engine close every connection at shutdown: by then the clients must know why.
    app.on_shutdown.append(end_clients)
    sio.attach(app, socketio_path=f"{settings.path_prefix}{protocol.PATH}".strip("/"))
    setup_routes(
        app,
        authenticator=authenticator,
        origins=origins,
        on_log_out=lifecycle.end_login,
        guards=guards,
        settings=settings,
        demo_dir=_DEMO if _DEMO.is_dir() else None,
        client_bundle=_CLIENT_BUNDLE if _CLIENT_BUNDLE.is_file() else None,
        ready=ready,
        metrics=metrics,
        admin=admin,
    )
    monitor.setup(app, admin, settings.path_prefix)

    async def run(app: web.Application) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(housekeeping.run()),
            asyncio.create_task(metrics.measure_lag()),
            asyncio.create_task(record(history, metrics.snapshot, clock)),
        ]
        try:
            await store.open()
        except StoreUnusable:
            for task in tasks:
                task.cancel()
            raise
        except StoreUnavailable as error:
            log.warning("the store is away, and the server goes on without it until it is back: %s", error.message)
            tasks.append(asyncio.create_task(_open_when_back(store)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await chat.close()
        await store.close()
        await authenticator.close()

    app.cleanup_ctx.append(run)
    return app


def make_runner(app: web.Application, settings: Settings, **options: Any) -> Runner:
    """What serves an application of `create_app`'s, with bounds on its TCP connections too.

    Args:
        options: aiohttp's, of web.AppRunner.
    """
    sio = app[SIO]

    def meter_of(request: web.BaseRequest) -> Meter | None:
        return sio.meter_of(request.query.get("sid", ""))

    return Runner(
        app,
        settings,
        app[CONNECTIONS],
        sio.intake,
        meter_of=meter_of,
        allows=lambda origin: origin in settings.allowed_origins,
        **options,
    )
