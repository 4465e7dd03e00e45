"""The composition root: every part is made here, given what it needs, started and stopped in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from .chat.changes import ReactionLimits
from .chat.domain import Clock, SystemClock
from .chat.messages import ChangeRules
from .chat.news import Receivers
from .chat.service import make_chat
from .door.auth import Authenticator, setup_sessions
from .door.connects import Guards
from .door.listener import Runner
from .door.origins import Origins
from .door.proxies import Proxies
from .door.rates import Rates
from .door.tcp_connections import Connections
from .handlers.arriving import Arriving
from .handlers.routes import setup_routes
from .handlers.server import make_server
from .handlers.setup import Parts, setup_handlers
from .handlers.witness import Witness
from .housekeeping import Housekeeping
from .live.auto_read import AutoRead
from .live.connections import Sessions
from .live.eviction import Eviction
from .live.fanout import Fanout
from .live.lifecycle import Lifecycle
from .live.opened import Opened
from .live.presence import Presence
from .live.read_marks import ReadMarks
from .live.shutdown import Shutdown
from .live.typing_indicator import TypingIndicator
from .live.watching import Watching
from .ops.admin_access import AdminAccess
from .ops.admin_ui import instrument
from .ops.counting import count
from .ops.history import History, record
from .ops.metrics import HANDSHAKE, HTTP, Metrics
from .ops.monitor import Monitor
from .realtime import AsyncServer, Meter
from .running import running
from .settings import Settings
from .store import open_store
from .store.base import Store
from .store.checking import SharedCheck
from .wire import protocol

STORE: Final = web.AppKey("store", Store)
SIO: Final = web.AppKey("sio", AsyncServer)
SESSIONS: Final = web.AppKey("sessions", Sessions)
GUARDS: Final = web.AppKey("guards", Guards)
METRICS: Final = web.AppKey("metrics", Metrics)
ADMIN: Final = web.AppKey("admin", AdminAccess)
HISTORY: Final = web.AppKey("history", History)
CONNECTIONS: Final = web.AppKey("connections", Connections)
HOUSEKEEPING: Final = web.AppKey("housekeeping", Housekeeping)
SHUTDOWN: Final = web.AppKey("shutdown", Shutdown)

# Seconds for which the answer of /readyz about the store stands: all probes of that time cost the store one check.
CHECK_KEPT_S: Final = 1.0

_PROJECT = Path(__file__).resolve().parent.parent
_DEMO = _PROJECT / "examples" / "demo"
_SHARED = _PROJECT / "examples" / "shared"
_CLIENT = _PROJECT / "clients" / "js" / "src"
_CLIENT_BUNDLE = _PROJECT / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"


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
    authenticator = Authenticator(settings, clock)
    origins = Origins(settings)
    proxies = Proxies(settings.trusted_proxies)
    guards = Guards(
        settings,
        proxies,
        origins,
        clock,
        on_refused=lambda code: metrics.refused(HANDSHAKE, code),
        on_crowded=lambda session: parts.lifecycle.crowd_out(session),
        proves=authenticator.proves,
    )
    sio = make_server(settings, origins, guards)
    auto_read = AutoRead(settings.read_delay_ms / 1000)
    parts = _make_parts(settings, store, sio, auto_read, guards, authenticator, metrics, clock)
    housekeeping = Housekeeping(
        parts.lifecycle,
        ReadMarks(auto_read, parts.fanout, parts.chat.reading.mark, clock),
        guards,
        parts.rates.sweeps(),
        sio.sessions,
        clock,
        auth_timeout_s=settings.auth_timeout_s,
        sweep_s=settings.sweep_s,
    )

    app = web.Application()
    app[STORE] = store
    app[SIO] = sio
    app[SESSIONS] = parts.sessions
    app[GUARDS] = guards
    app[HOUSEKEEPING] = housekeeping
    app[METRICS] = metrics
    app[CONNECTIONS] = connections = Connections(settings, proxies)
    app[ADMIN] = admin = AdminAccess(settings, origins, guards, on_refused=partial(metrics.refused, HTTP))
    app[HISTORY] = history = History()
    app[SHUTDOWN] = shutdown = Shutdown(sio, guards, parts.lifecycle, settings.shutdown_s)

    metrics.watch(lambda: count(sio, parts.sessions, guards, housekeeping, connections))
    setup_sessions(app, settings, clock)
    setup_handlers(sio, settings, parts)
    if settings.admin_ui:
        instrument(sio, settings, guards, parts.sessions, parts.lifecycle)
    app.on_shutdown.append(shutdown.on_shutdown)
    sio.attach(app, socketio_path=f"{settings.path_prefix}{protocol.PATH}".strip("/"), own_shutdown=False)
    setup_routes(
        app,
        authenticator=authenticator,
        origins=origins,
        on_log_out=parts.lifecycle.end_login,
        guards=guards,
        settings=settings,
        demo_dir=_DEMO if _DEMO.is_dir() else None,
        client_dir=_CLIENT if _CLIENT.is_dir() else None,
        shared_dir=_SHARED if _SHARED.is_dir() else None,
        client_bundle=_CLIENT_BUNDLE if _CLIENT_BUNDLE.is_file() else None,
        ready=_readiness(guards, store, clock),
        metrics=metrics,
        admin=admin,
    )
    monitor = Monitor(
        history=history,
        sessions=parts.sessions,
        sio=sio,
        lifecycle=parts.lifecycle,
        guards=guards,
        settings=settings,
        clock=clock,
    )
    monitor.setup(app, admin, settings.path_prefix)
    tasks = (housekeeping.run, metrics.measure_lag, partial(record, history, metrics.snapshot, clock))
    app.cleanup_ctx.append(
        running(store, tasks, partial(shutdown.close, parts.chat.close, store.close, authenticator.close))
    )
    return app


def _make_parts(
    settings: Settings,
    store: Store,
    sio: AsyncServer,
    auto_read: AutoRead,
    guards: Guards,
    authenticator: Authenticator,
    metrics: Metrics,
    clock: Clock,
) -> Parts:
    """Who is here, the chat, and what the handlers need of both."""
    sessions = Sessions(settings.sockets_per_user)
    presence = Presence(settings.presence_grace_s)
    typing = TypingIndicator(settings.typing_ttl_s)
    rates = Rates(settings)
    fanout = Fanout(
        sio,
        sessions,
        auto_read,
        clock,
        small_conversation=settings.small_conversation,
        listed_participants=settings.listed_participants,
        joined_participants=settings.joined_participants,
        outbox_bytes=settings.outbox_bytes,
    )
    chat = make_chat(
        store,
        Receivers((Eviction(sessions, fanout, typing, auto_read), fanout, metrics)),
        clock,
        max_participants=settings.max_participants,
        messages=rates.messages,
        conversations=rates.conversations,
        cached_conversations=settings.cached_conversations,
        cached_bytes=settings.cached_conversations_bytes,
        cached_s=settings.cached_conversation_s,
        cached_profiles_bytes=settings.cached_profiles_bytes,
        listed_participants=settings.listed_participants,
        joined_participants=settings.joined_participants,
        rules=ChangeRules(
            settings.edit_window_s,
            settings.delete_window_s,
            ReactionLimits(settings.max_reactions, settings.max_reactions_user, settings.max_reactions_all),
        ),
        members_add=settings.members_add,
        on_lookup=lambda user_id, rows: rates.looked_up(user_id, clock.monotonic_s(), rows=rows),
    )
    witness = Witness(guards, auto_read, metrics, clock)
    lifecycle = Lifecycle(
        sio,
        sessions,
        presence,
        typing,
        fanout,
        clock,
        welcome=lambda identity, sid: protocol.dump_welcome(identity, sid, clock.now_ms(), settings),
        on_user=witness.came,
        on_proof=lambda identity: chat.profiles.tell(identity.told),
        on_gone=witness.gone,
        max_event_bytes=settings.max_event_bytes,
    )
    watching = Watching(
        sessions,
        presence,
        fanout,
        readers=store.list_readers,
        people=chat.profiles.find,
        most=settings.watched_per_socket,
    )
    return Parts(
        arriving=Arriving(sio, authenticator, guards, lifecycle, metrics, clock),
        chat=chat,
        sessions=sessions,
        fanout=fanout,
        opened=Opened(chat, fanout, watching, typing, auto_read, clock, most=settings.joined_per_socket),
        watching=watching,
        lifecycle=lifecycle,
        guards=guards,
        rates=rates,
        metrics=metrics,
        clock=clock,
    )


def _readiness(guards: Guards, store: Store, clock: Clock) -> Callable[[], Awaitable[None]]:
    check_store = SharedCheck(store.check, kept_s=CHECK_KEPT_S, monotonic_s=clock.monotonic_s)

    async def ready() -> None:
        guards.check()
        await check_store()

    return ready


def make_runner(app: web.Application, settings: Settings, **options: Any) -> Runner:
    """What serves an application of `create_app`'s, with bounds on its TCP connections too.

    Args:
        options: aiohttp's, of web.AppRunner.
    """
    sio = app[SIO]

    connections = app[CONNECTIONS]

    def meter_of(request: web.BaseRequest) -> Meter | None:
        return sio.meter_of(request.query.get("sid", ""))

    def client_of(request: web.BaseRequest, session: Meter | None) -> str:
        """Sessions count for themselves: many people may share an address."""
        return request.query["sid"] if session is not None else connections.network_behind(request)

    return Runner(
        app,
        settings,
        connections,
        sio.intake,
        meter_of=meter_of,
        client_of=client_of,
        allows=lambda origin: origin in settings.allowed_origins,
        **options,
    )
